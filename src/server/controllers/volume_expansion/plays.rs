//! A claim that grows, under leaders that die: people are told who is waited for, and nothing is written.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, play},
};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: PersistentVolumeClaim
metadata: {name: c, namespace: n, uid: c}
spec: {volumeName: pv, resources: {requests: {storage: 1Gi}}}
status: {phase: Bound, capacity: {storage: 1Gi}}
---
kind: PersistentVolume
metadata: {name: pv}
spec: {capacity: {storage: 1Gi}, claimRef: {namespace: n, name: c, uid: c}, csi: {driver: d, volumeHandle: h}}
";

#[test]
fn who_expands_is_waited_for() {
    let grown = |api: &FakeApi, asked: usize| {
        asked == 0
            && api.change("PersistentVolumeClaim", |claim| {
                claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi")
            })
    };
    let scene = Scene { others: grown, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) };
    let facts = expect![[r#"
        PersistentVolumeClaim c
        PersistentVolume pv
    "#]];
    check(&scene, &expect![[""]], &facts);
    let told =
        "Normal ExternalExpanding PersistentVolumeClaim c: waiting for an external controller to expand this PVC\n";
    assert_eq!(play(&scene, || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said(), told);
    let still = Scene { others: |_, _| false, ..scene };
    assert_eq!(play(&still, || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said(), "");
}

#[test]
fn a_volume_of_old_is_for_its_driver() {
    let old = OBJECTS
        .replace("csi: {driver: d, volumeHandle: h}", "awsElasticBlockStore: {volumeID: v}")
        .replace("1Gi}}}", "2Gi}}}");
    let facts: fn(&FakeApi) -> String = |api| {
        api.all("PersistentVolumeClaim").iter().map(|claim| claim["metadata"]["annotations"].to_string()).collect()
    };
    let scene = Scene { facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), old) };
    check(
        &scene,
        &expect![[r#"
            patch PersistentVolumeClaim c annotations
        "#]],
        &expect![[r#"{"volume.kubernetes.io/storage-resizer":"ebs.csi.aws.com"}"#]],
    );
    let told = "Normal ExternalExpanding PersistentVolumeClaim c: CSI migration enabled for kubernetes.io/aws-ebs; waiting for external resizer to expand the pvc\n";
    assert_eq!(play(&scene, || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said(), told);
}
