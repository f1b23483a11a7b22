use super::plan::{Observed, Step, plan_address, plan_range};
use crate::common::fixtures::{noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::Service,
    networking::v1::{IPAddress, ServiceCIDR},
};

fn range(name: &str, networks: &str, metadata: &str, ready: Option<(&str, &str)>) -> String {
    let status = ready.map(|(status, message)| {
        format!("status: {{conditions: [{{type: Ready, status: \"{status}\", reason: \"\", message: {message}, lastTransitionTime: \"2026-01-01T00:00:00Z\"}}]}}\n")
    });
    format!(
        "---\nkind: ServiceCIDR\nmetadata: {{name: {name}, {metadata}}}\nspec: {{cidrs: {networks}}}\n{}",
        status.unwrap_or_default()
    )
}

fn address(name: &str, managed: bool) -> String {
    let label = if managed { "ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io" } else { "" };
    format!(
        "---\nkind: IPAddress\nmetadata: {{name: {name}, labels: {{{label}}}}}\nspec: {{parentRef: {{resource: services, namespace: n, name: web}}}}\n"
    )
}

const PROTECTED: &str = "finalizers: [networking.k8s.io/service-cidr-finalizer]";

/// The plan for the first range.
fn check(objects: &[&str], expected: Expect) {
    let yaml = objects.concat();
    let ranges = shared::<ServiceCIDR>(&yaml);
    let observed = Observed { range: ranges[0].clone(), ranges, addresses: shared::<IPAddress>(&yaml) };
    let line = |step: &Step| match step {
        Step::Say(condition) => {
            format!("Say {}={} {} {}\n", condition.type_, condition.status, condition.reason, condition.message)
        }
        other => format!("{other:?}\n"),
    };
    expected.assert_eq(&plan_range(&observed, noon()).iter().map(line).collect::<String>());
}

#[test]
fn new_ranges_become_ready() {
    check(
        &[&range("a", "[10.0.0.0/24]", "", None)],
        expect![[r#"
        Protect
        Say Ready=True  Kubernetes Service CIDR is ready
    "#]],
    );
    check(
        &[&range("a", "[10.0.0.0/24]", PROTECTED, Some(("True", "Kubernetes Service CIDR is ready")))],
        expect![[""]],
    );
}

#[test]
fn ranges_in_use_stay() {
    let leaving = |since: &str| format!("{PROTECTED}, deletionTimestamp: \"2026-01-01T{since}Z\"");
    let a = range("a", "[10.0.0.0/24]", &leaving("11:59:00"), None);
    let used = address("10.0.0.7", true);
    check(
        &[&a, &used],
        expect![[r#"
        Say Ready=False Terminating There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR
    "#]],
    );
    // Not the allocator's, outside, or covered by another range.
    let (larger, smaller) = (range("b", "[10.0.0.0/16]", "", None), range("b", "[10.0.0.0/29]", "", None));
    for others in [
        vec![],
        vec![address("10.0.0.7", false)],
        vec![address("10.0.1.7", true)],
        vec![used.clone(), larger],
        vec![address("10.0.0.5", true), smaller],
    ] {
        let all: Vec<&str> = std::iter::once(&a).chain(&others).map(String::as_str).collect();
        check(&all, expect![["LetGo\n"]]);
    }
    check(
        &[&a, &used, &range("b", "[10.0.0.0/29]", "", None)],
        expect![[r#"
        Say Ready=False Terminating There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR
    "#]],
    );
    check(
        &[&range("a", "[10.0.0.0/24]", &leaving("11:59:57"), None)],
        expect![[r#"
        Wait(7s)
    "#]],
    );
}

#[test]
fn addresses_are_recorded() {
    let service: Service = one("kind: Service\nmetadata: {name: web, namespace: n}\nspec: {clusterIPs: [10.0.0.7]}\n");
    let other: Service = one("kind: Service\nmetadata: {name: other, namespace: n}\nspec: {clusterIPs: [10.0.0.7]}\n");
    let (ours, foreign): (IPAddress, IPAddress) = (one(&address("10.0.0.7", true)), one(&address("10.0.0.7", false)));
    let ip = "10.0.0.7".parse().expect("an address");
    for (user, known, expected) in [
        (Some(&service), None, "Create"),
        (Some(&service), Some(&ours), "Nothing"),
        (Some(&service), Some(&foreign), "Nothing"),
        (Some(&other), Some(&ours), "Delete"),
        (None, Some(&ours), "Delete"),
        (None, Some(&foreign), "Nothing"),
        (None, None, "Nothing"),
    ] {
        let step = format!("{:?}", plan_address(ip, user, known));
        assert!(step.starts_with(expected), "{step}, not {expected}");
    }
}
