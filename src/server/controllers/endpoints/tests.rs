use super::plan::{Action, Observed, plan};
use crate::common::fixtures::{objects, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use mk8s_client::pod::Pod;
use std::sync::Arc;

const SERVICE: &str = r#"
kind: Service
metadata: {name: web, namespace: n, uid: s}
spec:
  clusterIP: 10.43.0.7
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: web}, {name: admin, port: 90, targetPort: 9000}]
"#;

fn pod(name: &str, address: &str, ready: &str, port: i32) -> String {
    format!(
        r#"---
kind: Pod
metadata: {{name: {name}, uid: {name}, namespace: n}}
spec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: web, containerPort: {port}}}]}}]}}
status: {{podIP: {address}, podIPs: [{{ip: {address}}}], phase: Running, conditions: [{{type: Ready, status: "{ready}"}}]}}
"#
    )
}

fn check(service: &str, pods: &[String], current: Option<Endpoints>, expected: Expect) -> Option<Endpoints> {
    let service = objects::<Service>(service).into_iter().next().map(Arc::new);
    let action = plan(&Observed { service, pods: shared::<Pod>(&pods.concat()), current: current.map(Arc::new) });
    let (verb, endpoints) = match action {
        None => ("nothing", None),
        Some(Action::Delete) => ("delete", None),
        Some(Action::Create(endpoints)) => ("create", Some(endpoints)),
        Some(Action::Update(endpoints)) => ("update", Some(endpoints)),
    };
    let mut text = format!("{verb}\n");
    for subset in endpoints.iter().flat_map(|endpoints| endpoints.subsets.iter().flatten()) {
        let list = |addresses: &Option<Vec<EndpointAddress>>| {
            addresses.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>().join(" ")
        };
        let ports: Vec<_> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| format!("{}:{}", port.name.as_deref().unwrap_or("-"), port.port))
            .collect();
        text += &format!(
            "[{}] ready [{}] not ready [{}]\n",
            ports.join(" "),
            list(&subset.addresses),
            list(&subset.not_ready_addresses)
        );
    }
    expected.assert_eq(&text);
    endpoints
}

#[test]
fn addresses_are_grouped_by_ports_and_readiness() {
    let pods = [
        pod("b", "10.42.0.3", "True", 8080),
        pod("a", "10.42.0.2", "True", 8080),
        pod("c", "10.42.0.4", "False", 8080),
        pod("d", "10.42.0.5", "True", 8081),
    ];
    let created = check(
        SERVICE,
        &pods,
        None,
        expect![[r#"
        create
        [http:8080] ready [10.42.0.2 10.42.0.3] not ready [10.42.0.4]
        [admin:9000] ready [10.42.0.2 10.42.0.3 10.42.0.5] not ready [10.42.0.4]
        [http:8081] ready [10.42.0.5] not ready []
    "#]],
    );
    check(
        SERVICE,
        &pods,
        created.clone(),
        expect![[r#"
        nothing
    "#]],
    );
    check(
        SERVICE,
        &pods[1..2],
        created,
        expect![[r#"
        update
        [admin:9000 http:8080] ready [10.42.0.2] not ready []
    "#]],
    );
}

#[test]
fn endpoints_go_with_their_service_unless_someone_else_made_them() {
    let created = check(
        SERVICE,
        &[],
        None,
        expect![[r#"
        create
    "#]],
    );
    check(
        "kind: Pod",
        &[],
        created,
        expect![[r#"
        delete
    "#]],
    );
    let by_hand = objects::<Endpoints>("kind: Endpoints\nmetadata: {name: web, namespace: n}").pop();
    check(
        "kind: Pod",
        &[],
        by_hand,
        expect![[r#"
        nothing
    "#]],
    );
}

#[test]
fn a_service_without_selector_is_left_alone() {
    check(
        &SERVICE.replace("selector: {app: web}", "selector: {}"),
        &[],
        None,
        expect![[r#"
        nothing
    "#]],
    );
}
