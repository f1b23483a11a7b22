use super::plan::{Observed, new_pod, plan};
use crate::common::fixtures::{lines, noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};
use mk8s_client::pod::Pod;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

fn set(spec: &str) -> String {
    format!(
        "kind: DaemonSet\nmetadata: {{name: d, namespace: n, uid: d, generation: 1}}\nspec:\n  selector: {{matchLabels: {{app: d}}}}\n  \
         {spec}\n  template: {{metadata: {{labels: {{app: d}}}}, spec: {{containers: [{{name: c}}], nodeSelector: {{disk: ssd}}}}}}\n"
    )
}

fn node(name: &str, more: &str) -> String {
    format!("---\nkind: Node\nmetadata: {{name: {name}, labels: {{disk: ssd}}}}\nspec: {{{more}}}\n")
}

fn pod(name: &str, node: &str, hash: &str, phase: &str, ready: bool) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        "---\nkind: Pod\nmetadata: {{name: {name}, uid: {name}, namespace: n, labels: {{app: d, controller-revision-hash: {hash}}}, \
         creationTimestamp: \"2026-01-01T11:00:00Z\", ownerReferences: [{{apiVersion: apps/v1, kind: DaemonSet, name: d, uid: d, controller: true}}]}}\n\
         spec: {{containers: [], nodeName: {node}}}\nstatus: {{phase: {phase}, conditions: [{{type: Ready, status: \"{ready}\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}}]}}\n"
    )
}

fn check(set: &str, objects: &[String], expected: Expect) {
    let objects = objects.concat();
    let observed = Observed {
        set: Arc::new(one::<DaemonSet>(set)),
        pods: shared::<Pod>(&objects),
        nodes: shared::<Node>(&objects),
        hash: "new".into(),
        paused: BTreeMap::from([("paused".to_owned(), Duration::from_secs(4))]),
    };
    let plan = plan(noon(), &observed);
    let mut text = lines(&plan.actions);
    if let Some(status) = plan.status {
        text += &format!(
            "desired {} current {} misscheduled {} ready {} updated {} available {}\n",
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_misscheduled,
            status.number_ready,
            status.updated_number_scheduled.unwrap_or_default(),
            status.number_available.unwrap_or_default()
        );
    }
    plan.events.iter().for_each(|(_, reason, _)| text += &format!("event {reason}\n"));
    plan.failed_on.iter().for_each(|node| text += &format!("failed on {node}\n"));
    plan.look_again.iter().for_each(|wait| text += &format!("look again in {wait:?}\n"));
    expected.assert_eq(&text);
}

#[test]
fn each_node_that_fits_gets_a_pod() {
    let tainted = "taints: [{key: mine, effect: NoSchedule}]";
    let cordoned = "unschedulable: true, taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]";
    let other = node("d", "").replace("ssd", "hdd");
    check(
        &set(""),
        &[node("a", ""), node("b", tainted), node("c", cordoned), other],
        expect![[r#"
        Create { nodes: ["a", "c"] }
        desired 2 current 0 misscheduled 0 ready 0 updated 0 available 0
    "#]],
    );
}

#[test]
fn pods_that_do_not_belong_go() {
    let objects = [
        node("a", ""),
        node("b", "taints: [{key: mine, effect: NoExecute}]"),
        node("c", "taints: [{key: mine, effect: NoSchedule}]"),
        pod("a1", "a", "new", "Running", true),
        pod("a2", "a", "new", "Running", true),
        pod("b1", "b", "new", "Running", true),
        pod("c1", "c", "new", "Running", true),
        pod("gone", "z", "new", "Running", true),
    ];
    check(
        &set(""),
        &objects,
        expect![[r#"
        Delete { pods: ["a2", "b1", "gone"] }
        desired 1 current 1 misscheduled 2 ready 1 updated 1 available 1
    "#]],
    );
}

#[test]
fn failed_pods_are_replaced() {
    check(
        &set(""),
        &[node("a", ""), pod("a1", "a", "new", "Failed", false)],
        expect![[r#"
        Delete { pods: ["a1"] }
        desired 1 current 1 misscheduled 0 ready 0 updated 1 available 0
        event FailedDaemonPod
        failed on a
    "#]],
    );
}

/// One that has ended and is being deleted has no more to do with the set, whoever holds it back.
#[test]
fn a_pod_that_has_ended_is_not_waited_for() {
    let held = pod("a1", "a", "new", "Failed", false).replace(
        "creationTimestamp",
        "deletionTimestamp: \"2026-01-01T11:30:00Z\", finalizers: [example.com/x], creationTimestamp",
    );
    check(
        &set(""),
        &[node("a", ""), held.clone()],
        expect![[r#"
            Create { nodes: ["a"] }
            desired 1 current 0 misscheduled 0 ready 0 updated 0 available 0
        "#]],
    );
    // One that still ends is.
    check(
        &set(""),
        &[node("a", ""), held.replace("phase: Failed", "phase: Running")],
        expect![[r#"
            desired 1 current 1 misscheduled 0 ready 0 updated 1 available 0
        "#]],
    );
}

#[test]
fn a_node_on_which_pods_fail_is_left_alone() {
    check(
        &set(""),
        &[node("paused", ""), pod("a1", "paused", "new", "Failed", false)],
        expect![[r#"
        desired 1 current 1 misscheduled 0 ready 0 updated 1 available 0
        look again in 4s
    "#]],
    );
}

#[test]
fn a_surging_rollout_leaves_nodes_that_are_not_wanted() {
    let surging = set("updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}");
    let sunset = "taints: [{key: mine, effect: NoSchedule}]";
    let old = |ready| pod("b1", "b", "old", "Running", ready);
    check(
        &surging,
        &[node("a", ""), node("b", sunset), pod("a1", "a", "new", "Running", true), old(true)],
        expect![[r#"
        Delete { pods: ["b1"] }
        desired 1 current 1 misscheduled 1 ready 1 updated 1 available 1
    "#]],
    );
    check(
        &surging,
        &[node("a", ""), node("b", sunset), pod("a1", "a", "new", "Running", false), old(true)],
        expect![[r#"
        desired 1 current 1 misscheduled 1 ready 0 updated 1 available 0
    "#]],
    );
    check(
        &surging,
        &[node("a", ""), node("b", sunset), pod("a1", "a", "new", "Running", false), old(false)],
        expect![[r#"
        Delete { pods: ["b1"] }
        desired 1 current 1 misscheduled 1 ready 0 updated 1 available 0
    "#]],
    );
}

#[test]
fn a_rollout_deletes_as_many_as_may_be_missing() {
    let objects = [
        node("a", ""),
        node("b", ""),
        node("c", ""),
        pod("a1", "a", "old", "Running", true),
        pod("b1", "b", "old", "Running", true),
        pod("c1", "c", "old", "Running", false),
    ];
    check(
        &set(""),
        &objects,
        expect![[r#"
        Delete { pods: ["c1"] }
        desired 3 current 3 misscheduled 0 ready 2 updated 0 available 2
    "#]],
    );
    check(
        &set("updateStrategy: {rollingUpdate: {maxUnavailable: 2}}"),
        &objects,
        expect![[r#"
        Delete { pods: ["a1", "c1"] }
        desired 3 current 3 misscheduled 0 ready 2 updated 0 available 2
    "#]],
    );
    check(
        &set("updateStrategy: {type: OnDelete}"),
        &objects,
        expect![[r#"
        desired 3 current 3 misscheduled 0 ready 2 updated 0 available 2
    "#]],
    );
}

#[test]
fn a_surging_rollout_creates_first() {
    let surging = set("updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}");
    let objects =
        [node("a", ""), node("b", ""), pod("a1", "a", "old", "Running", true), pod("b1", "b", "old", "Running", true)];
    check(
        &surging,
        &objects,
        expect![[r#"
        Create { nodes: ["a"] }
        desired 2 current 2 misscheduled 0 ready 2 updated 0 available 2
    "#]],
    );
    let waiting = [objects.concat(), pod("a2", "a", "new", "Running", false)];
    check(
        &surging,
        &waiting,
        expect![[r#"
        desired 2 current 2 misscheduled 0 ready 2 updated 0 available 2
    "#]],
    );
    let available = [objects.concat(), pod("a2", "a", "new", "Running", true)];
    check(
        &surging,
        &available,
        expect![[r#"
        Delete { pods: ["a1"] }
        desired 2 current 2 misscheduled 0 ready 2 updated 0 available 2
    "#]],
    );
}

#[test]
fn a_pod_is_bound_to_its_node_by_affinity() {
    let pod = new_pod(&one(&set("")), "a", "new");
    let affinity = serde_json::to_value(pod.spec.and_then(|spec| spec.affinity)).expect("JSON");
    let field = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]["matchFields"]
        [0];
    assert_eq!(field["values"][0], "a");
    assert_eq!(pod.metadata.labels.expect("labels")["controller-revision-hash"], "new");
}
