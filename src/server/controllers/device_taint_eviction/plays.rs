//! Devices that become unusable, and the pods that have them, under leaders that die.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts, play},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::{Value, json};

const OBJECTS: &str = "
kind: ResourceSlice
metadata: {name: s}
spec: {driver: d, pool: {name: p, generation: 1, resourceSliceCount: 1}, nodeName: one, devices: [{name: g}, {name: h}]}
---
kind: ResourceClaim
metadata: {name: strict, namespace: n}
spec: {}
status:
  allocation: {devices: {results: [{request: r, driver: d, pool: p, device: g}]}}
  reservedFor: [{resource: pods, name: strict, uid: strict}]
---
kind: ResourceClaim
metadata: {name: patient, namespace: n}
spec: {}
status:
  allocation: {devices: {results: [{request: r, driver: d, pool: p, device: g, tolerations: [{operator: Exists, effect: NoExecute}]}]}}
  reservedFor: [{resource: pods, name: patient, uid: patient}]
---
kind: ResourceClaim
metadata: {name: later, namespace: n}
spec: {}
status:
  allocation: {devices: {results: [{request: r, driver: d, pool: p, device: g, tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 2000000000}]}]}}
  reservedFor: [{resource: pods, name: later, uid: later}]
---
kind: ResourceClaim
metadata: {name: elsewhere, namespace: n}
spec: {}
status:
  allocation: {devices: {results: [{request: r, driver: d, pool: p, device: h}]}}
  reservedFor: [{resource: pods, name: elsewhere, uid: elsewhere}]
---
kind: Pod
metadata: {name: strict, namespace: n, uid: strict, finalizers: [example.com/look]}
spec: {nodeName: one, containers: [], resourceClaims: [{name: a, resourceClaimName: strict}]}
---
kind: Pod
metadata: {name: patient, namespace: n, uid: patient}
spec: {nodeName: one, containers: [], resourceClaims: [{name: a, resourceClaimName: patient}]}
---
kind: Pod
metadata: {name: later, namespace: n, uid: later}
spec: {nodeName: one, containers: [], resourceClaims: [{name: a, resourceClaimName: later}]}
---
kind: Pod
metadata: {name: elsewhere, namespace: n, uid: elsewhere}
spec: {nodeName: one, containers: [], resourceClaims: [{name: a, resourceClaimName: elsewhere}]}
";

fn taint(api: &FakeApi, taints: &Value) -> bool {
    api.change("ResourceSlice", |slice| slice["spec"]["devices"][0]["taints"] = taints.clone())
}

fn unusable() -> Value {
    json!([{"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": "2026-01-01T11:00:00Z"}])
}

fn facts(api: &FakeApi) -> String {
    let line = |pod: &Value| {
        let conditions = list(&pod["status"], "conditions").iter();
        let conditions: Vec<String> =
            conditions.map(|one| format!("{}={} {}", one["type"], one["status"], one["reason"])).collect();
        let going = !pod["metadata"]["deletionTimestamp"].is_null();
        format!("{} going {going} {}\n", pod["metadata"]["name"], conditions.join(" "))
    };
    api.all("Pod").iter().map(line).collect()
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let tainted = scene(|api, asked| if asked == 0 { taint(api, &unusable()) } else { api.end_pods() });
    check_facts(
        &tainted,
        &expect![[r#"
            "elsewhere" going false 
            "later" going false 
            "patient" going false 
            "strict" going true "DisruptionTarget"="True" "DeletionByDeviceTaintManager"
        "#]],
    );
}

#[test]
fn it_is_told_why_pods_go_and_that_they_need_not_any_more() {
    let eased = scene(|api, asked| match asked {
        0 => taint(api, &unusable()),
        1 => taint(api, &Value::Null),
        _ => api.end_pods(),
    });
    let api = play(&eased, || usize::MAX).unwrap_or_else(|why| panic!("{why}"));
    expect![[r#"
        Normal DeviceTaintManagerEviction Pod later: Cancelling deletion
        Normal DeviceTaintManagerEviction Pod strict: Marking for deletion
    "#]]
    .assert_eq(&api.said());
}

#[test]
fn a_claim_that_is_taken_after_the_taint_does_not_help() {
    let late = scene(|api, asked| match asked {
        0 => taint(api, &unusable()),
        1 => api.change("ResourceClaim", |claim| {
            if claim["metadata"]["name"] == "elsewhere" {
                claim["status"]["allocation"]["devices"]["results"][0]["device"] = json!("g");
            }
        }),
        _ => api.end_pods(),
    });
    check_facts(
        &late,
        &expect![[r#"
            "later" going false 
            "patient" going false 
            "strict" going true "DisruptionTarget"="True" "DeletionByDeviceTaintManager"
        "#]],
    );
}
