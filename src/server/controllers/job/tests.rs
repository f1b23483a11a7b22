use super::plan::{Observed, new_pod, plan};
use crate::common::fixtures::{lines, noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use std::sync::Arc;

fn job(spec: &str, status: &str) -> String {
    format!(
        "kind: Job\nmetadata: {{name: j, namespace: n, uid: j}}\nspec:\n  template: {{spec: {{containers: [{{name: c}}]}}}}\n  \
         {spec}\nstatus: {{{status}}}\n"
    )
}

fn pod(name: &str, phase: &str, tracked: bool, more: &str) -> String {
    let finalizers = if tracked { "finalizers: [batch.kubernetes.io/job-tracking], " } else { "" };
    format!(
        "---\nkind: Pod\nmetadata: {{name: {name}, uid: {name}, namespace: n, {finalizers}{more}creationTimestamp: \"2026-01-01T11:59:58Z\", \
         ownerReferences: [{{apiVersion: batch/v1, kind: Job, name: j, uid: j, controller: true}}]}}\nstatus: {{phase: {phase}}}\n"
    )
}

fn check(job: &str, pods: &[String], expected: Expect) -> Job {
    check_object(one(job), pods, expected)
}

fn check_object(job: Job, pods: &[String], expected: Expect) -> Job {
    let observed = Observed { job: Arc::new(job.clone()), pods: shared::<Pod>(&pods.concat()) };
    let plan = plan(noon(), &observed);
    let mut text = lines(&plan.actions);
    let status = plan.status.clone();
    if let Some(status) = &status {
        let n = |count: Option<i32>| count.unwrap_or_default();
        text += &format!("active {} succeeded {} failed {}", n(status.active), n(status.succeeded), n(status.failed));
        let record = status.uncounted_terminated_pods.clone().unwrap_or_default();
        for (name, uids) in [("uncounted", record.succeeded), ("uncounted failures", record.failed)] {
            if let Some(uids) = uids {
                text += &format!(" {name} {uids:?}");
            }
        }
        if let Some(completed) = &status.completed_indexes {
            text += &format!(" completed {completed}");
        }
        text += "\n";
        for known in status.conditions.iter().flatten() {
            text += &format!("{}={} {}\n", known.type_, known.status, known.reason.as_deref().unwrap_or(""));
        }
    }
    for (_, reason, message) in &plan.events {
        text += &format!("event {reason}: {message}\n");
    }
    if let Some(wait) = plan.look_again {
        text += &format!("look again in {wait:?}\n");
    }
    expected.assert_eq(&text);
    Job { status, ..job }
}

#[test]
fn a_new_job_starts_its_pods() {
    check(&job("completions: 3\n  parallelism: 2", ""), &[], expect![[r#"
        Create { count: 2, indexes: [] }
        active 2 succeeded 0 failed 0
    "#]]);
}

#[test]
fn an_ended_pod_is_recorded_then_let_go_then_counted() {
    let spec = "completions: 1\n  parallelism: 1";
    let recorded = check(&job(spec, ""), &[pod("a", "Succeeded", true, "")], expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted ["a"]
        SuccessCriteriaMet=True CompletionsReached
    "#]]);
    check_object(recorded, &[pod("a", "Succeeded", false, "")], expect![[r#"
        active 0 succeeded 1 failed 0
        SuccessCriteriaMet=True CompletionsReached
        Complete=True CompletionsReached
        event Completed: Job completed
    "#]]);
}

#[test]
fn failures_wait_longer_each_time() {
    check(&job("completions: 1\n  parallelism: 1", ""), &[pod("a", "Failed", true, "")], expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a"]
        look again in 8s
    "#]]);
}

#[test]
fn too_many_failures_end_the_job() {
    let spec = "completions: 1\n  parallelism: 1\n  backoffLimit: 0";
    let failed = check(&job(spec, ""), &[pod("a", "Failed", true, ""), pod("b", "Running", true, "")], expect![[r#"
        Delete { pods: ["b"] }
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a"]
        FailureTarget=True BackoffLimitExceeded
    "#]]);
    check_object(failed, &[pod("a", "Failed", false, "")], expect![[r#"
        active 0 succeeded 0 failed 1
        FailureTarget=True BackoffLimitExceeded
        Failed=True BackoffLimitExceeded
        event BackoffLimitExceeded: Job has reached the specified backoff limit
    "#]]);
}

#[test]
fn indexes_are_completed_one_by_one() {
    let index = |n: i32| format!("annotations: {{batch.kubernetes.io/job-completion-index: \"{n}\"}}, ");
    let pods = [
        pod("a", "Succeeded", true, &index(0)),
        pod("b", "Running", true, &index(1)),
        pod("c", "Running", true, &index(1)),
    ];
    let spec = "completions: 4\n  parallelism: 3\n  completionMode: Indexed";
    check(&job(spec, ""), &pods, expect![[r#"
        Delete { pods: ["c"] }
        Strip { pods: ["a"] }
        active 1 succeeded 1 failed 0 completed 0
    "#]]);
    check(&job(spec, ""), &pods[..2], expect![[r#"
        Create { count: 2, indexes: [2, 3] }
        Strip { pods: ["a"] }
        active 3 succeeded 1 failed 0 completed 0
    "#]]);
}

#[test]
fn a_suspended_job_has_no_pods() {
    let suspended = job("completions: 1\n  suspend: true", "startTime: \"2026-01-01T11:00:00Z\"");
    check(&suspended, &[pod("a", "Running", true, "")], expect![[r#"
        Delete { pods: ["a"] }
        active 0 succeeded 0 failed 0
        Suspended=True JobSuspended
        event Suspended: Job suspended
    "#]]);
}

#[test]
fn the_deadline_ends_the_job() {
    let status = "startTime: \"2026-01-01T11:58:00Z\", active: 1, ready: 0, terminating: 0, uncountedTerminatedPods: {}";
    let running = [pod("a", "Running", true, "")];
    check(&job("completions: 1\n  parallelism: 1\n  activeDeadlineSeconds: 130", status), &running, expect![[r#"
        look again in 10s
    "#]]);
    check(&job("completions: 1\n  parallelism: 1\n  activeDeadlineSeconds: 120", status), &running, expect![[r#"
        Delete { pods: ["a"] }
        active 0 succeeded 0 failed 0
        FailureTarget=True DeadlineExceeded
    "#]]);
}

#[test]
fn a_policy_may_ignore_or_fail() {
    let spec = "completions: 1\n  parallelism: 1\n  podFailurePolicy: {rules: [{action: Ignore, onPodConditions: \
                [{type: DisruptionTarget}]}, {action: FailJob, onExitCodes: {operator: In, values: [42]}}]}";
    let disrupted = pod("a", "Failed", true, "").replace("phase: Failed", "phase: Failed, conditions: [{type: DisruptionTarget, status: \"True\"}]");
    check(&job(spec, ""), &[disrupted], expect![[r#"
        Create { count: 1, indexes: [] }
        Strip { pods: ["a"] }
        active 1 succeeded 0 failed 0
    "#]]);
    let fatal = pod("a", "Failed", true, "").replace(
        "phase: Failed",
        "phase: Failed, containerStatuses: [{name: c, ready: false, restartCount: 0, image: i, imageID: i, state: {terminated: {exitCode: 42}}}]",
    );
    check(&job(spec, ""), &[fatal], expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a"]
        FailureTarget=True PodFailurePolicy
    "#]]);
}

#[test]
fn pods_know_their_job_and_their_index() {
    let pod = new_pod(&one(&job("completions: 1", "")), Some(3));
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("j-3-"));
    let labels = pod.metadata.labels.expect("labels");
    assert_eq!(labels["batch.kubernetes.io/job-name"], "j");
    let spec = pod.spec.expect("a spec");
    assert_eq!(spec.hostname.as_deref(), Some("j-3"));
    assert_eq!(spec.containers[0].env.as_ref().expect("an environment")[0].name, "JOB_COMPLETION_INDEX");
}
