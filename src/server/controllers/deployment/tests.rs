use super::plan::{Observed, plan};
use crate::common::fixtures::{lines, noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use std::sync::Arc;

fn deployment(extra: &str, spec: &str, status: &str) -> String {
    format!(
        r#"---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{name: web, namespace: n, uid: d, generation: 2, annotations: {{kubernetes.io/change-cause: why {extra}}}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  progressDeadlineSeconds: 600
  revisionHistoryLimit: 2
  template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: c, image: "i:2"}}]}}}}
  {spec}
status: {{{status}}}
"#
    )
}

/// One set: name, image, size, available pods and its further annotations.
fn set(name: &str, image: &str, size: i32, available: i32, annotations: &str) -> String {
    format!(
        r#"---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: {name}
  uid: {name}
  namespace: n
  generation: 1
  creationTimestamp: "2026-01-01T0{day}:00:00Z"
  labels: {{app: web, pod-template-hash: {name}}}
  annotations: {{kubernetes.io/change-cause: why, {annotations}}}
  ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: d, controller: true}}]
spec:
  replicas: {size}
  selector: {{matchLabels: {{app: web, pod-template-hash: {name}}}}}
  template:
    metadata: {{labels: {{app: web, pod-template-hash: {name}}}}}
    spec: {{containers: [{{name: c, image: "i:{image}"}}]}}
status:
  {{replicas: {size}, readyReplicas: {available}, availableReplicas: {available}, observedGeneration: 1, terminatingReplicas: 0}}
"#,
        day = name.len() % 10
    )
}

fn check(deployment: &str, sets: &[String], expected: Expect) {
    let deployment: Deployment = one(deployment);
    let sets = shared::<ReplicaSet>(&sets.concat());
    let observed = Observed { deployment: Arc::new(deployment), sets, with_pods: Default::default() };
    let plan = plan(noon(), &observed);
    let mut text = lines(&plan.actions);
    if let Some(status) = plan.status {
        let count = |count: Option<i32>| count.unwrap_or_default();
        text += &format!(
            "status: replicas {} updated {} available {} unavailable {}\n",
            count(status.replicas),
            count(status.updated_replicas),
            count(status.available_replicas),
            count(status.unavailable_replicas)
        );
        for condition in status.conditions.unwrap_or_default() {
            text += &format!("{}={} {}\n", condition.type_, condition.status, condition.reason.unwrap_or_default());
        }
    }
    if let Some(wait) = plan.look_again {
        text += &format!("look again in {wait:?}\n");
    }
    expected.assert_eq(&text);
}

const SIZED_10: &str =
    "deployment.kubernetes.io/desired-replicas: \"10\", deployment.kubernetes.io/max-replicas: \"13\"";
const ROLL: &str =
    "replicas: 10\n  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}";

fn revision(number: i32) -> String {
    format!("{SIZED_10}, deployment.kubernetes.io/revision: \"{number}\"")
}

#[test]
fn a_first_set_takes_all_pods() {
    check(
        &deployment("", "replicas: 3", ""),
        &[],
        expect![[r#"
        Create web-* size 3
        Revision 1
        status: replicas 0 updated 0 available 0 unavailable 3
        Progressing=True NewReplicaSetCreated
        Available=False MinimumReplicasUnavailable
        look again in 601s
    "#]],
    );
}

#[test]
fn a_new_template_grows_into_the_surge_and_old_pods_make_room() {
    check(
        &deployment("", ROLL, "replicas: 10"),
        &[set("a", "1", 10, 10, &revision(1))],
        expect![[r#"
        Create web-* size 3
        Scale a 10 -> 8
        Revision 2
        status: replicas 10 updated 0 available 10 unavailable 1
        Available=True MinimumReplicasAvailable
        Progressing=True ReplicaSetUpdated
        look again in 601s
    "#]],
    );
}

#[test]
fn the_new_set_grows_when_old_ones_have_shrunk() {
    let sets = [set("a", "1", 8, 8, &revision(1)), set("bb", "2", 3, 0, &revision(2))];
    check(
        &deployment(", deployment.kubernetes.io/revision: \"2\"", ROLL, ""),
        &sets,
        expect![[r#"
        Scale bb 3 -> 5
        status: replicas 11 updated 3 available 8 unavailable 5
        Available=True MinimumReplicasAvailable
        Progressing=True ReplicaSetUpdated
        look again in 601s
    "#]],
    );
}

#[test]
fn unavailable_pods_of_the_new_set_keep_old_ones_alive() {
    let sets = [set("a", "1", 8, 8, &revision(1)), set("bb", "2", 5, 0, &revision(2))];
    let status = "replicas: 13, updatedReplicas: 5, availableReplicas: 8, readyReplicas: 8";
    check(
        &deployment(", deployment.kubernetes.io/revision: \"2\"", ROLL, status),
        &sets,
        expect![[r#"
        status: replicas 13 updated 5 available 8 unavailable 5
        Progressing=True FoundNewReplicaSet
        Available=True MinimumReplicasAvailable
        look again in 601s
    "#]],
    );
}

#[test]
fn unhealthy_old_pods_go_first() {
    let sets = [set("a", "1", 8, 6, &revision(1)), set("bb", "2", 5, 5, &revision(2))];
    check(
        &deployment(", deployment.kubernetes.io/revision: \"2\"", ROLL, ""),
        &sets,
        expect![[r#"
        Scale a 8 -> 3
        status: replicas 13 updated 5 available 11 unavailable 0
        Available=True MinimumReplicasAvailable
        Progressing=True ReplicaSetUpdated
        look again in 601s
    "#]],
    );
}

#[test]
fn rolling_back_makes_an_old_set_the_newest() {
    let sets = [set("a", "2", 0, 0, &revision(1)), set("bb", "1", 10, 10, &revision(2))];
    check(
        &deployment(", deployment.kubernetes.io/revision: \"2\"", ROLL, ""),
        &sets,
        expect![[r#"
        Scale a 0 -> 3
        Revision 3
        status: replicas 10 updated 0 available 10 unavailable 3
        Available=True MinimumReplicasAvailable
        Progressing=True ReplicaSetUpdated
        look again in 601s
    "#]],
    );
}

#[test]
fn scaling_during_a_rollout_is_proportional() {
    let spec = ROLL.replace("replicas: 10", "replicas: 20");
    let sets = [set("a", "1", 8, 8, &revision(1)), set("bb", "2", 5, 5, &revision(2))];
    check(
        &deployment(", deployment.kubernetes.io/revision: \"2\"", &spec, ""),
        &sets,
        expect![[r#"
        Scale a 8 -> 15
        Scale bb 5 -> 10
        status: replicas 13 updated 5 available 13 unavailable 12
        Progressing=True FoundNewReplicaSet
        Available=False MinimumReplicasUnavailable
    "#]],
    );
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let spec = "replicas: 5\n  paused: true";
    check(
        &deployment("", spec, ""),
        &[set("a", "1", 10, 10, &revision(1))],
        expect![[r#"
        Scale a 10 -> 5
        status: replicas 10 updated 0 available 10 unavailable 0
        Progressing=Unknown DeploymentPaused
        Available=True MinimumReplicasAvailable
    "#]],
    );
}

#[test]
fn recreating_waits_for_the_old_pods() {
    let spec = "replicas: 3\n  strategy: {type: Recreate}";
    let sized = "deployment.kubernetes.io/desired-replicas: \"3\", deployment.kubernetes.io/revision: \"1\"";
    check(
        &deployment("", spec, ""),
        &[set("a", "1", 3, 3, sized)],
        expect![[r#"
        Scale a 3 -> 0
        status: replicas 3 updated 0 available 3 unavailable 0
        Available=True MinimumReplicasAvailable
        Progressing=True ReplicaSetUpdated
        look again in 601s
    "#]],
    );
    check(
        &deployment("", spec, ""),
        &[set("a", "1", 0, 0, sized)],
        expect![[r#"
        Create web-* size 3
        Revision 2
        status: replicas 0 updated 0 available 0 unavailable 3
        Progressing=True NewReplicaSetCreated
        Available=False MinimumReplicasUnavailable
        look again in 601s
    "#]],
    );
}

#[test]
fn a_complete_rollout_cuts_history() {
    let status = "observedGeneration: 2, replicas: 10, updatedReplicas: 10, availableReplicas: 10, readyReplicas: 10";
    let sets = [
        set("a", "0", 0, 0, &revision(1)),
        set("bb", "1", 0, 0, &revision(2)),
        set("ccc", "3", 0, 0, &revision(3)),
        set("dddd", "2", 10, 10, &revision(4)),
    ];
    check(
        &deployment(", deployment.kubernetes.io/revision: \"4\"", ROLL, status),
        &sets,
        expect![[r#"
        Delete a
        status: replicas 10 updated 10 available 10 unavailable 0
        Available=True MinimumReplicasAvailable
        Progressing=True NewReplicaSetAvailable
    "#]],
    );
}

#[test]
fn no_progress_within_the_deadline_is_reported() {
    let status = r#"observedGeneration: 2, unavailableReplicas: 1, conditions: [
      {type: Progressing, status: "True", reason: NewReplicaSetCreated, lastUpdateTime: "2026-01-01T11:49:59Z"}]"#;
    let sized = "deployment.kubernetes.io/desired-replicas: \"1\", deployment.kubernetes.io/revision: \"1\"";
    let mut stuck = set("a", "2", 1, 0, sized);
    stuck = stuck.replace("{replicas: 1,", "{replicas: 0,");
    check(
        &deployment(", deployment.kubernetes.io/revision: \"1\"", "replicas: 1", status),
        &[stuck],
        expect![[r#"
        status: replicas 0 updated 0 available 0 unavailable 1
        Available=False MinimumReplicasUnavailable
        Progressing=False ProgressDeadlineExceeded
    "#]],
    );
}
