use super::{
    devices::{Classes, count_extended, is_extended},
    *,
};
use expect_test::{Expect, expect};
use serde_json::json;

fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

fn check(group: &str, plural: &str, object: &Value, expected: Expect) {
    expected.assert_eq(&lines(&Charge::of(group, plural, object, noon()).usage));
}

fn lines(usage: &Resources) -> String {
    usage.iter().map(|(name, amount)| format!("{name}={amount}\n")).collect()
}

#[test]
fn pods_count_for_what_they_ask() {
    let resources =
        json!({"requests": {"cpu": "500m", "memory": "1Gi", "example.com/dongle": "2"}, "limits": {"cpu": "1"}});
    let mut pod = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    check(
        "",
        "pods",
        &pod,
        expect![[r#"
        count/pods=1
        cpu=500m
        limits.cpu=1
        memory=1Gi
        pods=1
        requests.cpu=500m
        requests.example.com/dongle=2
        requests.memory=1Gi
    "#]],
    );
    pod["status"]["phase"] = json!("Succeeded");
    check(
        "",
        "pods",
        &pod,
        expect![[r#"
        count/pods=1
    "#]],
    );
    pod["status"]["phase"] = json!("Running");
    pod["metadata"] = json!({"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 30});
    check(
        "",
        "pods",
        &pod,
        expect![[r#"
        count/pods=1
    "#]],
    );
}

#[test]
fn services_count_for_their_ports() {
    let service = |kind: &str, allocates: bool| json!({"spec": {"type": kind, "allocateLoadBalancerNodePorts": allocates, "ports": [{"port": 1, "nodePort": 30000}, {"port": 2}]}});
    check(
        "",
        "services",
        &service("ClusterIP", true),
        expect![[r#"
        count/services=1
        services=1
        services.nodeports=0
    "#]],
    );
    check(
        "",
        "services",
        &service("NodePort", true),
        expect![[r#"
        count/services=1
        services=1
        services.nodeports=2
    "#]],
    );
    check(
        "",
        "services",
        &service("LoadBalancer", true),
        expect![[r#"
        count/services=1
        services=1
        services.loadbalancers=1
        services.nodeports=2
    "#]],
    );
    check(
        "",
        "services",
        &service("LoadBalancer", false),
        expect![[r#"
        count/services=1
        services=1
        services.loadbalancers=1
        services.nodeports=1
    "#]],
    );
}

#[test]
fn claims_count_for_their_class() {
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"allocatedResources": {"storage": "2Gi"}}});
    check(
        "",
        "persistentvolumeclaims",
        &claim,
        expect![[r#"
        count/persistentvolumeclaims=1
        gold.storageclass.storage.k8s.io/persistentvolumeclaims=1
        gold.storageclass.storage.k8s.io/requests.storage=2Gi
        persistentvolumeclaims=1
        requests.storage=2Gi
    "#]],
    );
}

#[test]
fn claims_on_devices_count_for_their_classes() {
    let one =
        |class: &str, mode: &str, count: i64| json!({"deviceClassName": class, "allocationMode": mode, "count": count});
    let exactly = |name: &str, wanted: Value| json!({"name": name, "exactly": wanted});
    let alternatives = [one("gpu", "ExactCount", 2), one("gpu", "ExactCount", 1), one("nic", "All", 0)];
    let requests = [
        exactly("a", one("gpu", "ExactCount", 3)),
        exactly("b", one("cpu", "All", 0)),
        json!({"name": "c", "firstAvailable": alternatives}),
    ];
    check(
        "resource.k8s.io",
        "resourceclaims",
        &json!({"spec": {"devices": {"requests": requests}}}),
        expect![[r#"
            count/resourceclaims.resource.k8s.io=1
            cpu.deviceclass.resource.k8s.io/devices=32
            gpu.deviceclass.resource.k8s.io/devices=5
            nic.deviceclass.resource.k8s.io/devices=32
        "#]],
    );
}

fn wants(class: &str, count: i64) -> Value {
    let wanted = json!({"deviceClassName": class, "allocationMode": "ExactCount", "count": count});
    json!({"spec": {"devices": {"requests": [{"name": "r", "exactly": wanted}]}}})
}

/// What claims count for where the classes `gpu` and `old-gpu` say an extended resource, and `nic` does not.
fn extended(claims: &[Value], pods: &[Value]) -> Vec<Resources> {
    let resource = |class: &str| class.ends_with("gpu").then(|| "example.com/gpu".to_owned());
    let classes: Classes = ["gpu", "nic", "old-gpu"].map(|class| (class.to_owned(), resource(class))).into();
    let charge = |claim| Charge::of("resource.k8s.io", "resourceclaims", claim, noon());
    let mut charges: Vec<Charge> = claims.iter().map(charge).collect();
    let pod = |name: &str| pods.iter().find(|pod| meta::name(pod) == name).cloned();
    count_extended(&mut charges, &classes, pod, noon());
    charges.into_iter().map(|charge| charge.usage).collect()
}

#[test]
fn devices_count_as_extended_resources() {
    let check = |claim: Value, expected: Expect| expected.assert_eq(&lines(&extended(&[claim], &[])[0]));
    check(
        wants("gpu", 3),
        expect![[r#"
            count/resourceclaims.resource.k8s.io=1
            gpu.deviceclass.resource.k8s.io/devices=3
            requests.deviceclass.resource.kubernetes.io/gpu=3
            requests.example.com/gpu=3
        "#]],
    );
    // No extended resource but the one that every class stands behind.
    check(
        wants("nic", 2),
        expect![[r#"
            count/resourceclaims.resource.k8s.io=1
            nic.deviceclass.resource.k8s.io/devices=2
            requests.deviceclass.resource.kubernetes.io/nic=2
        "#]],
    );
    // There is no such class.
    check(
        wants("fpga", 1),
        expect![[r#"
            count/resourceclaims.resource.k8s.io=1
            fpga.deviceclass.resource.k8s.io/devices=1
        "#]],
    );
    // Two classes say the same resource.
    let requests = ["gpu", "old-gpu"].map(|class| wants(class, 2)["spec"]["devices"]["requests"][0].clone());
    check(
        json!({"spec": {"devices": {"requests": requests}}}),
        expect![[r#"
            count/resourceclaims.resource.k8s.io=1
            gpu.deviceclass.resource.k8s.io/devices=2
            old-gpu.deviceclass.resource.k8s.io/devices=2
            requests.deviceclass.resource.kubernetes.io/gpu=2
            requests.deviceclass.resource.kubernetes.io/old-gpu=2
            requests.example.com/gpu=4
        "#]],
    );
}

/// A claim on three devices that the scheduler made for the pod `p`.
fn made(name: &str, created: &str) -> Value {
    let mut claim = wants("gpu", 3);
    claim["metadata"] = json!({
        "name": name,
        "creationTimestamp": format!("2026-01-01T{created}:00Z"),
        "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}],
    });
    claim
}

fn pod_with(resource: &str, amount: &str, status: Value) -> Value {
    let resources = json!({"requests": {resource: amount}});
    let containers = json!([{"name": "c", "resources": resources}]);
    json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers}, "status": status})
}

#[test]
fn a_claim_of_a_pod_counts_for_the_rest() {
    let check = |pod: Value, expected: Expect| expected.assert_eq(&lines(&extended(&[made("a", "11:00")], &[pod])[0]));
    check(
        pod_with("example.com/gpu", "2", json!({"extendedResourceClaimStatus": {"resourceClaimName": "a"}})),
        expect![[r#"
            count/resourceclaims.resource.k8s.io=1
            gpu.deviceclass.resource.k8s.io/devices=3
            requests.deviceclass.resource.kubernetes.io/gpu=3
            requests.example.com/gpu=1
        "#]],
    );
    check(
        pod_with("deviceclass.resource.kubernetes.io/gpu", "3", Value::Null),
        expect![[r#"
            count/resourceclaims.resource.k8s.io=1
            gpu.deviceclass.resource.k8s.io/devices=3
            requests.example.com/gpu=3
        "#]],
    );
}

#[test]
fn only_one_claim_is_the_pods() {
    let pod = |status: Value| pod_with("example.com/gpu", "2", status);
    let names = |claim: &str| json!({"extendedResourceClaimStatus": {"resourceClaimName": claim}});
    let mut another = pod(Value::Null);
    another["metadata"]["uid"] = json!("v");
    let mut by_a_user = made("b", "10:00");
    by_a_user["metadata"]["annotations"] = json!({});
    let (a, b, early) = (made("a", "11:00"), made("b", "11:01"), made("b", "11:00"));
    let table = [
        ("the pod names the other", [&a, &b], pod(names("b")), ["3", "1"]),
        ("the pod names none: the first", [&b, &a], pod(json!({"extendedResourceClaimStatus": null})), ["3", "1"]),
        ("both are the first: by name", [&early, &a], pod(Value::Null), ["3", "1"]),
        ("not made by the scheduler", [&by_a_user, &a], pod(Value::Null), ["3", "1"]),
        ("another pod of this name", [&a, &b], another, ["3", "3"]),
        ("the pod has ended", [&a, &b], pod(json!({"phase": "Failed"})), ["3", "3"]),
    ];
    for (what, claims, pod, expected) in table {
        let found = extended(&claims.map(Value::clone), &[pod]);
        let found: Vec<String> = found.iter().map(|usage| usage["requests.example.com/gpu"].to_string()).collect();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn extended_resources_have_names_of_their_own() {
    let table = [
        ("requests.example.com/gpu", true),
        ("requests.deviceclass.resource.kubernetes.io/gpu", true),
        ("requests.kubernetes.io/gpu", false),
        ("requests.cpu", false),
        ("requests.hugepages-2Mi", false),
        ("requests.storage", false),
        ("gold.storageclass.storage.k8s.io/requests.storage", false),
        ("gpu.deviceclass.resource.k8s.io/devices", false),
        ("example.com/gpu", false),
    ];
    for (name, expected) in table {
        assert_eq!(is_extended(name), expected, "{name}");
    }
}

#[test]
fn other_kinds_are_counted() {
    check(
        "apps",
        "deployments",
        &json!({}),
        expect![[r#"
        count/deployments.apps=1
    "#]],
    );
    check(
        "",
        "secrets",
        &json!({}),
        expect![[r#"
        count/secrets=1
        secrets=1
    "#]],
    );
}

#[test]
fn scopes_select() {
    let plain = json!({"spec": {"containers": [{"name": "c"}]}});
    let classed = json!({"spec": {"priorityClassName": "high", "activeDeadlineSeconds": 5, "containers": [
        {"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
    let crossing = json!({"spec": {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": {"namespaceSelector": {}}}]}}}});
    let expression = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    let table = [
        (json!({}), [true, true, true]),
        (json!({"scopes": ["BestEffort"]}), [true, false, true]),
        (json!({"scopes": ["NotBestEffort"]}), [false, true, false]),
        (json!({"scopes": ["Terminating"]}), [false, true, false]),
        (json!({"scopes": ["NotTerminating", "BestEffort"]}), [true, false, true]),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), [false, false, true]),
        (json!({"scopes": ["VolumeAttributesClass"]}), [false, false, false]),
        (expression("Exists", json!([])), [false, true, false]),
        (expression("DoesNotExist", json!([])), [true, false, true]),
        (expression("In", json!(["high", "low"])), [false, true, false]),
        (expression("NotIn", json!(["high"])), [true, false, true]),
    ];
    for (spec, expected) in table {
        let found = [&plain, &classed, &crossing].map(|pod| Charge::of("", "pods", pod, noon()).is_in_scope(&spec));
        assert_eq!(found, expected, "{spec}");
    }
    let secret = Charge::of("", "secrets", &json!({}), noon());
    assert!(!secret.is_in_scope(&json!({"scopes": ["NotTerminating"]})));
}
