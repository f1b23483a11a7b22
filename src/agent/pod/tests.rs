//! What is decided about pods, and told of them: a pod, what the runtime has of it, and the lines of the plan.

use super::{
    facts, plan,
    status::{self, Inputs},
    verdicts::{ProbeKind, Verdicts},
    view::{Container as Seen, Phase, Sandbox, View},
};
use expect_test::{Expect, expect};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::collections::HashMap;

fn pod(spec: &str) -> Pod {
    let text = format!("{{metadata: {{name: p, namespace: default, uid: u}}, spec: {{{spec}}}}}");
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A sandbox that is ready, and containers of the pod: `NAME created`, `NAME running`, `NAME unknown`, `NAME CODE`.
fn view(pod: &Pod, containers: &[&str]) -> View {
    let sandbox = Sandbox { id: "s0".into(), ready: true, ips: vec!["10.42.0.9".into()], ..Sandbox::default() };
    let seen = |text: &&str| {
        let (name, state) = text.split_once(' ').expect("a name and a state");
        let definition = facts::container(pod, name).expect("a container of the pod").1;
        let phase = match state {
            "created" => Phase::Created,
            "running" => Phase::Running,
            "unknown" => Phase::Unknown,
            _ => Phase::Exited,
        };
        Seen {
            id: format!("id-{name}"),
            name: name.into(),
            sandbox: "s0".into(),
            restart_count: 0,
            phase,
            created_at: 1,
            started_at: 2,
            finished_at: 3,
            exit_code: state.parse().unwrap_or(0),
            reason: String::new(),
            message: String::new(),
            image: String::new(),
            image_ref: String::new(),
            hash: facts::container_hash(&definition),
            log_path: String::new(),
            resources: None,
            user: None,
            annotations: HashMap::new(),
        }
    };
    View { sandboxes: vec![sandbox], containers: containers.iter().map(seen).collect() }
}

fn check(spec: &str, containers: &[&str], expected: Expect) {
    let pod = pod(spec);
    expected.assert_eq(&plan::plan(&pod, &view(&pod, containers), &Verdicts::default()).to_string());
}

const TWO: &str = "containers: [{name: a, image: i}, {name: b, image: i}]";

#[test]
fn a_new_pod_gets_a_sandbox_and_then_its_containers() {
    let pod = pod(TWO);
    let plan = plan::plan(&pod, &View::default(), &Verdicts::default());
    expect![[r"
        create sandbox, attempt 0
        start Regular a
        start Regular b
    "]]
    .assert_eq(&plan.to_string());
    check(
        TWO,
        &["a running"],
        expect![[r"
            start Regular b
        "]],
    );
    check(TWO, &["a running", "b running"], expect![""]);
    // The agent went between making and starting it.
    check(
        TWO,
        &["a running", "b created"],
        expect![[r"
            start Regular b
        "]],
    );
}

#[test]
fn the_restart_policy_decides_what_runs_again() {
    let with = |policy: &str| format!("restartPolicy: {policy}, {TWO}");
    let again = || {
        expect![[r"
            start Regular b
        "]]
    };
    check(&with("Always"), &["a running", "b 0"], again());
    check(&with("OnFailure"), &["a running", "b 1"], again());
    check(&with("OnFailure"), &["a running", "b 0"], expect![""]);
    check(&with("Never"), &["a running", "b 1"], expect![""]);
    let end = || {
        expect![[r"
            kill pod
        "]]
    };
    check(&with("Never"), &["a 0", "b 1"], end());
    check(&with("OnFailure"), &["a 0", "b 0"], end());
    let own = "restartPolicy: Never, containers: [{name: a, image: i}, {name: b, image: i, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]}]";
    check(own, &["a running", "b 42"], again());
    check(own, &["a running", "b 1"], expect![""]);
}

#[test]
fn a_dead_sandbox_takes_all_along() {
    let pod = pod(TWO);
    let mut view = view(&pod, &["a running", "b running"]);
    view.sandboxes[0].ready = false;
    let lines = |pod: &Pod, view: &View| plan::plan(pod, view, &Verdicts::default()).to_string();
    expect![[r"
        kill pod
        create sandbox, attempt 1
        start Regular a
        start Regular b
    "]]
    .assert_eq(&lines(&pod, &view));
    let mut once = pod.clone();
    once.spec.as_mut().expect("a spec").restart_policy = Some("Never".into());
    expect![[r"
        kill pod
    "]]
    .assert_eq(&lines(&once, &view));
}

#[test]
fn what_is_changed_unhealthy_or_lost_is_replaced() {
    let pod = pod(TWO);
    let lines = |view: &View, verdicts: &Verdicts| plan::plan(&pod, view, verdicts).to_string();
    let mut changed = view(&pod, &["a running", "b running"]);
    changed.containers[0].hash = "of another image".into();
    expect![[r"
        kill a (id-a): Container a definition changed, will be restarted
        start Regular a
    "]]
    .assert_eq(&lines(&changed, &Verdicts::default()));
    let verdicts = Verdicts::default();
    verdicts.set("id-b", ProbeKind::Liveness, false);
    expect![[r"
        kill b (id-b): Container b failed liveness probe, will be restarted
        start Regular b
    "]]
    .assert_eq(&lines(&view(&pod, &["a running", "b running"]), &verdicts));
    check(
        TWO,
        &["a unknown", "b running"],
        expect![[r#"
            kill a (id-a): Container is in "Unknown" state, try killing it before restart
            start Regular a
        "#]],
    );
}

#[test]
fn init_containers_go_first_one_by_one_and_sidecars_stay() {
    const INIT: &str = "initContainers: [{name: x, image: i}, {name: y, image: i}], containers: [{name: a, image: i}]";
    check(
        INIT,
        &[],
        expect![[r"
            start Init x
        "]],
    );
    check(INIT, &["x running"], expect![""]);
    check(
        INIT,
        &["x 0"],
        expect![[r"
            start Init y
        "]],
    );
    check(
        INIT,
        &["y 0", "x 0"],
        expect![[r"
            start Regular a
        "]],
    );
    check(
        INIT,
        &["x 1"],
        expect![[r"
            start Init x
        "]],
    );
    check(
        &format!("restartPolicy: Never, {INIT}"),
        &["x 1"],
        expect![[r"
            kill pod
        "]],
    );
    const SIDECAR: &str = "initContainers: [{name: x, image: i, restartPolicy: Always}, {name: y, image: i}], containers: [{name: a, image: i}]";
    check(
        SIDECAR,
        &["x running"],
        expect![[r"
            start Init y
        "]],
    );
    check(
        SIDECAR,
        &["a running", "y 0", "x 1"],
        expect![[r"
            start Init x
        "]],
    );
}

#[test]
fn what_never_started_needs_no_stop() {
    let pod = pod(TWO);
    let view = view(&pod, &["a created", "b running"]);
    let alive: Vec<_> = view.alive().map(|seen| seen.name.as_str()).collect();
    assert_eq!(alive, ["b"]);
}

/// Each container's state and the phase, once a pod has ended or before.
fn told(pod: &Pod, view: &View, ended: bool) -> String {
    let inputs = Inputs {
        view,
        verdicts: &Verdicts::default(),
        waiting: &HashMap::new(),
        old: &PodStatus::default(),
        node_ip: [192, 0, 2, 1].into(),
        now: Timestamp::UNIX_EPOCH,
        start_time: Timestamp::UNIX_EPOCH,
        ended,
        verdict: None,
    };
    let status = status::generate(pod, &inputs);
    let all = [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten();
    let states = all.map(|status| {
        let state = status.state.clone().unwrap_or_default();
        let ended = state.terminated.map(|state| format!("{} {}", state.exit_code, state.reason.unwrap_or_default()));
        let waits = state.waiting.map(|state| format!("waiting {}", state.reason.unwrap_or_default()));
        let state = ended.or(waits).unwrap_or_else(|| "running".to_owned());
        format!("{}: {}\n", status.name, state.trim())
    });
    states.collect::<String>() + status.phase.as_deref().unwrap_or_default()
}

#[test]
fn containers_that_left_no_trace_have_failed_when_their_pod_has_ended() {
    let two = pod(TWO);
    let begun = view(&two, &["a created", "b 0"]);
    expect![[r"
        a: waiting
        b: 0
        Pending"]]
    .assert_eq(&told(&two, &begun, false));
    expect![[r"
        a: 137 ContainerStatusUnknown
        b: 0
        Failed"]]
    .assert_eq(&told(&two, &begun, true));
    let init = pod("initContainers: [{name: x, image: i}, {name: y, image: i}], containers: [{name: a, image: i}]");
    expect![[r"
        x: 137 ContainerStatusUnknown
        y: waiting PodInitializing
        a: waiting PodInitializing
        Failed"]]
    .assert_eq(&told(&init, &view(&init, &["x created"]), true));
    expect![[r"
        x: 0
        y: 0
        a: 137 ContainerStatusUnknown
        Failed"]]
    .assert_eq(&told(&init, &view(&init, &["y 0", "x 0"]), true));
}
