use super::plan::{Observed, concerns, plan};
use crate::common::fixtures::{noon, one};
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::ResourceQuota;
use mk8s_api::quota::Charge;
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write, sync::Arc};

fn quota(spec: &str, status: &str) -> String {
    format!("kind: ResourceQuota\nmetadata: {{name: q, namespace: n}}\nspec: {{{spec}}}\nstatus: {{{status}}}\n")
}

fn check(quota: &str, expected: Expect) {
    let pod = |class: &str, cpu: &str| {
        let pod = json!({"spec": {"priorityClassName": class, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        Arc::new(Charge::of("", "pods", &pod, noon()))
    };
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "3Gi"}}}});
    let wanted = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2});
    let devices = json!({"spec": {"devices": {"requests": [{"name": "r", "exactly": wanted}]}}});
    let observed = Observed {
        quota: Arc::new(one::<ResourceQuota>(quota)),
        charges: BTreeMap::from([
            ("pods", vec![pod("", "250m"), pod("high", "1")]),
            ("persistentvolumeclaims", vec![Arc::new(Charge::of("", "persistentvolumeclaims", &claim, noon()))]),
            ("resourceclaims", vec![Arc::new(Charge::of("resource.k8s.io", "resourceclaims", &devices, noon()))]),
        ]),
        counts: BTreeMap::from([
            (("".into(), "secrets".into()), 4),
            (("stable.example.com".into(), "widgets".into()), 2),
        ]),
        next_gone: Some(noon() + jiff::SignedDuration::from_secs(5)),
    };
    let plan = plan(noon(), &observed);
    let mut text = String::new();
    for (name, amount) in plan.status.and_then(|status| status.used).unwrap_or_default() {
        writeln!(text, "{name}: {}", amount.0).expect("text");
    }
    plan.look_again.iter().for_each(|wait| writeln!(text, "look again in {wait:?}").expect("text"));
    expected.assert_eq(&text);
}

#[test]
fn what_is_limited_is_counted() {
    let hard = "pods: 5, requests.cpu: 2, cpu: 2, limits.memory: 1Gi, requests.storage: 1Ti, persistentvolumeclaims: 9, \
                gold.storageclass.storage.k8s.io/requests.storage: 4Gi, secrets: 10, count/secrets: 10, \
                count/widgets.stable.example.com: 1, count/unknown.example.com: 1, services: 2, \
                count/resourceclaims.resource.k8s.io: 3, gpu.deviceclass.resource.k8s.io/devices: 4, \
                nic.deviceclass.resource.k8s.io/devices: 4";
    check(
        &quota(&format!("hard: {{{hard}}}"), ""),
        expect![[r#"
        count/resourceclaims.resource.k8s.io: 1
        count/secrets: 4
        count/widgets.stable.example.com: 2
        cpu: 1250m
        gold.storageclass.storage.k8s.io/requests.storage: 3Gi
        gpu.deviceclass.resource.k8s.io/devices: 2
        limits.memory: 0
        nic.deviceclass.resource.k8s.io/devices: 0
        persistentvolumeclaims: 1
        pods: 2
        requests.cpu: 1250m
        requests.storage: 3Gi
        secrets: 4
        services: 0
        look again in 5.1s
    "#]],
    );
}

#[test]
fn scopes_count_what_is_in_them() {
    let high = "scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}";
    check(
        &quota(&format!("hard: {{pods: 5, requests.cpu: 2, count/secrets: 1}}, {high}"), ""),
        expect![[r#"
        count/secrets: 0
        pods: 1
        requests.cpu: 1
        look again in 5.1s
    "#]],
    );
    check(
        &quota("hard: {pods: 5}, scopes: [BestEffort]", ""),
        expect![[r#"
        pods: 0
        look again in 5.1s
    "#]],
    );
}

#[test]
fn what_is_right_stays() {
    check(
        &quota("hard: {requests.cpu: 2}", "hard: {requests.cpu: 2}, used: {requests.cpu: 1.25}"),
        expect![[r#"
        look again in 5.1s
    "#]],
    );
    check(
        &quota("hard: {requests.cpu: 2}", "hard: {requests.cpu: 1}, used: {requests.cpu: 1.25}"),
        expect![[r#"
        requests.cpu: 1250m
        look again in 5.1s
    "#]],
    );
}

#[test]
fn names_say_what_they_limit() {
    let table = [
        ("requests.storage", "", "persistentvolumeclaims", true),
        ("requests.storage", "", "pods", false),
        ("requests.nvidia.com/gpu", "", "pods", true),
        ("hugepages-2Mi", "", "pods", true),
        ("count/pods", "", "pods", true),
        ("count/deployments.apps", "apps", "deployments", true),
        ("count/deployments.apps", "", "deployments", false),
        ("deployments", "apps", "deployments", false),
        ("services.nodeports", "", "services", true),
        ("gpu.deviceclass.resource.k8s.io/devices", "resource.k8s.io", "resourceclaims", true),
        ("gpu.deviceclass.resource.k8s.io/devices", "", "pods", false),
        ("requests.nvidia.com/gpu", "resource.k8s.io", "resourceclaims", true),
        ("requests.deviceclass.resource.kubernetes.io/gpu", "resource.k8s.io", "resourceclaims", true),
        ("requests.deviceclass.resource.kubernetes.io/gpu", "", "pods", true),
        ("requests.cpu", "resource.k8s.io", "resourceclaims", false),
    ];
    for (name, group, plural, expected) in table {
        assert_eq!(concerns(name, group, plural), expected, "{name} of {plural}.{group}");
    }
}
