use super::plan::{Observed, plan};
use crate::common::fixtures::{lines, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use mk8s_client::pod::Pod;
use std::sync::Arc;

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: n, uid: s, labels: {team: blue}}
spec:
  clusterIP: 10.43.0.7
  ipFamilies: [IPv4]
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: web, protocol: TCP}]
"#;

fn pod(name: &str, address: &str, ready: bool, more: &str) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        r#"---
kind: Pod
metadata: {{name: {name}, uid: {name}, namespace: n, labels: {{app: web}}{more}}}
spec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: web, containerPort: 8080}}]}}]}}
status:
  podIP: {address}
  podIPs: [{{ip: {address}}}, {{ip: "fd00::1"}}]
  phase: Running
  conditions: [{{type: Ready, status: "{ready}"}}]
"#
    )
}

fn slice(name: &str, port: i32, endpoints: &[(&str, &str)]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(pod, address)| {
            format!(
                "{{addresses: [{address}], conditions: {{ready: true, serving: true, terminating: false}}, nodeName: n1, \
                 zone: z, targetRef: {{kind: Pod, name: {pod}, namespace: n, uid: {pod}}}}}"
            )
        })
        .collect();
    format!(
        r#"---
kind: EndpointSlice
addressType: IPv4
metadata:
  name: {name}
  namespace: n
  uid: {name}
  labels:
    team: blue
    kubernetes.io/service-name: web
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
  ownerReferences: [{{apiVersion: v1, kind: Service, name: web, uid: s, controller: true}}]
ports: [{{name: http, port: {port}, protocol: TCP}}]
endpoints: [{}]
"#,
        endpoints.join(", ")
    )
}

fn check(service: &str, objects: &[String], expected: Expect) {
    let objects = objects.concat();
    let observed = Observed {
        service: Arc::new(one::<Service>(service)),
        pods: shared::<Pod>(&objects),
        nodes: [("n1".to_owned(), Some("z".to_owned()))].into(),
        slices: shared::<EndpointSlice>(&objects),
        shares: None,
    };
    expected.assert_eq(&lines(&plan(&observed).actions));
}

#[test]
fn pods_become_endpoints_with_their_conditions() {
    let dying = ", deletionTimestamp: \"2026-01-01T11:59:59Z\"";
    let pods = [
        pod("a", "10.42.0.2", true, ""),
        pod("b", "10.42.0.3", false, ""),
        pod("c", "10.42.0.4", true, dying),
        pod("d", "10.42.0.5", true, "").replace("Running", "Succeeded"),
    ];
    check(
        SERVICE,
        &pods,
        expect![[r#"
        Create web- IPv4 ports ["http":8080]
          10.42.0.2 rs- n1 z
          10.42.0.3 --- n1 z
          10.42.0.4 -st n1 z
    "#]],
    );
    let all = SERVICE.replace("selector:", "publishNotReadyAddresses: true\n  selector:");
    check(
        &all,
        &pods,
        expect![[r#"
        Create web- IPv4 ports ["http":8080]
          10.42.0.2 rs- n1 z
          10.42.0.3 r-- n1 z
          10.42.0.4 rst n1 z
    "#]],
    );
}

#[test]
fn a_service_without_pods_has_an_empty_slice() {
    check(
        SERVICE,
        &[],
        expect![[r#"
        Create web- IPv4 ports []
    "#]],
    );
    let empty = slice("web-x", 0, &[]).replace("ports: [{name: http, port: 0, protocol: TCP}]", "ports: []");
    check(SERVICE, std::slice::from_ref(&empty), expect![""]);
    check(
        SERVICE,
        &[empty, pod("a", "10.42.0.2", true, "")],
        expect![[r#"
        Delete web-x
        Create web- IPv4 ports ["http":8080]
          10.42.0.2 rs- n1 z
    "#]],
    );
}

#[test]
fn what_is_right_is_not_written() {
    let objects = [pod("a", "10.42.0.2", true, ""), slice("web-x", 8080, &[("a", "10.42.0.2")])];
    check(SERVICE, &objects, expect![""]);
}

#[test]
fn a_change_touches_one_slice() {
    let objects = [
        pod("a", "10.42.0.2", true, ""),
        pod("b", "10.42.0.3", true, ""),
        pod("c", "10.42.0.4", true, ""),
        slice("web-x", 8080, &[("a", "10.42.0.2")]),
        slice("web-y", 8080, &[("b", "10.42.0.3"), ("gone", "10.42.0.9")]),
    ];
    check(
        SERVICE,
        &objects,
        expect![[r#"
        Update web-y IPv4 ports ["http":8080]
          10.42.0.3 rs- n1 z
          10.42.0.4 rs- n1 z
    "#]],
    );
}

#[test]
fn a_port_that_pods_number_differently_has_a_slice_for_each() {
    let other = pod("b", "10.42.0.3", true, "").replace("8080", "9090");
    check(
        SERVICE,
        &[pod("a", "10.42.0.2", true, ""), other],
        expect![[r#"
        Create web- IPv4 ports ["http":8080]
          10.42.0.2 rs- n1 z
        Create web- IPv4 ports ["http":9090]
          10.42.0.3 rs- n1 z
    "#]],
    );
}

#[test]
fn both_families_have_slices_and_a_lost_one_loses_them() {
    let dual = SERVICE.replace("[IPv4]", "[IPv4, IPv6]");
    let objects = [pod("a", "10.42.0.2", true, ""), slice("web-x", 8080, &[("a", "10.42.0.2")])];
    check(
        &dual,
        &objects,
        expect![[r#"
        Create web- IPv6 ports ["http":8080]
          fd00::1 rs- n1 z
    "#]],
    );
    let six = SERVICE.replace("[IPv4]", "[IPv6]");
    check(
        &six,
        &objects,
        expect![[r#"
        Delete web-x
        Create web- IPv6 ports ["http":8080]
          fd00::1 rs- n1 z
    "#]],
    );
}

#[test]
fn more_than_a_hundred_endpoints_need_more_slices() {
    let pods: Vec<String> = (0..230).map(|n| pod(&format!("p{n}"), &format!("10.42.1.{n}"), true, "")).collect();
    let observed = Observed {
        service: Arc::new(one::<Service>(SERVICE)),
        pods: shared::<Pod>(&pods.concat()),
        nodes: [("n1".to_owned(), None)].into(),
        shares: None,
        slices: Vec::new(),
    };
    let sizes: Vec<usize> = plan(&observed)
        .actions
        .iter()
        .map(|action| match action {
            crate::common::slices::Action::Create(slice) => slice.endpoints.as_ref().map_or(0, Vec::len),
            _ => 0,
        })
        .collect();
    assert_eq!(sizes, [100, 100, 30]);
}

#[test]
fn headless_services_list_pods_without_ports_and_with_hostnames() {
    let headless = SERVICE
        .replace("10.43.0.7", "None")
        .replace("  ports: [{name: http, port: 80, targetPort: web, protocol: TCP}]\n", "");
    let named =
        pod("a", "10.42.0.2", true, "").replace("nodeName: n1,", "nodeName: n1, hostname: a-0, subdomain: web,");
    check(
        &headless,
        &[named],
        expect![[r#"
        Create web- IPv4 ports []
          10.42.0.2 rs- a-0 n1 z
    "#]],
    );
}

#[test]
fn traffic_that_prefers_to_stay_near_is_told_where_near_is() {
    let dying = ", deletionTimestamp: \"2026-01-01T11:59:59Z\"";
    let pods = [pod("a", "10.42.0.2", true, ""), pod("b", "10.42.0.3", false, ""), pod("c", "10.42.0.4", true, dying)];
    let hints = |wish: &str, zone: Option<&str>| {
        let service = SERVICE.replace("selector:", &format!("trafficDistribution: {wish}\n  selector:"));
        let observed = Observed {
            service: Arc::new(one::<Service>(&service)),
            pods: shared::<Pod>(&pods.concat()),
            nodes: [("n1".to_owned(), zone.map(str::to_owned))].into(),
            slices: Vec::new(),
            shares: None,
        };
        let actions = plan(&observed).actions;
        let [crate::common::slices::Action::Create(slice)] = actions.as_slice() else { panic!("one slice") };
        let hint = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
            let hints = endpoint.hints.clone().unwrap_or_default();
            let zones = hints.for_zones.into_iter().flatten().map(|zone| zone.name);
            zones.chain(hints.for_nodes.into_iter().flatten().map(|node| node.name)).collect::<Vec<_>>().join("+")
        };
        slice.endpoints.iter().flatten().map(hint).collect::<Vec<_>>()
    };
    // Only those that are ready are preferred.
    assert_eq!(hints("PreferClose", Some("z")), ["z", "", ""]);
    assert_eq!(hints("PreferSameZone", Some("z")), ["z", "", ""]);
    assert_eq!(hints("PreferSameNode", Some("z")), ["z+n1", "", ""]);
    assert_eq!(hints("PreferSameNode", None), ["n1", "", ""]);
    assert_eq!(hints("PreferClose", None), ["", "", ""]);
    assert_eq!(hints("Somewhere", Some("z")), ["", "", ""]);
}

/// Pods whose node is not there (any more) are left out, unless their addresses are to be told whatever they are.
#[test]
fn pods_without_a_node_are_no_endpoints() {
    let pods = [pod("a", "10.42.0.2", true, ""), pod("b", "10.42.0.3", true, "").replace("n1", "gone")];
    check(
        SERVICE,
        &pods,
        expect![[r#"
            Create web- IPv4 ports ["http":8080]
              10.42.0.2 rs- n1 z
        "#]],
    );
    let all = SERVICE.replace("selector:", "publishNotReadyAddresses: true\n  selector:");
    check(
        &all,
        &pods,
        expect![[r#"
            Create web- IPv4 ports ["http":8080]
              10.42.0.2 rs- n1 z
              10.42.0.3 rs- gone
        "#]],
    );
}
