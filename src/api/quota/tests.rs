use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

fn check(group: &str, plural: &str, object: &Value, expected: Expect) {
    let usage = Charge::of(group, plural, object, noon()).usage;
    let lines: Vec<String> = usage.iter().map(|(name, amount)| format!("{name}={amount}\n")).collect();
    expected.assert_eq(&lines.concat());
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
