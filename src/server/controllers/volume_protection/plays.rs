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
            let runs = api
                .all("Pod")
                .iter()
                .any(|pod| pod["metadata"]["namespace"] == "n" && pod["status"]["phase"] == "Pending");
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
        0 => api.change("Pod", |pod| pod["status"]["phase"] = json!("Succeeded")),
        1 => api.change("PersistentVolume", |volume| volume["status"]["phase"] = json!("Released")),
        _ => false,
    });
    check_facts(
        &over,
        &expect![[r#"
            PersistentVolumeClaim others going, held by ["example.com/x"]
            PersistentVolumeClaim staying
            Pod p
            Pod p
        "#]],
    );
}
