//! Nodes that fall silent or say that they are not ready, judged by leaders that die: taints and pods say the same as the
//! conditions.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, check_facts},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::json;

const OBJECTS: &str = "
kind: Node
metadata: {name: well}
status: {conditions: [{type: Ready, status: \"True\"}]}
---
kind: Node
metadata: {name: one}
spec: {taints: [{key: mine, effect: NoExecute}]}
status: {conditions: [{type: Ready, status: \"True\"}]}
---
kind: Pod
metadata: {name: a, namespace: n, uid: a}
spec: {nodeName: one, containers: []}
status: {phase: Running, conditions: [{type: PodScheduled, status: \"True\"}, {type: Ready, status: \"True\"}]}
---
kind: Pod
metadata: {name: b, namespace: n, uid: b}
spec: {nodeName: one, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: \"True\"}]}
---
kind: Pod
metadata: {name: c, namespace: n, uid: c}
spec: {nodeName: well, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: \"True\"}]}
";

fn facts(api: &FakeApi) -> String {
    let mut facts = String::new();
    for (kind, field) in [("Node", "status"), ("Pod", "status")] {
        for object in api.all(kind) {
            let conditions = list(&object[field], "conditions").iter();
            let mut words: Vec<String> = conditions.map(|one| format!("{}={}", one["type"], one["status"])).collect();
            let taints = list(&object["spec"], "taints").iter();
            words.extend(taints.map(|taint| format!("{}:{}", taint["key"], taint["effect"])));
            facts += &format!("{kind} {} {}\n", object["metadata"]["name"], words.join(" ").replace('"', ""));
        }
    }
    facts
}

fn ready(api: &FakeApi, status: &str) -> bool {
    api.change("Node", |node| {
        if node["metadata"]["name"] == "one" {
            node["status"]["conditions"][0]["status"] = json!(status);
        }
    })
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check_facts(
        &scene(|api, asked| asked == 0 && ready(api, "False")),
        &expect![[r#"
        Node "one" Ready=False mine:NoExecute node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute
        Node "well" Ready=True
        Pod "a" PodScheduled=True Ready=False
        Pod "b" Ready=False
        Pod "c" Ready=True
    "#]],
    );
    let back = scene(|api, asked| match asked {
        0 => ready(api, "False"),
        1 => ready(api, "True"),
        _ => false,
    });
    check_facts(
        &back,
        &expect![[r#"
        Node "one" Ready=True mine:NoExecute
        Node "well" Ready=True
        Pod "a" PodScheduled=True Ready=False
        Pod "b" Ready=False
        Pod "c" Ready=True
    "#]],
    );
}

#[test]
fn a_node_that_was_not_ready_before_the_leader_came_has_no_ready_pods() {
    let one = "{taints: [{key: mine, effect: NoExecute}]}\nstatus: {conditions: [{type: Ready, status: ";
    let objects = OBJECTS.replace(&format!("{one}\"True\""), &format!("{one}\"False\""));
    check(
        &Scene { objects, ..scene(|_, _| false) },
        &expect![[r#"
            patch Node one taints
            patch status of Pod a conditions
            patch status of Pod b conditions
        "#]],
        &expect![[r#"
            Node "one" Ready=False mine:NoExecute node.kubernetes.io/not-ready:NoSchedule node.kubernetes.io/not-ready:NoExecute
            Node "well" Ready=True
            Pod "a" PodScheduled=True Ready=False
            Pod "b" Ready=False
            Pod "c" Ready=True
        "#]],
    );
}

#[test]
fn a_node_that_never_reported_is_unknown() {
    let objects = ["kind: Node\nmetadata: {name: new}\n---", OBJECTS].concat();
    check_facts(
        &Scene { objects, ..scene(|_, _| false) },
        &expect![[r#"
        Node "new" Ready=Unknown MemoryPressure=Unknown DiskPressure=Unknown PIDPressure=Unknown node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute
        Node "one" Ready=True mine:NoExecute
        Node "well" Ready=True
        Pod "a" PodScheduled=True Ready=True
        Pod "b" Ready=True
        Pod "c" Ready=True
    "#]],
    );
}
