//! The cluster's CA in each namespace, published by leaders that die, and mended where somebody spoils it.

use crate::{
    Options,
    common::succession::{Scene, check},
};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: Namespace
metadata: {name: a}
---
kind: Namespace
metadata: {name: b}
---
kind: Namespace
metadata: {name: going, deletionTimestamp: \"2026-01-01T11:00:00Z\"}
";

#[test]
fn a_leader_that_dies_changes_nothing() {
    let scene = Scene {
        options: Options { root_ca_pem: "PEM".into(), ..Options::default() },
        others: |api, asked| match asked {
            0 => api.change("ConfigMap", |map| map["data"] = json!({"ca.crt": "another"})),
            1 => api.delete("ConfigMap", &json!({}), |map| map["metadata"]["namespace"] == "b"),
            _ => false,
        },
        facts: |api| {
            let line = |map: &serde_json::Value| format!("{} {}\n", map["metadata"]["namespace"], map["data"]);
            api.all("ConfigMap").iter().map(line).collect()
        },
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    };
    check(
        &scene,
        &expect![[r#"
        create ConfigMap kube-root-ca.crt
        create ConfigMap kube-root-ca.crt
        update ConfigMap kube-root-ca.crt
        update ConfigMap kube-root-ca.crt
        create ConfigMap kube-root-ca.crt
    "#]],
        &expect![[r#"
        "a" {"ca.crt":"PEM"}
        "b" {"ca.crt":"PEM"}
    "#]],
    );
}
