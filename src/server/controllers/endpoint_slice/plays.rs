//! Slices of a Service whose pods come and go, written by leaders that die: each address stands in one slice, and in no
//! slice stand too many.

use super::plan::{Observed, plan};
use crate::common::{
    fake::FakeApi,
    fixtures::{one, shared},
    slices::Action,
    succession::{Scene, check},
};
use expect_test::expect;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use mk8s_api::at::{list, text};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const SERVICE: &str = "---
kind: Service
metadata: {name: web, namespace: n, uid: s}
spec: {clusterIP: 10.43.0.7, ipFamilies: [IPv4, IPv6], selector: {app: web}, ports: [{port: 80, targetPort: web, protocol: TCP}]}
---
kind: Node
metadata: {name: one}
";

/// Every hundredth pod numbers its port differently.
fn pod(n: usize, ready: bool) -> String {
    let port = if n % 100 == 99 { 9090 } else { 8080 };
    format!(
        "---\nkind: Pod\nmetadata: {{name: p{n}, namespace: n, uid: p{n}, labels: {{app: web}}}}\nspec: {{nodeName: one, containers: \
         [{{name: c, ports: [{{name: web, containerPort: {port}}}]}}]}}\nstatus: {{phase: Running, podIP: 10.42.{a}.{b}, podIPs: [{{ip: \
         10.42.{a}.{b}}}, {{ip: \"fd00::{n:x}\"}}], conditions: [{{type: Ready, status: \"{status}\"}}]}}\n",
        a = n / 200,
        b = n % 200 + 1,
        status = if ready { "True" } else { "False" },
    )
}

/// How many endpoints of each kind there are, and how many slices; an address that stands twice is a mistake.
fn facts(api: &FakeApi) -> String {
    let mut ready: BTreeMap<String, bool> = BTreeMap::new();
    let slices = api.all("EndpointSlice");
    for endpoint in slices.iter().flat_map(|slice| list(slice, "endpoints")) {
        let address = endpoint["addresses"][0].as_str().unwrap_or_default().to_owned();
        let twice = ready.insert(address, endpoint["conditions"]["ready"] == json!(true)).is_some();
        assert!(!twice, "{endpoint} stands in two slices");
    }
    let count = |wanted: bool| ready.values().filter(|ready| **ready == wanted).count();
    format!("{} ready, {} not, {} slices\n", count(true), count(false), slices.len())
}

fn crowded(api: &FakeApi) -> Result<(), String> {
    let most = api.all("EndpointSlice").iter().map(|slice| list(slice, "endpoints").len()).max().unwrap_or(0);
    if most <= 100 { Ok(()) } else { Err(format!("a slice has {most} endpoints")) }
}

fn scene(pods: usize) -> Scene {
    let pods: String = (0..pods).map(|n| pod(n, n % 10 != 3)).collect();
    Scene { holds: crowded, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), [SERVICE, &pods].concat()) }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let few = Scene {
        others: |api, asked| match asked {
            0 => api.change("Pod", |pod| {
                if text(&pod["metadata"], "name") == "p3" {
                    pod["status"]["conditions"][0]["status"] = json!("True");
                }
            }),
            1 => api.delete("Pod", &json!({"gracePeriodSeconds": 0}), |pod| text(&pod["metadata"], "name") == "p1"),
            2 => api.delete("Pod", &Value::Null, |pod| text(&pod["metadata"], "name") == "p2"),
            _ => false,
        },
        ..scene(4)
    };
    check(
        &few,
        &expect![[r#"
        create EndpointSlice web-
        create EndpointSlice web-
        update EndpointSlice web-1
        update EndpointSlice web-2
        update EndpointSlice web-1
        update EndpointSlice web-2
        update EndpointSlice web-1
        update EndpointSlice web-2
    "#]],
        &expect![[r#"
        4 ready, 2 not, 2 slices
    "#]],
    );
}

#[test]
fn many_pods_have_many_slices() {
    check(
        &Scene {
            others: |api, asked| {
                let odd = |pod: &Value| pod["metadata"]["name"].as_str().is_some_and(|name| name.ends_with('7'));
                asked == 0 && api.delete("Pod", &json!({"gracePeriodSeconds": 0}), odd)
            },
            ..scene(230)
        },
        &expect![[r#"
            create EndpointSlice web-
            create EndpointSlice web-
            create EndpointSlice web-
            create EndpointSlice web-
            create EndpointSlice web-
            create EndpointSlice web-
            create EndpointSlice web-
            create EndpointSlice web-
            update EndpointSlice web-1
            update EndpointSlice web-2
            update EndpointSlice web-3
            update EndpointSlice web-5
            update EndpointSlice web-6
            update EndpointSlice web-7
        "#]],
        &expect![[r#"
            368 ready, 46 not, 8 slices
        "#]],
    );
}

/// The slices after a plan was carried out, as far as it came.
fn carried_out(slices: &mut BTreeMap<String, EndpointSlice>, actions: Vec<Action>, done: usize, made: &mut usize) {
    for action in actions.into_iter().take(done) {
        match action {
            Action::Delete { name, .. } => drop(slices.remove(&name)),
            Action::Update(slice) => drop(slices.insert(slice.name_any(), *slice)),
            Action::Create(mut slice) => {
                *made += 1;
                let name = format!("web-{made}");
                slice.metadata.name = Some(name.clone());
                slice.metadata.uid = Some(name.clone());
                slices.insert(name, *slice);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// However many pods come and go at once, and wherever a leader stops.
    #[test]
    fn no_address_is_lost_or_stands_twice(rounds in prop::collection::vec((prop::collection::vec(0_usize..220, 0..200), 0_usize..6), 1..4)) {
        let service = Arc::new(one::<Service>(SERVICE));
        let (mut slices, mut made) = (BTreeMap::new(), 0);
        for (numbers, done) in rounds {
            let mut numbers = numbers;
            numbers.sort_unstable();
            numbers.dedup();
            let pods = shared::<Pod>(&numbers.iter().map(|n| pod(*n, true)).collect::<String>());
            let planned = |slices: &BTreeMap<String, EndpointSlice>| plan(&Observed {
                service: service.clone(),
                pods: pods.clone(),
                nodes: [("one".to_owned(), None)].into(),
                slices: slices.values().cloned().map(Arc::new).collect(),
                shares: None,
            }).actions;
            for done in [done, usize::MAX] {
                let actions = planned(&slices);
                carried_out(&mut slices, actions, done, &mut made);
            }
            prop_assert!(planned(&slices).is_empty(), "what is right is written again");
            for (family, address) in [("IPv4", "10.42."), ("IPv6", "fd00:")] {
                let of_family = slices.values().filter(|slice| slice.address_type == family);
                let listed = of_family.flat_map(|slice| slice.endpoints.iter().flatten());
                let mut addresses: Vec<_> = listed.flat_map(|endpoint| endpoint.addresses.clone()).collect();
                prop_assert!(addresses.iter().all(|known| known.starts_with(address)));
                prop_assert_eq!(addresses.len(), numbers.len());
                addresses.sort();
                addresses.dedup();
                prop_assert_eq!(addresses.len(), numbers.len(), "an address stands twice");
            }
            let most = slices.values().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).max();
            prop_assert!(most.unwrap_or(0) <= 100);
        }
    }
}
