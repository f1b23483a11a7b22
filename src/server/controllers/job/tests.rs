use super::{
    plan::{Observed, plan},
    pod::{Failures, Index, new_pod},
};
use crate::common::fixtures::{lines, noon, one, seen, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::batch::v1::Job;
use mk8s_client::pod::Pod;
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
        if let Some(failed) = &status.failed_indexes {
            text += &format!(" failed {failed:?}");
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
    check(
        &job("completions: 3\n  parallelism: 2", ""),
        &[],
        expect![[r#"
        Create { count: 2, indexes: [] }
        active 2 succeeded 0 failed 0
    "#]],
    );
}

#[test]
fn an_ended_pod_is_recorded_then_let_go_then_counted() {
    let spec = "completions: 1\n  parallelism: 1";
    let recorded = check(
        &job(spec, ""),
        &[pod("a", "Succeeded", true, "")],
        expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted ["a"]
        SuccessCriteriaMet=True CompletionsReached
    "#]],
    );
    check_object(
        recorded,
        &[pod("a", "Succeeded", false, "")],
        expect![[r#"
        active 0 succeeded 1 failed 0
        SuccessCriteriaMet=True CompletionsReached
        Complete=True CompletionsReached
        event Completed: Job completed
    "#]],
    );
}

#[test]
fn failures_wait_longer_each_time() {
    check(
        &job("completions: 1\n  parallelism: 1", ""),
        &[pod("a", "Failed", true, "")],
        expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a"]
        look again in 8s
    "#]],
    );
}

#[test]
fn too_many_failures_end_the_job() {
    let spec = "completions: 1\n  parallelism: 1\n  backoffLimit: 0";
    let failed = check(
        &job(spec, ""),
        &[pod("a", "Failed", true, ""), pod("b", "Running", true, "")],
        expect![[r#"
        Delete { pods: ["b"] }
        Strip { pods: ["a", "b"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a", "b"]
        FailureTarget=True BackoffLimitExceeded
    "#]],
    );
    check_object(
        failed,
        &[pod("a", "Failed", false, "")],
        expect![[r#"
        active 0 succeeded 0 failed 2
        FailureTarget=True BackoffLimitExceeded
        Failed=True BackoffLimitExceeded
        event BackoffLimitExceeded: Job has reached the specified backoff limit
    "#]],
    );
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
    check(
        &job(spec, ""),
        &pods,
        expect![[r#"
        Discard { pods: ["b"] }
        Strip { pods: ["a"] }
        active 1 succeeded 1 failed 0 completed 0
    "#]],
    );
    check(
        &job(spec, ""),
        &pods[..2],
        expect![[r#"
        Create { count: 2, indexes: [Index { index: 2, failures: None }, Index { index: 3, failures: None }] }
        Strip { pods: ["a"] }
        active 3 succeeded 1 failed 0 completed 0
    "#]],
    );
}

#[test]
fn a_suspended_job_has_no_pods() {
    let suspended = job("completions: 1\n  suspend: true", "startTime: \"2026-01-01T11:00:00Z\"");
    check(
        &suspended,
        &[pod("a", "Running", true, "")],
        expect![[r#"
        Discard { pods: ["a"] }
        active 0 succeeded 0 failed 0
        Suspended=True JobSuspended
        event Suspended: Job suspended
    "#]],
    );
}

#[test]
fn the_deadline_ends_the_job() {
    let status =
        "startTime: \"2026-01-01T11:58:00Z\", active: 1, ready: 0, terminating: 0, uncountedTerminatedPods: {}";
    let running = [pod("a", "Running", true, "")];
    check(
        &job("completions: 1\n  parallelism: 1\n  activeDeadlineSeconds: 130", status),
        &running,
        expect![[r#"
        look again in 10s
    "#]],
    );
    check(
        &job("completions: 1\n  parallelism: 1\n  activeDeadlineSeconds: 120", status),
        &running,
        expect![[r#"
        Delete { pods: ["a"] }
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a"]
        FailureTarget=True DeadlineExceeded
    "#]],
    );
}

#[test]
fn a_policy_may_ignore_or_fail() {
    let spec = "completions: 1\n  parallelism: 1\n  podFailurePolicy: {rules: [{action: Ignore, onPodConditions: \
                [{type: DisruptionTarget}]}, {action: FailJob, onExitCodes: {operator: In, values: [42]}}]}";
    let disrupted = pod("a", "Failed", true, "")
        .replace("phase: Failed", "phase: Failed, conditions: [{type: DisruptionTarget, status: \"True\"}]");
    check(
        &job(spec, ""),
        &[disrupted],
        expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0
        look again in 8s
    "#]],
    );
    let fatal = pod("a", "Failed", true, "").replace(
        "phase: Failed",
        "phase: Failed, containerStatuses: [{name: c, ready: false, restartCount: 0, image: i, imageID: i, state: {terminated: {exitCode: 42}}}]",
    );
    check(
        &job(spec, ""),
        &[fatal],
        expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a"]
        FailureTarget=True PodFailurePolicy
    "#]],
    );
}

#[test]
fn pods_know_their_job_and_their_index() {
    let pod = new_pod(
        &one(&job("completions: 1", "")),
        Some(&Index { index: 3, failures: Some(Failures { counted: 2, ignored: 0 }) }),
    );
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("j-3-"));
    let labels = pod.metadata.labels.expect("labels");
    assert_eq!(labels["batch.kubernetes.io/job-name"], "j");
    let annotations = pod.metadata.annotations.expect("annotations");
    assert_eq!(annotations["batch.kubernetes.io/job-index-failure-count"], "2");
    let spec = pod.spec.expect("a spec");
    assert_eq!(spec.hostname.as_deref(), Some("j-3"));
    assert_eq!(spec.containers[0].env.as_ref().expect("an environment")[0].name, "JOB_COMPLETION_INDEX");
}

fn indexed(name: &str, index: i32, failures: i32, phase: &str) -> String {
    let annotations = format!(
        "annotations: {{batch.kubernetes.io/job-completion-index: \"{index}\", batch.kubernetes.io/job-index-failure-count: \"{failures}\"}}, "
    );
    pod(name, phase, true, &annotations)
}

const PER_INDEX: &str =
    "completions: 3\n  parallelism: 3\n  completionMode: Indexed\n  backoffLimit: 100\n  backoffLimitPerIndex: 1";

fn ended_long_ago(pod: &str) -> String {
    pod.replace("11:59:58", "11:00:00")
}

#[test]
fn each_index_may_fail_for_itself() {
    // The failed pod is held back until its successor is there, which is told of it.
    let pods = [indexed("a", 0, 0, "Failed"), indexed("b", 1, 0, "Succeeded"), indexed("c", 2, 0, "Running")];
    check(
        &job(PER_INDEX, ""),
        &pods,
        expect![[r#"
        Strip { pods: ["b"] }
        active 1 succeeded 1 failed 0 completed 1 failed ""
        look again in 8s
    "#]],
    );
    check(
        &job(PER_INDEX, ""),
        &[ended_long_ago(&pods[0]), pods[1].clone(), pods[2].clone()],
        expect![[r#"
        Create { count: 1, indexes: [Index { index: 0, failures: Some(Failures { counted: 1, ignored: 0 }) }] }
        Strip { pods: ["b"] }
        active 2 succeeded 1 failed 0 completed 1 failed ""
    "#]],
    );
    let replaced = [pods.concat(), indexed("d", 0, 1, "Running")];
    check(
        &job(PER_INDEX, ""),
        &replaced,
        expect![[r#"
        Strip { pods: ["a", "b"] }
        active 2 succeeded 1 failed 0 uncounted failures ["a"] completed 1 failed ""
    "#]],
    );
    let failed_again = [pods[2].clone(), indexed("d", 0, 1, "Failed")];
    check(
        &job(PER_INDEX, "completedIndexes: \"1\", succeeded: 1, failed: 1"),
        &failed_again,
        expect![[r#"
        Strip { pods: ["d"] }
        active 1 succeeded 1 failed 1 uncounted failures ["d"] completed 1 failed "0"
    "#]],
    );
    let all = [indexed("c", 2, 0, "Succeeded"), indexed("d", 0, 1, "Failed")];
    check(
        &job(PER_INDEX, "completedIndexes: \"1\", succeeded: 1, failed: 1"),
        &all,
        expect![[r#"
        Strip { pods: ["c", "d"] }
        active 0 succeeded 2 failed 1 uncounted failures ["d"] completed 1,2 failed "0"
        FailureTarget=True FailedIndexes
    "#]],
    );
}

#[test]
fn too_many_failed_indexes_end_the_job() {
    let spec = format!("{PER_INDEX}\n  maxFailedIndexes: 0");
    check(
        &job(&spec, ""),
        &[indexed("a", 0, 1, "Failed"), indexed("b", 1, 0, "Running")],
        expect![[r#"
        Delete { pods: ["b"] }
        Strip { pods: ["a", "b"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a", "b"] failed "0"
        FailureTarget=True MaxFailedIndexesExceeded
    "#]],
    );
}

#[test]
fn a_policy_may_give_an_index_up() {
    let spec = format!(
        "{PER_INDEX}\n  podFailurePolicy: {{rules: [{{action: FailIndex, onExitCodes: {{operator: NotIn, values: [1]}}}}]}}"
    );
    let fatal = indexed("a", 0, 0, "Failed").replace(
        "phase: Failed",
        "phase: Failed, containerStatuses: [{name: c, ready: false, restartCount: 0, image: i, imageID: i, state: {terminated: {exitCode: 42}}}]",
    );
    check(
        &job(&spec, ""),
        &[fatal, indexed("b", 1, 0, "Running"), indexed("c", 2, 0, "Running")],
        expect![[r#"
        Strip { pods: ["a"] }
        active 2 succeeded 0 failed 0 uncounted failures ["a"] failed "0"
    "#]],
    );
}

#[test]
fn a_policy_may_call_it_a_success() {
    let spec = |rule: &str| {
        format!("completions: 4\n  parallelism: 4\n  completionMode: Indexed\n  successPolicy: {{rules: [{rule}]}}")
    };
    let pods = [indexed("a", 0, 0, "Succeeded"), indexed("b", 1, 0, "Running")];
    check(
        &job(&spec("{succeededIndexes: \"0\"}"), ""),
        &pods,
        expect![[r#"
        Delete { pods: ["b"] }
        Strip { pods: ["a", "b"] }
        active 0 succeeded 1 failed 0 completed 0
        SuccessCriteriaMet=True SuccessPolicy
    "#]],
    );
    check(
        &job(&spec("{succeededIndexes: \"1-3\", succeededCount: 1}, {succeededCount: 1}"), ""),
        &pods,
        expect![[r#"
        Delete { pods: ["b"] }
        Strip { pods: ["a", "b"] }
        active 0 succeeded 1 failed 0 completed 0
        SuccessCriteriaMet=True SuccessPolicy
    "#]],
    );
    check(
        &job(&spec("{succeededIndexes: \"0-1\"}"), ""),
        &pods,
        expect![[r#"
        Create { count: 2, indexes: [Index { index: 2, failures: None }, Index { index: 3, failures: None }] }
        Strip { pods: ["a"] }
        active 3 succeeded 1 failed 0 completed 0
    "#]],
    );
}

#[test]
fn a_pod_that_goes_is_replaced_by_policy() {
    let dying = pod("a", "Running", true, "deletionTimestamp: \"2026-01-01T12:00:10Z\", ");
    let spec = "completions: 1\n  parallelism: 1";
    check(
        &job(spec, ""),
        std::slice::from_ref(&dying),
        expect![[r#"
        Strip { pods: ["a"] }
        active 0 succeeded 0 failed 0 uncounted failures ["a"]
        look again in 20s
    "#]],
    );
    check(
        &job(&format!("{spec}\n  podReplacementPolicy: Failed"), ""),
        &[dying],
        expect![[r#"
        active 0 succeeded 0 failed 0
    "#]],
    );
}

#[test]
fn what_is_not_wanted_any_more_does_not_count() {
    let pods = [pod("a", "Running", true, ""), pod("b", "Running", true, ""), pod("c", "Running", true, "")];
    check(
        &job("completions: 3\n  parallelism: 1", ""),
        &pods,
        expect![[r#"
        Discard { pods: ["a", "b"] }
        active 1 succeeded 0 failed 0
    "#]],
    );
    check(
        &job("completions: 0\n  parallelism: 1", ""),
        &[],
        expect![[r#"
        active 0 succeeded 0 failed 0
        SuccessCriteriaMet=True CompletionsReached
        Complete=True CompletionsReached
        event Completed: Job completed
    "#]],
    );
}

#[test]
fn a_resumed_job_starts_again() {
    let status = "conditions: [{type: Suspended, status: \"True\", reason: JobSuspended, message: Job suspended}]";
    check(
        &job("completions: 1\n  parallelism: 1", status),
        &[],
        expect![[r#"
        Create { count: 1, indexes: [] }
        active 1 succeeded 0 failed 0
        Suspended=False JobResumed
        event Resumed: Job resumed
    "#]],
    );
}

/// The controller dies between any two actions, pods end as they like and are deleted: each counts once.
mod counting {
    use super::super::plan::Action;
    use super::*;
    use mk8s_client::kube::ResourceExt;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    struct World {
        job: Job,
        pods: BTreeMap<String, Pod>,
        made: usize,
        succeeded: i32,
        failed: i32,
    }

    impl World {
        /// Does the first `actions` steps of a round, the status being one of them.
        fn round(&mut self, steps: usize) {
            let pods = self.pods.values().cloned().map(Arc::new).collect();
            let plan = plan(noon(), &Observed { job: Arc::new(self.job.clone()), pods });
            let (after, before): (Vec<_>, Vec<_>) =
                plan.actions.into_iter().partition(|action| matches!(action, Action::Strip { .. }));
            let mut left = steps;
            let mut may = || {
                left = left.saturating_sub(1);
                left > 0
            };
            for action in before {
                if !may() {
                    return;
                }
                self.act(&action);
            }
            if !may() {
                return;
            }
            if let Some(status) = plan.status {
                self.job.status = Some(status);
            }
            for action in after {
                let Action::Strip { pods } = action else { continue };
                for pod in pods {
                    if !may() {
                        return;
                    }
                    self.act(&Action::Strip { pods: vec![pod] });
                }
            }
        }

        fn act(&mut self, action: &Action) {
            match action {
                Action::Create { count, indexes } => {
                    for n in 0..*count {
                        let mut pod = seen(&new_pod(&self.job, indexes.get(n)));
                        self.made += 1;
                        let name = format!("p{:04}", self.made);
                        pod.metadata.name = Some(name.clone());
                        pod.metadata.uid = Some(name.clone());
                        pod.status.get_or_insert_default().phase = Some("Running".into());
                        self.pods.insert(name, pod);
                    }
                }
                Action::Delete { pods } => pods.iter().for_each(|name| self.end(name, false)),
                Action::Discard { pods } => pods.iter().for_each(|name| drop(self.pods.remove(name))),
                Action::Strip { pods } => {
                    for name in pods {
                        let Some(pod) = self.pods.get_mut(name) else { continue };
                        pod.metadata.finalizers = None;
                    }
                }
                Action::Release { .. } | Action::Adopt { .. } => {}
            }
        }

        fn end(&mut self, name: &str, well: bool) {
            let Some(pod) = self.pods.get_mut(name) else { return };
            let status = pod.status.get_or_insert_default();
            if status.phase.as_deref() != Some("Running") {
                return;
            }
            status.phase = Some(if well { "Succeeded" } else { "Failed" }.into());
            *(if well { &mut self.succeeded } else { &mut self.failed }) += 1;
        }
    }

    proptest! {
        #[test]
        fn every_pod_counts_once(ends in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0_usize..8, any::<bool>()), 0..60)) {
            let mut world = World {
                job: one(&job("completions: 8\n  parallelism: 3\n  backoffLimit: 1000", "")),
                pods: BTreeMap::new(), made: 0, succeeded: 0, failed: 0,
            };
            for (which, well, steps, forget) in ends {
                world.round(steps);
                let names: Vec<String> = world.pods.keys().cloned().collect();
                if !names.is_empty() {
                    world.end(which.get(&names).as_str(), well);
                }
                // Ended pods without a finalizer may vanish at any time.
                if forget {
                    world.pods.retain(|_, pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running") || !pod.finalizers().is_empty());
                }
                let status = world.job.status.clone().unwrap_or_default();
                prop_assert!(status.succeeded.unwrap_or_default() <= world.succeeded);
                prop_assert!(status.failed.unwrap_or_default() <= world.failed);
            }
            for _ in 0..40 {
                world.round(usize::MAX);
                let running: Vec<String> = world.pods.keys().cloned().collect();
                running.iter().for_each(|name| world.end(name, true));
            }
            let status = world.job.status.clone().unwrap_or_default();
            prop_assert!(super::super::finished(&world.job).is_some(), "{status:?}");
            prop_assert_eq!(status.succeeded.unwrap_or_default(), world.succeeded);
            prop_assert_eq!(status.failed.unwrap_or_default(), world.failed);
        }
    }
}
