//! Volumes that are emptied by a pod, under leaders that die: each is free in the end, and no pod is left over.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, check_facts, play},
};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: PersistentVolume
metadata: {name: v, uid: v, annotations: {pv.kubernetes.io/bound-by-controller: \"yes\"}}
spec: {capacity: {storage: 1Gi}, persistentVolumeReclaimPolicy: Recycle, hostPath: {path: /x}, claimRef: {namespace: n, name: c, uid: c}}
status: {phase: Bound}
---
kind: Pod
";

fn facts(api: &FakeApi) -> String {
    let mut facts = api.census();
    for volume in api.all("PersistentVolume") {
        let (spec, status) = (&volume["spec"], &volume["status"]);
        facts += &format!("{} {} for {}\n", status["phase"], status["message"], spec["claimRef"]);
    }
    facts
}

/// The node runs the pods.
fn run(api: &FakeApi, phase: &str) -> bool {
    let ran = api.change("Pod", |pod| {
        if pod["metadata"]["deletionTimestamp"].is_null() {
            pod["spec"]["nodeName"] = json!("one");
            pod["status"]["phase"] = json!(phase);
        }
    });
    ran | api.end_pods()
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) }
}

#[test]
fn an_emptied_volume_is_free_again() {
    check(
        &scene(|api, _| run(api, "Succeeded")),
        &expect![[r#"
        patch status of PersistentVolume v lastPhaseTransitionTime message phase
        create Pod recycler-for-v
        delete Pod recycler-for-v
        patch PersistentVolume v annotations claimRef
        patch status of PersistentVolume v lastPhaseTransitionTime message phase
    "#]],
        &expect![[r#"
        PersistentVolume v
        "Available" null for null
    "#]],
    );
}

#[test]
fn a_pod_that_fails_is_followed_by_another() {
    let failing = scene(|api, asked| run(api, if asked < 5 { "Failed" } else { "Succeeded" }));
    check_facts(
        &failing,
        &expect![[r#"
        PersistentVolume v
        "Available" null for null
    "#]],
    );
    let said = play(&failing, || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said();
    expect![[r#"
        Normal VolumeRecycled PersistentVolume v: Volume recycled
        Warning VolumeFailedRecycle PersistentVolume v: Recycle failed: failed to recycle volume: pod failed, pod.Status.Message unknown
    "#]].assert_eq(&said);
}

#[test]
fn what_the_pod_is_told_is_told_of_the_volume() {
    let told = scene(|api, asked| match asked {
        0 => {
            let pod = api.all("Pod").remove(0);
            let event = |name: &str, kind: &str, message: &str, uid: &serde_json::Value| {
                api.add(json!({"kind": "Event", "metadata": {"name": name, "namespace": "default"}, "type": kind, "message": message,
                    "involvedObject": {"kind": "Pod", "name": "recycler-for-v", "uid": uid}}));
            };
            event("a", "Warning", "no image", &pod["metadata"]["uid"]);
            event("b", "Normal", "another pod's", &json!("other"));
            run(api, "Running")
        }
        _ => run(api, "Succeeded"),
    });
    let said = play(&told, || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said();
    expect![[r#"
        Normal VolumeRecycled PersistentVolume v: Volume recycled
        Warning RecyclerPod PersistentVolume v: Recycler pod: no image
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_pod_of_that_name_is_not_trusted() {
    let forged = "
kind: Pod
metadata: {name: recycler-for-v, namespace: default, uid: forged}
spec: {nodeName: one, containers: []}
status: {phase: Succeeded}
";
    let scene = Scene {
        objects: OBJECTS.trim_end().trim_end_matches("kind: Pod").to_owned() + forged,
        ..scene(|api, _| run(api, "Succeeded"))
    };
    check_facts(
        &scene,
        &expect![[r#"
            PersistentVolume v
            "Available" null for null
        "#]],
    );
    let said = play(&scene, || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said();
    expect![[r#"
        Normal VolumeRecycled PersistentVolume v: Volume recycled
        Warning VolumeFailedRecycle PersistentVolume v: Recycle failed: old recycler pod found, will retry later
    "#]]
    .assert_eq(&said);
}
