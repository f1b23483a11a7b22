use super::{
    identity::{new_pod, ordinal_of},
    plan::{Action, Observed, plan},
};
use crate::common::fixtures::{noon, one, seen, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{fmt::Write, sync::Arc};

fn set(spec: &str) -> String {
    set_with(spec, "")
}

fn set_with(spec: &str, status: &str) -> String {
    format!(
        "kind: StatefulSet\nmetadata: {{name: web, namespace: n, uid: w, generation: 1}}\nspec:\n  selector: {{matchLabels: {{app: w}}}}\n  \
         serviceName: s\n  {spec}\n  template: {{metadata: {{labels: {{app: w}}}}, spec: {{containers: [{{name: c}}]}}}}\nstatus: {{replicas: 0, {status}}}\n"
    )
}

fn pod(ordinal: i32, revision: &str, phase: &str, ready: bool, more: &str) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        "---\nkind: Pod\nmetadata: {{name: web-{ordinal}, uid: web-{ordinal}, namespace: n, {more}labels: {{app: w, controller-revision-hash: {revision}, \
         statefulset.kubernetes.io/pod-name: web-{ordinal}}}, creationTimestamp: \"2026-01-01T11:00:00Z\", \
         ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: w, controller: true}}]}}\n\
         spec: {{containers: [], volumes: [{{name: data, persistentVolumeClaim: {{claimName: data-web-{ordinal}}}}}]}}\n\
         status: {{phase: {phase}, conditions: [{{type: Ready, status: \"{ready}\", lastTransitionTime: \"2026-01-01T11:59:50Z\"}}]}}\n"
    )
}

fn ready(ordinal: i32) -> String {
    pod(ordinal, "new", "Running", true, "")
}

fn old(ordinal: i32) -> String {
    pod(ordinal, "old", "Running", true, "")
}

fn claim(name: &str, owners: &str) -> String {
    format!(
        "---\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}, namespace: n, ownerReferences: [{owners}]}}\nspec: {{}}\n"
    )
}

const DYING: &str = "deletionTimestamp: \"2026-01-01T12:00:10Z\", ";
const CLAIMS: &str = "volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]";

fn observe(set: &str, objects: &[String]) -> Observed {
    let objects = objects.concat();
    let claims = shared::<PersistentVolumeClaim>(&objects);
    Observed {
        set: Arc::new(one::<StatefulSet>(set)),
        pods: shared::<Pod>(&objects),
        claims: claims.into_iter().map(|claim| (claim.name_any(), claim)).collect(),
        current: "old".into(),
        update: "new".into(),
        collisions: 0,
    }
}

fn check(set: &str, objects: &[String], expected: Expect) {
    let plan = plan(noon(), &observe(set, objects));
    let mut text = String::new();
    for action in &plan.actions {
        match action {
            Action::Own { claim, owners } => {
                let owners: Vec<String> = owners.iter().map(|owner| format!("{}/{}", owner.kind, owner.name)).collect();
                writeln!(text, "Own {claim} by {owners:?}").expect("text");
            }
            other => writeln!(text, "{other:?}").expect("text"),
        }
    }
    plan.conflicts.iter().for_each(|claim| writeln!(text, "conflict over {claim}").expect("text"));
    if let Some(status) = plan.status {
        let n = |count: Option<i32>| count.unwrap_or_default();
        writeln!(
            text,
            "replicas {} ready {} available {} current {} updated {} at {}",
            status.replicas,
            n(status.ready_replicas),
            n(status.available_replicas),
            n(status.current_replicas),
            n(status.updated_replicas),
            status.current_revision.unwrap_or_default()
        )
        .expect("text");
    }
    if let Some(wait) = plan.look_again {
        writeln!(text, "look again in {wait:?}").expect("text");
    }
    expected.assert_eq(&text);
}

#[test]
fn pods_start_one_after_the_other() {
    check(
        &set("replicas: 3"),
        &[],
        expect![[r#"
        Create { ordinal: 0, updated: true }
        replicas 0 ready 0 available 0 current 0 updated 0 at old
    "#]],
    );
    check(
        &set("replicas: 3"),
        &[pod(0, "new", "Running", false, "")],
        expect![[r#"
        replicas 1 ready 0 available 0 current 0 updated 1 at old
    "#]],
    );
    check(
        &set("replicas: 3"),
        &[ready(0)],
        expect![[r#"
        Create { ordinal: 1, updated: true }
        replicas 1 ready 1 available 1 current 0 updated 1 at old
    "#]],
    );
    check(
        &set("replicas: 3"),
        &[ready(0), ready(1), ready(2)],
        expect![[r#"
        replicas 3 ready 3 available 3 current 3 updated 3 at new
    "#]],
    );
}

#[test]
fn pods_in_parallel_start_at_once() {
    check(
        &set("replicas: 3\n  podManagementPolicy: Parallel"),
        &[pod(1, "new", "Pending", false, "")],
        expect![[r#"
        Create { ordinal: 0, updated: true }
        Create { ordinal: 2, updated: true }
        replicas 1 ready 0 available 0 current 0 updated 1 at old
    "#]],
    );
}

#[test]
fn ordinals_start_where_asked() {
    check(
        &set("replicas: 2\n  ordinals: {start: 5}"),
        &[ready(0), ready(5)],
        expect![[r#"
        Create { ordinal: 6, updated: true }
        replicas 2 ready 2 available 2 current 2 updated 2 at new
    "#]],
    );
    check(
        &set("replicas: 2\n  ordinals: {start: 5}"),
        &[ready(0), ready(5), ready(6)],
        expect![[r#"
        Delete { pod: "web-0" }
        replicas 3 ready 3 available 3 current 0 updated 3 at old
    "#]],
    );
}

#[test]
fn availability_is_waited_for() {
    check(
        &set("replicas: 2\n  minReadySeconds: 30"),
        &[ready(0)],
        expect![[r#"
        replicas 1 ready 1 available 0 current 0 updated 1 at old
        look again in 20s
    "#]],
    );
}

#[test]
fn surplus_goes_from_the_top() {
    check(
        &set("replicas: 1"),
        &[ready(0), ready(1), ready(2)],
        expect![[r#"
        Delete { pod: "web-2" }
        replicas 3 ready 3 available 3 current 0 updated 3 at old
    "#]],
    );
    check(
        &set("replicas: 1"),
        &[ready(0), ready(1), pod(2, "new", "Running", true, DYING)],
        expect![[r#"
        replicas 3 ready 3 available 3 current 0 updated 2 at old
    "#]],
    );
    // What is below is not well: only the lowest of those that are not may go.
    check(
        &set("replicas: 1"),
        &[ready(0), pod(1, "new", "Running", false, ""), ready(2)],
        expect![[r#"
        Delete { pod: "web-2" }
        replicas 3 ready 2 available 2 current 0 updated 3 at old
    "#]],
    );
    check(
        &set("replicas: 1"),
        &[ready(0), ready(1), pod(2, "new", "Running", false, "")],
        expect![[r#"
        Delete { pod: "web-2" }
        replicas 3 ready 2 available 2 current 0 updated 3 at old
    "#]],
    );
    check(
        &set("replicas: 1"),
        &[pod(0, "new", "Running", false, ""), ready(1)],
        expect![[r#"
        replicas 2 ready 1 available 1 current 0 updated 2 at old
    "#]],
    );
    check(
        &set("replicas: 0\n  podManagementPolicy: Parallel"),
        &[ready(0), pod(1, "new", "Running", false, "")],
        expect![[r#"
        Delete { pod: "web-1" }
        Delete { pod: "web-0" }
        replicas 2 ready 1 available 1 current 0 updated 2 at old
    "#]],
    );
}

#[test]
fn ended_pods_are_replaced() {
    check(
        &set("replicas: 2"),
        &[pod(0, "new", "Failed", false, ""), ready(1)],
        expect![[r#"
        Delete { pod: "web-0" }
        replicas 2 ready 1 available 1 current 0 updated 2 at old
    "#]],
    );
    check(
        &set("replicas: 2"),
        &[pod(0, "new", "Succeeded", false, DYING), ready(1)],
        expect![[r#"
        replicas 2 ready 1 available 1 current 0 updated 1 at old
    "#]],
    );
}

#[test]
fn a_rollout_goes_from_the_top() {
    let rolling = |strategy: &str| set(&format!("replicas: 3\n  updateStrategy: {{{strategy}}}"));
    let all = [old(0), old(1), old(2)];
    check(
        &rolling("type: RollingUpdate, rollingUpdate: {partition: 0}"),
        &all,
        expect![[r#"
        Delete { pod: "web-2" }
        replicas 3 ready 3 available 3 current 2 updated 0 at old
    "#]],
    );
    check(
        &rolling("type: RollingUpdate, rollingUpdate: {partition: 0}"),
        &[old(0), old(1), ready(2)],
        expect![[r#"
        Delete { pod: "web-1" }
        replicas 3 ready 3 available 3 current 1 updated 1 at old
    "#]],
    );
    check(
        &rolling("type: RollingUpdate, rollingUpdate: {partition: 2}"),
        &[old(0), old(1), ready(2)],
        expect![[r#"
        replicas 3 ready 3 available 3 current 2 updated 1 at old
    "#]],
    );
    check(
        &rolling("type: RollingUpdate, rollingUpdate: {maxUnavailable: 2}"),
        &all,
        expect![[r#"
        Delete { pod: "web-2" }
        Delete { pod: "web-1" }
        replicas 3 ready 3 available 3 current 1 updated 0 at old
    "#]],
    );
    check(
        &rolling("type: RollingUpdate, rollingUpdate: {maxUnavailable: \"50%\"}"),
        &all,
        expect![[r#"
        Delete { pod: "web-2" }
        replicas 3 ready 3 available 3 current 2 updated 0 at old
    "#]],
    );
    check(
        &rolling("type: OnDelete"),
        &all,
        expect![[r#"
        replicas 3 ready 3 available 3 current 3 updated 0 at old
    "#]],
    );
}

#[test]
fn below_the_partition_the_current_revision_is_kept() {
    check(
        &set("replicas: 3\n  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}"),
        &[ready(1), ready(2)],
        expect![[r#"
            Create { ordinal: 0, updated: false }
            replicas 2 ready 2 available 2 current 0 updated 2 at old
        "#]],
    );
    let ongoing = set_with("replicas: 3\n  updateStrategy: {type: RollingUpdate}", "currentReplicas: 2");
    check(
        &ongoing,
        &[old(0), ready(2)],
        expect![[r#"
        Create { ordinal: 1, updated: false }
        replicas 2 ready 2 available 2 current 1 updated 1 at old
    "#]],
    );
}

#[test]
fn a_finished_rollout_makes_its_revision_the_current_one() {
    check(
        &set("replicas: 2"),
        &[ready(0), ready(1)],
        expect![[r#"
        replicas 2 ready 2 available 2 current 2 updated 2 at new
    "#]],
    );
    check(
        &set("replicas: 2\n  updateStrategy: {type: OnDelete}"),
        &[ready(0), ready(1)],
        expect![[r#"
        replicas 2 ready 2 available 2 current 0 updated 2 at old
    "#]],
    );
}

#[test]
fn claims_follow_the_retention_policy() {
    let policy = |deleted, scaled| {
        set(&format!(
            "replicas: 1\n  {CLAIMS}\n  persistentVolumeClaimRetentionPolicy: {{whenDeleted: {deleted}, whenScaled: {scaled}}}"
        ))
    };
    let objects = [ready(0), ready(1), claim("data-web-0", ""), claim("data-web-1", "")];
    check(
        &policy("Retain", "Retain"),
        &objects,
        expect![[r#"
        Delete { pod: "web-1" }
        replicas 2 ready 2 available 2 current 0 updated 2 at old
    "#]],
    );
    check(
        &policy("Delete", "Retain"),
        &objects,
        expect![[r#"
        Own data-web-0 by ["StatefulSet/web"]
        Own data-web-1 by ["StatefulSet/web"]
        Delete { pod: "web-1" }
        replicas 2 ready 2 available 2 current 0 updated 2 at old
    "#]],
    );
    check(
        &policy("Retain", "Delete"),
        &objects,
        expect![[r#"
        Own data-web-1 by ["Pod/web-1"]
        Delete { pod: "web-1" }
        replicas 2 ready 2 available 2 current 0 updated 2 at old
    "#]],
    );
    check(
        &policy("Delete", "Delete"),
        &objects,
        expect![[r#"
        Own data-web-0 by ["StatefulSet/web"]
        Own data-web-1 by ["Pod/web-1"]
        Delete { pod: "web-1" }
        replicas 2 ready 2 available 2 current 0 updated 2 at old
    "#]],
    );
    let other = "{apiVersion: v1, kind: X, name: x, uid: x, controller: true}, {apiVersion: apps/v1, kind: StatefulSet, name: web, uid: w, controller: true}";
    check(
        &policy("Delete", "Delete"),
        &[ready(0), claim("data-web-0", other)],
        expect![[r#"
        Own data-web-0 by ["X/x"]
        conflict over data-web-0
        replicas 1 ready 1 available 1 current 1 updated 1 at new
    "#]],
    );
    // The claim of the pod before goes with that pod; the next one waits for it.
    let stale = "{apiVersion: v1, kind: Pod, name: web-0, uid: before, controller: true}";
    check(
        &policy("Retain", "Delete"),
        &[claim("data-web-0", stale)],
        expect![[r#"
        replicas 0 ready 0 available 0 current 0 updated 0 at old
    "#]],
    );
}

#[test]
fn a_pending_pod_gets_the_claims_it_lacks() {
    check(
        &set(&format!("replicas: 1\n  {CLAIMS}")),
        &[pod(0, "new", "Pending", false, "")],
        expect![[r#"
        Claim { ordinal: 0 }
        replicas 1 ready 0 available 0 current 0 updated 1 at old
    "#]],
    );
}

#[test]
fn pods_are_taken_by_owner_labels_and_name() {
    let orphan = |name: &str| {
        ready(0)
            .replace("web-0", name)
            .replace("kind: StatefulSet", "kind: X")
            .replace("controller: true", "controller: false")
    };
    check(
        &set("replicas: 1"),
        &[orphan("web-0"), orphan("web-x"), orphan("other-1")],
        expect![[r#"
        Adopt { pod: "web-0" }
        replicas 1 ready 1 available 1 current 1 updated 1 at new
    "#]],
    );
    check(
        &set("replicas: 1"),
        &[ready(0).replace("labels: {app: w", "labels: {app: x")],
        expect![[r#"
        Release { pod: "web-0" }
        Create { ordinal: 0, updated: true }
        replicas 0 ready 0 available 0 current 0 updated 0 at old
    "#]],
    );
    let unlabelled = ready(0).replace("pod-name: web-0", "pod-name: x");
    check(
        &set("replicas: 1"),
        &[unlabelled],
        expect![[r#"
        Restore { pod: "web-0", ordinal: 0 }
        replicas 1 ready 1 available 1 current 1 updated 1 at new
    "#]],
    );
}

#[test]
fn a_pod_knows_its_ordinal_in_every_way() {
    let set: StatefulSet = one(&set(&format!("replicas: 1\n  {CLAIMS}")));
    let template = set.spec.as_ref().expect("a spec").template.clone();
    let pod = new_pod(&set, &template, "web-abc", 3);
    let spec = pod.spec.as_ref().expect("a spec");
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("web-3"), Some("s")));
    assert_eq!(pod.labels()["apps.kubernetes.io/pod-index"], "3");
    assert_eq!(pod.labels()["statefulset.kubernetes.io/pod-name"], "web-3");
    assert_eq!(pod.labels()["controller-revision-hash"], "web-abc");
    let claim = spec.volumes.as_ref().and_then(|volumes| volumes[0].persistent_volume_claim.as_ref());
    assert_eq!(claim.map(|claim| claim.claim_name.as_str()), Some("data-web-3"));
    assert_eq!(ordinal_of(&set, &seen(&pod)), Some(3));
}

/// Whatever the pods are like, in order at most one is started, and none is started or ended beside one that is on its way.
mod in_order {
    use super::*;
    use proptest::prelude::*;

    fn any_pod() -> impl Strategy<Value = Option<(bool, u8, bool)>> {
        prop::option::of((any::<bool>(), 0_u8..4, any::<bool>()))
    }

    proptest! {
        #[test]
        fn one_at_a_time(pods in prop::collection::vec(any_pod(), 0..6), replicas in 0_i32..6, first in 0_i32..3, partition in 0_i32..4) {
            let objects: Vec<String> = pods.iter().enumerate().filter_map(|(ordinal, known)| {
                let (updated, phase, dying) = (*known)?;
                let phase_name = ["Pending", "Running", "Running", "Failed"][usize::from(phase)];
                let revision = if updated { "new" } else { "old" };
                Some(pod(ordinal as i32, revision, phase_name, phase == 2, if dying { DYING } else { "" }))
            }).collect();
            let set = set(&format!("replicas: {replicas}\n  ordinals: {{start: {first}}}\n  updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: {partition}}}}}"));
            let plan = plan(noon(), &observe(&set, &objects));
            let starting = plan.actions.iter().filter(|action| matches!(action, Action::Create { .. })).count();
            let ending: Vec<&String> = plan.actions.iter().filter_map(|action| match action {
                Action::Delete { pod } => Some(pod),
                _ => None,
            }).collect();
            prop_assert!(starting + ending.len() <= 1);
            let wanted = first..first + replicas;
            let well = |ordinal: &i32| matches!(pods.get(*ordinal as usize), Some(Some((_, 2, false))));
            for action in &plan.actions {
                match action {
                    Action::Create { ordinal, .. } => {
                        prop_assert!(wanted.contains(ordinal));
                        prop_assert!((first..*ordinal).all(|before| well(&before)), "{ordinal} starts before what comes before it is there");
                    }
                    Action::Delete { pod } => {
                        let ordinal: i32 = pod.trim_start_matches("web-").parse().expect("an ordinal");
                        let failed = matches!(pods[ordinal as usize], Some((_, 3, _)));
                        let others = wanted.clone().filter(|other| *other != ordinal);
                        prop_assert!(failed || others.into_iter().all(|other| well(&other)), "{ordinal} ends beside one that is not well");
                    }
                    _ => {}
                }
            }
        }
    }
}
