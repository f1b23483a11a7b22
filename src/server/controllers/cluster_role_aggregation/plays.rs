//! Roles made of others, which are made of others, written by leaders that die.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::json;

const OBJECTS: &str = "
kind: ClusterRole
metadata: {name: admin}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {to: admin}}]}
---
kind: ClusterRole
metadata: {name: edit, labels: {to: admin}}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {to: edit}}]}
---
kind: ClusterRole
metadata: {name: maps, labels: {to: edit}}
rules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get]}]
---
kind: ClusterRole
metadata: {name: pods, labels: {to: edit}}
rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]
---
kind: ClusterRole
metadata: {name: other}
rules: [{apiGroups: [\"\"], resources: [secrets], verbs: [get]}]
";

fn facts(api: &FakeApi) -> String {
    let resources = |role: &serde_json::Value| -> Vec<String> {
        list(role, "rules").iter().map(|rule| rule["resources"].to_string()).collect()
    };
    api.all("ClusterRole")
        .iter()
        .map(|role| format!("{} {}\n", role["metadata"]["name"], resources(role).join(" ")))
        .collect()
}

#[test]
fn rules_come_through_all_stages_and_go_again() {
    let scene = |others| Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) };
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
            "admin" ["configmaps"] ["pods"]
            "edit" ["configmaps"] ["pods"]
            "maps" ["configmaps"]
            "other" ["secrets"]
            "pods" ["pods"]
        "#]],
    );
    let less: fn(&FakeApi, usize) -> bool =
        |api, asked| asked == 0 && api.delete("ClusterRole", &json!({}), |role| role["metadata"]["name"] == "maps");
    check_facts(
        &scene(less),
        &expect![[r#"
            "admin" ["pods"]
            "edit" ["pods"]
            "other" ["secrets"]
            "pods" ["pods"]
        "#]],
    );
}
