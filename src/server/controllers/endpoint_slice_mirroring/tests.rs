use super::plan::{Observed, plan};
use crate::common::{fixtures::shared, slices::Action};
use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use std::fmt::Write;

const SERVICE: &str = "---\nkind: Service\nmetadata: {name: db, namespace: n}\nspec: {ports: [{port: 5432}]}\n";

fn endpoints(metadata: &str, subsets: &str) -> String {
    format!("---\nkind: Endpoints\nmetadata: {{name: db, namespace: n, uid: e, {metadata}}}\nsubsets: {subsets}\n")
}

fn slice(name: &str, port: i32, addresses: &[&str]) -> String {
    let listed: Vec<String> =
        addresses.iter().map(|one| format!("{{addresses: [{one}], conditions: {{ready: true}}}}")).collect();
    format!(
        "---\nkind: EndpointSlice\nmetadata:\n  name: {name}\n  namespace: n\n  uid: {name}\n  labels:\n    kubernetes.io/service-name: db\n    \
         endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io\n  ownerReferences: [{{apiVersion: v1, kind: \
         Endpoints, name: db, uid: e, controller: true}}]\naddressType: IPv4\nports: [{{name: pg, port: {port}, protocol: TCP}}]\nendpoints: [{}]\n",
        listed.join(", ")
    )
}

fn check(objects: &[&str], expected: Expect) {
    let yaml = objects.concat();
    let observed = Observed {
        endpoints: shared::<Endpoints>(&yaml).into_iter().next(),
        service: shared::<Service>(&yaml).into_iter().next(),
        slices: shared::<EndpointSlice>(&yaml),
    };
    let plan = plan(&observed);
    let mut text = String::new();
    plan.actions.iter().for_each(|action| writeln!(text, "{action:?}").expect("text"));
    plan.events.iter().for_each(|(reason, message)| writeln!(text, "event {reason}: {message}").expect("text"));
    expected.assert_eq(&text);
}

const TWO: &str = "[{addresses: [{ip: 10.0.0.1}], notReadyAddresses: [{ip: 10.0.0.2, nodeName: one, hostname: b}], ports: [{name: pg, port: 5432}]}]";

#[test]
fn endpoints_written_by_hand_are_mirrored() {
    check(
        &[SERVICE, &endpoints("", TWO)],
        expect![[r#"
        Create db- IPv4 ports ["pg":5432]
          10.0.0.1 r--
          10.0.0.2 --- b one
    "#]],
    );
    let both = "[{addresses: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}, {ip: nonsense}], ports: [{name: pg, port: 5432}, {name: x, port: 1}]}]";
    check(
        &[SERVICE, &endpoints("", both)],
        expect![[r#"
        Create db- IPv4 ports ["pg":5432 "x":1]
          10.0.0.1 r--
        Create db- IPv6 ports ["pg":5432 "x":1]
          fd00::1 r--
        event InvalidIPAddress: Skipped 1 invalid IP addresses when mirroring to EndpointSlices
    "#]],
    );
}

#[test]
fn others_are_not() {
    let old = slice("s", 5432, &["10.0.0.1"]);
    let selecting = SERVICE.replace("spec: {", "spec: {selector: {app: db}, ");
    for objects in [
        vec![old.clone()],
        vec![SERVICE.to_owned(), old.clone()],
        vec![endpoints("", TWO), old.clone()],
        vec![selecting, endpoints("", TWO), old.clone()],
        vec![
            SERVICE.to_owned(),
            endpoints("labels: {endpointslice.kubernetes.io/skip-mirror: \"true\"}", TWO),
            old.clone(),
        ],
        vec![
            SERVICE.to_owned(),
            endpoints("annotations: {control-plane.alpha.kubernetes.io/leader: x}", TWO),
            old.clone(),
        ],
    ] {
        let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
        check(&objects, expect![["Delete s\n"]]);
    }
}

#[test]
fn slices_are_changed_only_when_they_differ() {
    let one = "[{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], ports: [{name: pg, port: 5432}]}]";
    check(&[SERVICE, &endpoints("", one), &slice("s", 5432, &["10.0.0.2", "10.0.0.1"])], expect![[""]]);
    check(
        &[SERVICE, &endpoints("labels: {team: a}", one), &slice("s", 5432, &["10.0.0.1", "10.0.0.2"])],
        expect![[r#"
        Update s IPv4 ports ["pg":5432]
          10.0.0.1 r--
          10.0.0.2 r--
    "#]],
    );
    // Another port: the slice that would go is used again.
    check(
        &[SERVICE, &endpoints("", one), &slice("s", 1, &["10.0.0.1"]), &slice("t", 2, &["10.0.0.1"])],
        expect![[r#"
        Update s IPv4 ports ["pg":5432]
          10.0.0.1 r--
          10.0.0.2 r--
        Delete t
    "#]],
    );
    check(
        &[SERVICE, &endpoints("", "[]"), &slice("s", 5432, &["10.0.0.1"])],
        expect![[r#"
        Delete s
    "#]],
    );
}

#[test]
fn subsets_are_put_in_order() {
    let split = "[{addresses: [{ip: 10.0.0.1}], ports: [{name: a, port: 1}]}, {addresses: [{ip: 10.0.0.1}], ports: [{name: b, port: 2}]}, \
                 {notReadyAddresses: [{ip: 10.0.0.1}], ports: [{name: c, port: 3}]}, {addresses: [{ip: 10.0.0.1}], ports: [{name: c, port: 3}]}]";
    check(
        &[SERVICE, &endpoints("", split)],
        expect![[r#"
        Create db- IPv4 ports ["a":1 "b":2]
          10.0.0.1 r--
        Create db- IPv4 ports ["c":3]
          10.0.0.1 ---
    "#]],
    );
}

#[test]
fn at_most_a_thousand_addresses_of_a_subset() {
    let addresses: Vec<String> = (0..1200).map(|n| format!("{{ip: 10.0.{}.{}}}", n / 200, n % 200)).collect();
    let many = format!("[{{addresses: [{}], ports: [{{name: pg, port: 5432}}]}}]", addresses.join(", "));
    let yaml = [SERVICE, &endpoints("", &many)].concat();
    let plan = plan(&Observed {
        endpoints: shared::<Endpoints>(&yaml).into_iter().next(),
        service: shared::<Service>(&yaml).into_iter().next(),
        slices: Vec::new(),
    });
    let [Action::Create(slice)] = plan.actions.as_slice() else { panic!("one slice") };
    assert_eq!(slice.endpoints.as_ref().map(Vec::len), Some(1000));
    assert_eq!(
        plan.events[0].1,
        "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 200 addresses were skipped"
    );
}
