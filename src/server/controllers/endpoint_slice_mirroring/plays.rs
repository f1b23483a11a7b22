//! Endpoints that people write, change and delete, mirrored by leaders that die.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::{Value, json};

const OBJECTS: &str = "
kind: Service
metadata: {name: db, namespace: n, uid: s}
spec: {ports: [{port: 5432}]}
---
kind: Endpoints
metadata: {name: db, namespace: n, uid: e}
subsets:
- {addresses: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}], ports: [{name: pg, port: 5432}]}
- {addresses: [{ip: 10.0.0.2}], notReadyAddresses: [{ip: 10.0.0.3}], ports: [{name: old, port: 5433}]}
";

fn facts(api: &FakeApi) -> String {
    let mut lines = Vec::new();
    for slice in api.all("EndpointSlice") {
        let endpoints = list(&slice, "endpoints").iter();
        let mut addresses: Vec<&str> = endpoints.filter_map(|one| one["addresses"][0].as_str()).collect();
        addresses.sort_unstable();
        lines.push(format!("{} {}: {}\n", slice["addressType"], slice["ports"][0]["name"], addresses.join(" ")));
    }
    lines.sort();
    lines.concat()
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check(
        &scene(|_, _| false),
        &expect![[r#"
        create EndpointSlice db-
        create EndpointSlice db-
        create EndpointSlice db-
    "#]],
        &expect![[r#"
        "IPv4" "old": 10.0.0.2 10.0.0.3
        "IPv4" "pg": 10.0.0.1
        "IPv6" "pg": fd00::1
    "#]],
    );
    let changed = scene(|api, asked| {
        asked == 0
            && api.change("Endpoints", |endpoints| {
                endpoints["subsets"] =
                    json!([{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"name": "pg", "port": 5432}]}]);
            })
    });
    check(
        &changed,
        &expect![[r#"
        create EndpointSlice db-
        create EndpointSlice db-
        create EndpointSlice db-
        update EndpointSlice db-2
        delete EndpointSlice db-1
        delete EndpointSlice db-3
    "#]],
        &expect![[r#"
        "IPv4" "pg": 10.0.0.9
    "#]],
    );
    let gone = scene(|api, asked| asked == 0 && api.delete("Endpoints", &Value::Null, |_| true));
    check(
        &gone,
        &expect![[r#"
        create EndpointSlice db-
        create EndpointSlice db-
        create EndpointSlice db-
        delete EndpointSlice db-1
        delete EndpointSlice db-2
        delete EndpointSlice db-3
    "#]],
        &expect![[""]],
    );
    let selected = scene(|api, asked| {
        asked == 0 && api.change("Service", |service| service["spec"]["selector"] = json!({"app": "db"}))
    });
    check(
        &selected,
        &expect![[r#"
        create EndpointSlice db-
        create EndpointSlice db-
        create EndpointSlice db-
        delete EndpointSlice db-1
        delete EndpointSlice db-2
        delete EndpointSlice db-3
    "#]],
        &expect![[""]],
    );
}
