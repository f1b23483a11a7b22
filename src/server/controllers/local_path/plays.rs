//! Claims that get folders, and folders that go with their volumes, under leaders that die: no folder is left over, and no
//! volume is without one.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts},
};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: StorageClass
metadata: {name: local-path}
provisioner: mk8s.io/local-path
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
---
kind: Node
metadata: {name: one, labels: {kubernetes.io/hostname: one}}
---
kind: PersistentVolumeClaim
metadata: {name: data, namespace: n, uid: u-1, annotations: {volume.kubernetes.io/storage-provisioner: mk8s.io/local-path, volume.kubernetes.io/selected-node: one}}
spec: {storageClassName: local-path, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
kind: PersistentVolumeClaim
metadata: {name: lost, namespace: n, uid: u-2, annotations: {volume.kubernetes.io/storage-provisioner: mk8s.io/local-path, volume.kubernetes.io/selected-node: gone}}
spec: {storageClassName: local-path, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
kind: PersistentVolumeClaim
metadata: {name: unused, namespace: n, uid: u-3, annotations: {volume.kubernetes.io/storage-provisioner: mk8s.io/local-path}}
spec: {storageClassName: local-path, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

fn facts(api: &FakeApi) -> String {
    let mut facts = api.census();
    for claim in api.all("PersistentVolumeClaim") {
        let node = &claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"];
        facts += &format!("{} on {node}\n", claim["metadata"]["name"]);
    }
    api.folders().iter().for_each(|folder| facts += &format!("folder {folder}\n"));
    facts
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene {
        others,
        holds: |api| {
            let lacks = |volume: &serde_json::Value| {
                let path = volume["spec"]["local"]["path"].as_str().unwrap_or_default().replace("/data/", "one/");
                volume["metadata"]["deletionTimestamp"].is_null()
                    && volume["status"]["phase"] != "Released"
                    && !api.folders().contains(&path)
            };
            match api.all("PersistentVolume").iter().any(lacks) {
                true => Err("a volume has no folder".to_owned()),
                false => Ok(()),
            }
        },
        facts,
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    }
}

#[test]
fn a_claim_gets_one_folder() {
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
            Node one
            PersistentVolumeClaim data
            PersistentVolumeClaim lost
            PersistentVolumeClaim unused
            PersistentVolume pvc-u-1
            StorageClass local-path
            "data" on "one"
            "lost" on null
            "unused" on null
            folder one/pvc-u-1_n_data
        "#]],
    );
}

#[test]
fn a_folder_goes_with_its_volume() {
    let over = scene(|api, asked| match asked {
        0 => {
            api.delete("PersistentVolumeClaim", &json!({}), |_| true);
            api.change("PersistentVolume", |volume| volume["status"]["phase"] = json!("Released"))
        }
        _ => false,
    });
    check_facts(
        &over,
        &expect![[r#"
            Node one
            StorageClass local-path
        "#]],
    );
}
