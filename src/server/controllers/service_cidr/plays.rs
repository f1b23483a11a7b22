//! Ranges and the addresses taken from them, kept by leaders that die.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, check_facts},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::{Value, json};

const OBJECTS: &str = "
kind: ServiceCIDR
metadata: {name: more, uid: more}
spec: {cidrs: [10.44.0.0/24]}
---
kind: Service
metadata: {name: web, namespace: n, uid: web}
spec: {clusterIP: 10.44.0.5, clusterIPs: [10.44.0.5]}
";

fn facts(api: &FakeApi) -> String {
    let mut facts = api.census();
    for range in api.all("ServiceCIDR") {
        for condition in list(&range["status"], "conditions") {
            facts += &format!("{}={} {}\n", condition["type"], condition["status"], condition["reason"]);
        }
    }
    facts
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) }
}

/// Long ago, so that the allocator has heard of it.
fn delete_range(api: &FakeApi) -> bool {
    api.change("ServiceCIDR", |range| range["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:00:00Z"))
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
        Service web
        IPAddress 10.44.0.5
        ServiceCIDR more
        "Ready"="True" ""
    "#]],
    );
    // While an address of it is in use a range stays, and says so.
    check_facts(
        &scene(|api, asked| asked == 0 && delete_range(api)),
        &expect![[r#"
        Service web
        IPAddress 10.44.0.5
        ServiceCIDR more going, held by ["networking.k8s.io/service-cidr-finalizer"]
        "Ready"="False" "Terminating"
    "#]],
    );
    let freed = scene(|api, asked| match asked {
        0 => delete_range(api),
        1 => api.delete("Service", &Value::Null, |_| true),
        _ => false,
    });
    check_facts(&freed, &expect![[""]]);
}

#[test]
fn an_address_changes_hands() {
    // Another Service has the address before the record of the one before is gone.
    let handed = scene(|api, asked| {
        if asked == 0 {
            api.delete("Service", &Value::Null, |_| true);
            let spec = json!({"clusterIP": "10.44.0.5", "clusterIPs": ["10.44.0.5"]});
            api.add(json!({"kind": "Service", "metadata": {"name": "new", "namespace": "n"}, "spec": spec}));
        }
        asked == 0
    });
    let parents = |api: &FakeApi| {
        let parents = api.all("IPAddress").into_iter().map(|address| address["spec"]["parentRef"]["name"].to_string());
        parents.collect::<String>()
    };
    check(
        &Scene { facts: parents, ..handed },
        &expect![[r#"
        patch ServiceCIDR more finalizers
        create IPAddress 10.44.0.5
        patch status of ServiceCIDR more conditions
        patch status of ServiceCIDR more conditions: nothing new
        delete IPAddress 10.44.0.5
        create IPAddress 10.44.0.5
    "#]],
        &expect![[r#""new""#]],
    );
}
