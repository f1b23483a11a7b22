//! Endpoints of a Service whose pods come and go, written by leaders that die.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check},
};
use expect_test::expect;
use serde_json::{Value, json};

const OBJECTS: &str = "
kind: Service
metadata: {name: web, namespace: n, uid: s}
spec: {clusterIP: 10.43.0.7, selector: {app: web}, ports: [{port: 80}]}
---
kind: Pod
metadata: {name: a, namespace: n, uid: a, labels: {app: web}}
spec: {nodeName: one, containers: []}
status: {phase: Running, podIP: 10.42.0.2, podIPs: [{ip: 10.42.0.2}], conditions: [{type: Ready, status: \"True\"}]}
---
kind: Pod
metadata: {name: b, namespace: n, uid: b, labels: {app: web}}
spec: {nodeName: one, containers: []}
status: {phase: Running, podIP: 10.42.0.3, podIPs: [{ip: 10.42.0.3}], conditions: [{type: Ready, status: \"False\"}]}
";

#[test]
fn a_leader_that_dies_changes_nothing() {
    let scene = Scene {
        others: |api, asked| match asked {
            0 => api.change("Pod", |pod| pod["status"]["conditions"][0]["status"] = json!("True")),
            1 => api.delete("Pod", &json!({"gracePeriodSeconds": 0}), |pod| pod["metadata"]["name"] == "a"),
            _ => false,
        },
        facts: |api| api.all("Endpoints").iter().map(|endpoints| endpoints["subsets"].to_string()).collect(),
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    };
    check(
        &scene,
        &expect![[r#"
        create Endpoints web
        update Endpoints web
        update Endpoints web
    "#]],
        &expect![[
            r#"[{"addresses":[{"ip":"10.42.0.3","nodeName":"one","targetRef":{"kind":"Pod","name":"b","namespace":"n","uid":"b"}}],"ports":[{"port":80,"protocol":"TCP"}]}]"#
        ]],
    );
    let gone = Scene {
        others: |api, asked| asked == 0 && api.delete("Service", &Value::Null, |_| true),
        facts: FakeApi::census,
        ..scene
    };
    check(
        &gone,
        &expect![[r#"
        create Endpoints web
        delete Endpoints web
    "#]],
        &expect![[r#"
        Pod a
        Pod b
    "#]],
    );
}
