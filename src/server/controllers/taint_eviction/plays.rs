//! Pods that must leave their node, sent away by leaders that die: each says why it goes, and only those go.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts, play},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::json;

const OBJECTS: &str = "
kind: Node
metadata: {name: one}
spec: {taints: [{key: k, value: v, effect: NoExecute, timeAdded: \"2026-01-01T11:00:00Z\"}, {key: s, effect: NoSchedule}]}
---
kind: Node
metadata: {name: two}
---
kind: Pod
metadata: {name: intolerant, namespace: n, finalizers: [example.com/look]}
spec: {nodeName: one, containers: []}
---
kind: Pod
metadata: {name: patient, namespace: n}
spec: {nodeName: one, containers: [], tolerations: [{key: k, operator: Exists}]}
---
kind: Pod
metadata: {name: over, namespace: n, finalizers: [example.com/look]}
spec: {nodeName: one, containers: [], tolerations: [{key: k, operator: Exists, tolerationSeconds: 5}]}
---
kind: Pod
metadata: {name: later, namespace: n}
spec: {nodeName: one, containers: [], tolerations: [{key: k, operator: Exists, tolerationSeconds: 2000000000}]}
---
kind: Pod
metadata: {name: elsewhere, namespace: n}
spec: {nodeName: two, containers: []}
";

#[test]
fn a_leader_that_dies_changes_nothing() {
    let facts: fn(&FakeApi) -> String = |api| {
        let line = |pod: &serde_json::Value| {
            let conditions = list(&pod["status"], "conditions").iter();
            let conditions: Vec<String> =
                conditions.map(|one| format!("{}={} {}", one["type"], one["status"], one["reason"])).collect();
            let going = !pod["metadata"]["deletionTimestamp"].is_null();
            format!("{} going {going} {}\n", pod["metadata"]["name"], conditions.join(" "))
        };
        api.all("Pod").iter().map(line).collect()
    };
    let scene =
        Scene { others: |api, _| api.end_pods(), facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) };
    check_facts(
        &scene,
        &expect![[r#"
        "elsewhere" going false 
        "intolerant" going true "DisruptionTarget"="True" "DeletionByTaintManager"
        "later" going false 
        "over" going true "DisruptionTarget"="True" "DeletionByTaintManager"
        "patient" going false 
    "#]],
    );
}

#[test]
fn a_node_that_is_well_again_keeps_its_pods() {
    let well = |api: &FakeApi, asked| asked == 0 && api.change("Node", |node| node["spec"]["taints"] = json!([]));
    let scene = Scene { others: well, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) };
    let api = play(&scene, || usize::MAX).unwrap_or_else(|why| panic!("{why}"));
    expect![[r#"
        Normal TaintManagerEviction Pod intolerant: Marking for deletion Pod n/intolerant
        Normal TaintManagerEviction Pod later: Cancelling deletion of Pod n/later
        Normal TaintManagerEviction Pod over: Marking for deletion Pod n/over
    "#]]
    .assert_eq(&api.said());
}
