//! Pods that bring volumes along, under leaders that die: each has its claims, and gets another when one is deleted.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, play},
};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: Pod
metadata: {name: p, namespace: n, uid: p}
spec: {containers: [], volumes: [{name: a, ephemeral: {volumeClaimTemplate: {spec: {}}}}, {name: b, ephemeral: {volumeClaimTemplate: {spec: {}}}}]}
---
kind: Pod
metadata: {name: going, namespace: n, uid: g, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [example.com/x]}
spec: {containers: [], volumes: [{name: a, ephemeral: {volumeClaimTemplate: {spec: {}}}}]}
---
kind: Pod
metadata: {name: q, namespace: n, uid: q}
spec: {containers: [], volumes: [{name: taken, ephemeral: {volumeClaimTemplate: {spec: {}}}}]}
---
kind: PersistentVolumeClaim
metadata: {name: q-taken, namespace: n}
";

#[test]
fn a_leader_that_dies_changes_nothing() {
    let scene = Scene {
        others: |api: &FakeApi, asked| {
            asked == 0 && api.delete("PersistentVolumeClaim", &json!({}), |claim| claim["metadata"]["name"] == "p-b")
        },
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    };
    check(
        &scene,
        &expect![[r#"
            create PersistentVolumeClaim p-a
            create PersistentVolumeClaim p-b
            create PersistentVolumeClaim p-b
        "#]],
        &expect![[r#"
            PersistentVolumeClaim p-a of p
            PersistentVolumeClaim p-b of p
            PersistentVolumeClaim q-taken
            Pod going going, held by ["example.com/x"]
            Pod p
            Pod q
        "#]],
    );
    let said = play(&scene, || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said();
    assert_eq!(
        said,
        "Warning FailedBinding Pod q: ephemeral volume taken: PVC n/q-taken was not created for pod n/q (pod is not owner)\n"
    );
}
