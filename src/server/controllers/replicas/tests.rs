use super::{
    kinds::ReplicaKind,
    plan::{Observed, plan},
};
use crate::common::fixtures::{lines, noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::apps::v1::ReplicaSet;
use mk8s_client::pod::Pod;
use std::{collections::HashMap, sync::Arc};

const SET: &str = r#"
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web, namespace: n, uid: set, generation: 3}
spec:
  replicas: 2
  minReadySeconds: 10
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}
"#;

/// A pod in one line: name, owner, labels and the rest of its metadata, phase, and since when it is ready.
fn pod(name: &str, owner: &str, meta: &str, phase: &str, ready: &str) -> String {
    let owners = match owner {
        "" => String::new(),
        uid => format!(
            "ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: x, uid: {uid}, controller: true}}]"
        ),
    };
    let conditions = match ready {
        "" => String::new(),
        since => format!("conditions: [{{type: Ready, status: \"True\", lastTransitionTime: \"{since}\"}}]"),
    };
    format!(
        "---\nkind: Pod\nmetadata:\n  name: {name}\n  uid: {name}\n  namespace: n\n  {meta}\n  {owners}\n\
         spec: {{containers: [], nodeName: n1}}\nstatus:\n  phase: {phase}\n  {conditions}\n"
    )
}

fn check(set: &str, pods: &[String], expected: Expect) {
    let set: ReplicaSet = one(set);
    let observed = Observed { set: Arc::new(set), pods: shared::<Pod>(&pods.concat()), on_node: HashMap::new() };
    let plan = plan(noon(), &observed);
    let counts = plan.counts;
    let text = format!(
        "{}replicas {} labeled {} ready {} available {} terminating {:?}\nlook again {:?}\n",
        lines(&plan.actions),
        counts.replicas,
        counts.fully_labeled,
        counts.ready,
        counts.available,
        counts.terminating,
        plan.look_again
    );
    expected.assert_eq(&text);
}

const LABELS: &str = "labels: {app: web}";

#[test]
fn missing_pods_are_created() {
    check(
        SET,
        &[],
        expect![[r#"
        Create { count: 2 }
        replicas 0 labeled 0 ready 0 available 0 terminating Some(0)
        look again None
    "#]],
    );
}

#[test]
fn finished_and_terminating_pods_do_not_count() {
    let dying = format!("{LABELS}\n  deletionTimestamp: \"2026-01-01T11:59:59Z\"");
    let pods = [
        pod("done", "set", LABELS, "Succeeded", ""),
        pod("dying", "set", &dying, "Running", "2026-01-01T11:00:00Z"),
        pod("new", "set", LABELS, "Running", "2026-01-01T11:59:56Z"),
    ];
    check(
        SET,
        &pods,
        expect![[r#"
        Create { count: 1 }
        replicas 1 labeled 1 ready 1 available 0 terminating Some(1)
        look again Some(6s)
    "#]],
    );
}

#[test]
fn pods_change_hands_by_labels() {
    let pods = [
        pod("orphan", "", LABELS, "Running", ""),
        pod("stranger", "other", LABELS, "Running", ""),
        pod("renamed", "set", "labels: {app: other}", "Running", ""),
        pod("mine", "set", LABELS, "Running", "2026-01-01T11:00:00Z"),
    ];
    check(
        SET,
        &pods,
        expect![[r#"
        Release { pod: "renamed" }
        Adopt { pod: "orphan" }
        replicas 2 labeled 2 ready 1 available 1 terminating Some(0)
        look again None
    "#]],
    );
}

#[test]
fn surplus_pods_that_are_missed_least_go_first() {
    let cheap = format!("{LABELS}\n  annotations: {{controller.kubernetes.io/pod-deletion-cost: \"-1\"}}");
    let pods = [
        pod("old", "set", LABELS, "Running", "2026-01-01T01:00:00Z"),
        pod("young", "set", LABELS, "Running", "2026-01-01T11:59:00Z"),
        pod("cheap", "set", &cheap, "Running", "2026-01-01T01:00:00Z"),
        pod("unready", "set", LABELS, "Running", ""),
        pod("pending", "set", LABELS, "Pending", ""),
    ];
    check(
        SET,
        &pods,
        expect![[r#"
        Delete { pods: ["cheap", "pending", "unready"] }
        replicas 5 labeled 5 ready 3 available 3 terminating Some(0)
        look again None
    "#]],
    );
}

#[test]
fn a_set_that_is_being_deleted_only_reports() {
    let set = SET.replace("generation: 3", "generation: 3, deletionTimestamp: \"2026-01-01T11:59:59Z\"");
    check(
        &set,
        &[pod("orphan", "", LABELS, "Running", "")],
        expect![[r#"
        replicas 0 labeled 0 ready 0 available 0 terminating Some(0)
        look again None
    "#]],
    );
}

#[test]
fn a_status_is_written_only_when_it_says_something_new() {
    let set: ReplicaSet = one(SET);
    let counts = super::kinds::Counts { replicas: 2, observed_generation: 3, ..Default::default() };
    let updated = set.with_counts(&counts, noon()).expect("the first status");
    assert_eq!(updated.with_counts(&counts, noon()), None);
    let mut failed = counts.clone();
    failed.fail(-1, "exceeded quota".into());
    let broken = updated.with_counts(&failed, noon()).expect("a condition more");
    let condition = &broken.status.as_ref().expect("a status").conditions.as_ref().expect("conditions")[0];
    assert_eq!((condition.type_.as_str(), condition.reason.as_deref()), ("ReplicaFailure", Some("FailedCreate")));
    let healed = broken.with_counts(&counts, noon()).expect("a condition less");
    assert_eq!(healed.status.expect("a status").conditions, None);
}
