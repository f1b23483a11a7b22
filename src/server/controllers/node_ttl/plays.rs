//! Nodes that are told by leaders that die.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts},
};
use expect_test::expect;
use serde_json::json;

fn facts(api: &FakeApi) -> String {
    let told = |node: serde_json::Value| {
        let (name, annotations) = (&node["metadata"]["name"], &node["metadata"]["annotations"]);
        format!("{name}: {annotations}\n")
    };
    let mut facts: Vec<String> = api.all("Node").into_iter().map(told).collect();
    facts.sort();
    facts.concat()
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let objects = "
kind: Node
metadata: {name: n1}
---
kind: Node
metadata: {name: n2, annotations: {node.alpha.kubernetes.io/ttl: never, other: kept}}
---
kind: Node
metadata: {name: n3, annotations: {node.alpha.kubernetes.io/ttl: '15'}}
";
    let scene = Scene {
        others: |api, asked| {
            let comes = asked == 0;
            if comes {
                api.add(json!({"kind": "Node", "metadata": {"name": "n4"}, "spec": {}}));
            }
            comes
        },
        facts,
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), objects)
    };
    check_facts(
        &scene,
        &expect![[r#"
        "n1": {"node.alpha.kubernetes.io/ttl":"0"}
        "n2": {"node.alpha.kubernetes.io/ttl":"0","other":"kept"}
        "n3": {"node.alpha.kubernetes.io/ttl":"0"}
        "n4": {"node.alpha.kubernetes.io/ttl":"0"}
    "#]],
    );
}
