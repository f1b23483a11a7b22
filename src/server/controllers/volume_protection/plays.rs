//! Claims and volumes that are deleted while they are used, under leaders that die: they go when nobody uses them.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts},
};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: PersistentVolumeClaim
metadata: {name: used, namespace: n, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [kubernetes.io/pvc-protection]}
---
kind: PersistentVolumeClaim
metadata: {name: free, namespace: n, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [kubernetes.io/pvc-protection]}
---
kind: PersistentVolumeClaim
metadata: {name: staying, namespace: n, finalizers: [kubernetes.io/pvc-protection]}
---
kind: PersistentVolumeClaim
metadata: {name: others, namespace: n, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [kubernetes.io/pvc-protection, example.com/x]}
---
kind: PersistentVolume
metadata: {name: bound, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [kubernetes.io/pv-protection]}
status: {phase: Bound}
---
kind: PersistentVolume
metadata: {name: released, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [kubernetes.io/pv-protection]}
status: {phase: Released}
---
kind: Pod
metadata: {name: p, namespace: n}
spec: {nodeName: one, containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: used}}]}
---
kind: Pod
metadata: {name: p, namespace: other}
spec: {nodeName: one, containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: free}}]}
";

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene {
        others,
        holds: |api| {
            let runs = api.all("Pod").iter().any(|pod| pod["metadata"]["namespace"] == "n");
            if runs && !api.has("PersistentVolumeClaim", "used") {
                return Err("the claim is gone while its pod runs".to_owned());
            }
            Ok(())
        },
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    }
}

#[test]
fn what_is_used_stays() {
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
            PersistentVolumeClaim others going, held by ["example.com/x"]
            PersistentVolumeClaim staying
            PersistentVolumeClaim used going, held by ["kubernetes.io/pvc-protection"]
            PersistentVolume bound going, held by ["kubernetes.io/pv-protection"]
            Pod p
            Pod p
        "#]],
    );
}

#[test]
fn what_is_used_no_longer_goes() {
    let over = scene(|api, asked| match asked {
        0 => api.delete("Pod", &json!({"gracePeriodSeconds": 0}), |pod| pod["metadata"]["namespace"] == "n"),
        1 => api.change("PersistentVolume", |volume| volume["status"]["phase"] = json!("Released")),
        _ => false,
    });
    check_facts(
        &over,
        &expect![[r#"
            PersistentVolumeClaim others going, held by ["example.com/x"]
            PersistentVolumeClaim staying
            Pod p
        "#]],
    );
}

const CLASSES: &str = "
kind: VolumeAttributesClass
metadata: {name: gold}
---
kind: VolumeAttributesClass
metadata: {name: silver, finalizers: [kubernetes.io/vac-protection]}
---
kind: VolumeAttributesClass
metadata: {name: tin, finalizers: [kubernetes.io/vac-protection]}
---
kind: PersistentVolumeClaim
metadata: {name: c, namespace: n, finalizers: [kubernetes.io/pvc-protection]}
spec: {volumeAttributesClassName: gold}
status: {currentVolumeAttributesClassName: silver}
---
kind: PersistentVolume
metadata: {name: v, finalizers: [kubernetes.io/pv-protection]}
spec: {volumeAttributesClassName: silver}
";

#[test]
fn a_class_goes_when_nothing_names_it() {
    let deleted = |api: &FakeApi, asked: usize| match asked {
        0 => api.delete("VolumeAttributesClass", &json!({}), |_| true),
        1 => api.change("PersistentVolume", |volume| volume["spec"]["volumeAttributesClassName"] = json!("gold")),
        _ => false,
    };
    let classes = Scene { objects: CLASSES.to_owned(), ..scene(deleted) };
    check_facts(
        &classes,
        &expect![[r#"
            PersistentVolumeClaim c
            PersistentVolume v
            VolumeAttributesClass gold going, held by ["kubernetes.io/vac-protection"]
            VolumeAttributesClass silver going, held by ["kubernetes.io/vac-protection"]
        "#]],
    );
    let modified = Scene {
        others: |api, asked| match asked {
            0 => api.delete("VolumeAttributesClass", &json!({}), |_| true),
            1 => {
                let status = json!({"currentVolumeAttributesClassName": "gold"});
                api.change("PersistentVolumeClaim", |claim| claim["status"] = status.clone())
                    | api.change("PersistentVolume", |volume| {
                        volume["spec"]["volumeAttributesClassName"] = json!("gold")
                    })
            }
            _ => false,
        },
        ..classes
    };
    check_facts(
        &modified,
        &expect![[r#"
            PersistentVolumeClaim c
            PersistentVolume v
            VolumeAttributesClass gold going, held by ["kubernetes.io/vac-protection"]
        "#]],
    );
}
