//! Volumes from a provisioner that runs elsewhere, asked for by leaders that die: each claim gets one, and loses it to nobody.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts, play},
};
use expect_test::expect;
use mk8s_api::at::text;
use serde_json::{Value, json};

const PROVISIONER: &str = "example.com/nfs";

const OBJECTS: &str = "
kind: StorageClass
metadata: {name: now}
provisioner: example.com/nfs
reclaimPolicy: Delete
volumeBindingMode: Immediate
---
kind: StorageClass
metadata: {name: later}
provisioner: example.com/nfs
reclaimPolicy: Retain
volumeBindingMode: WaitForFirstConsumer
---
kind: Node
metadata: {name: one}
---
kind: PersistentVolumeClaim
metadata: {name: early, namespace: n, uid: early}
spec: {storageClassName: now, accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
kind: PersistentVolumeClaim
metadata: {name: late, namespace: n, uid: late}
spec: {storageClassName: later, accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
kind: PersistentVolumeClaim
metadata: {name: foreign, namespace: n, uid: foreign}
spec: {storageClassName: unknown, accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
";

/// What the provisioner does: a volume for each claim that is annotated with its name, and an end to what is released.
fn provision(api: &FakeApi) -> bool {
    let mut any = false;
    for claim in api.all("PersistentVolumeClaim") {
        let (meta, spec) = (&claim["metadata"], &claim["spec"]);
        let name = format!("pvc-{}", text(meta, "uid"));
        let asked = meta["annotations"]["volume.kubernetes.io/storage-provisioner"] == PROVISIONER;
        if !asked || spec["volumeName"].is_string() || api.has("PersistentVolume", &name) {
            continue;
        }
        let class =
            api.all("StorageClass").into_iter().find(|class| class["metadata"]["name"] == spec["storageClassName"]);
        api.add(json!({
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": spec["accessModes"], "storageClassName": spec["storageClassName"],
                "persistentVolumeReclaimPolicy": class.map(|class| class["reclaimPolicy"].clone()),
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "n", "name": meta["name"], "uid": meta["uid"]},
                "nfs": {"server": "files", "path": "/x"},
            },
        }));
        any = true;
    }
    let ours = |volume: &Value| {
        volume["status"]["phase"] == "Released" && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    };
    any | api.delete("PersistentVolume", &json!({}), ours)
}

/// The server would say `Pending` of claims that have no phase.
fn facts(api: &FakeApi) -> String {
    let mut facts = String::new();
    for claim in api.all("PersistentVolumeClaim") {
        let (meta, status) = (&claim["metadata"], &claim["status"]);
        facts += &format!("{} {} {}\n", meta["name"], status["phase"], claim["spec"]["volumeName"]);
    }
    for volume in api.all("PersistentVolume") {
        facts += &format!("{} {}\n", volume["metadata"]["name"], volume["status"]["phase"]);
    }
    facts
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) }
}

#[test]
fn claims_wait_for_who_provisions_and_for_their_pod() {
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
            "early" null null
            "foreign" null null
            "late" null null
        "#]],
    );
    check_facts(
        &scene(|api, _| provision(api)),
        &expect![[r#"
            "early" "Bound" "pvc-early"
            "foreign" null null
            "late" null null
            "pvc-early" "Bound"
        "#]],
    );
}

/// A pod comes, is placed, and goes with its claim.
fn live(api: &FakeApi, asked: usize) -> bool {
    let made = provision(api);
    let user = match asked {
        2 => api.change("PersistentVolumeClaim", |claim| {
            if claim["metadata"]["name"] == "late" {
                claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] = json!("one");
            }
        }),
        6 => api.delete("PersistentVolumeClaim", &json!({}), |_| true),
        _ => asked < 10,
    };
    made | user
}

#[test]
fn volumes_come_with_their_claims_and_go_as_their_class_says() {
    let until_bound = scene(|api, asked| asked < 6 && live(api, asked));
    check_facts(
        &until_bound,
        &expect![[r#"
            "early" "Bound" "pvc-early"
            "foreign" null null
            "late" "Bound" "pvc-late"
            "pvc-early" "Bound"
            "pvc-late" "Bound"
        "#]],
    );
    check_facts(
        &scene(live),
        &expect![[r#"
            "pvc-late" "Released"
        "#]],
    );
    let said = play(&scene(live), || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said();
    for expected in [
        "Normal ExternalProvisioning PersistentVolumeClaim early: Waiting for a volume to be created either by the external provisioner 'example.com/nfs'",
        "Normal WaitForFirstConsumer PersistentVolumeClaim late: waiting for first consumer to be created before binding",
        "Warning ProvisioningFailed PersistentVolumeClaim foreign: storageclass.storage.k8s.io \"unknown\" not found",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}
