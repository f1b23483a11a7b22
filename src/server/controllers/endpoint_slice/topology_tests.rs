//! These zones and these endpoints, therefore these hints.

use super::{
    plan::{Observed, plan},
    topology::shares,
};
use crate::common::{
    fake::FakeApi,
    fixtures::{one, shared},
    slices::Action,
    succession::{Scene, check_facts, play},
};
use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use mk8s_api::at::list;
use mk8s_client::{kube::ResourceExt, pod::Pod};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const SERVICE: &str = "---
kind: Service
metadata: {name: web, namespace: n, uid: s, annotations: {service.kubernetes.io/topology-mode: Auto}}
spec: {clusterIP: 10.43.0.7, ipFamilies: [IPv4], selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: TCP}]}
";

/// A node called as its zone, with as many CPUs.
fn node(zone: &str, cpu: u32) -> String {
    format!(
        "---\nkind: Node\nmetadata: {{name: n-{zone}, labels: {{topology.kubernetes.io/zone: {zone}}}}}\nstatus: {{allocatable: {{cpu: \
         {cpu}}}, conditions: [{{type: Ready, status: \"True\"}}]}}\n"
    )
}

fn nodes(zones: &[(&str, u32)]) -> String {
    zones.iter().map(|(zone, cpu)| node(zone, *cpu)).collect()
}

/// So many ready pods in each zone, and one in the first that is not ready.
fn pods(zones: &[(&str, usize)]) -> String {
    let mut made = 0;
    let mut pod = |zone: &str, ready: bool| {
        made += 1;
        format!(
            "---\nkind: Pod\nmetadata: {{name: p{made}, namespace: n, uid: p{made}, labels: {{app: web}}}}\nspec: {{nodeName: n-{zone}, \
             containers: []}}\nstatus: {{phase: Running, podIP: 10.42.0.{made}, podIPs: [{{ip: 10.42.0.{made}}}], conditions: [{{type: \
             Ready, status: \"{}\"}}]}}\n",
            if ready { "True" } else { "False" }
        )
    };
    let unready = pod(zones[0].0, false);
    let ready: String =
        zones.iter().flat_map(|(zone, count)| std::iter::repeat_n(zone, *count)).map(|zone| pod(zone, true)).collect();
    unready + &ready
}

fn observed(yaml: &str, slices: Vec<Arc<EndpointSlice>>) -> Observed {
    let nodes = shared::<Node>(yaml);
    let zone = |node: &Arc<Node>| node.labels().get(super::ZONE).cloned();
    Observed {
        service: Arc::new(one::<Service>(yaml)),
        pods: shared::<Pod>(yaml),
        nodes: nodes.iter().map(|node| (node.name_any(), zone(node))).collect(),
        slices,
        shares: shares(&nodes),
    }
}

/// `from -> to: number` for each zone in which endpoints are and each for which they are.
fn summary<'s>(slices: impl Iterator<Item = &'s EndpointSlice>) -> String {
    let mut ways: BTreeMap<String, usize> = BTreeMap::new();
    for endpoint in slices.flat_map(|slice| slice.endpoints.iter().flatten()) {
        let hints = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
        let to: Vec<&str> = hints.into_iter().flatten().map(|zone| zone.name.as_str()).collect();
        *ways.entry(format!("{} -> {}", endpoint.zone.as_deref().unwrap_or("?"), to.join("+"))).or_default() += 1;
    }
    ways.into_iter().map(|(way, count)| format!("{way}: {count}\n")).collect()
}

fn check(zones: &[(&str, u32)], endpoints: &[(&str, usize)], expected: Expect) {
    check_yaml(&[SERVICE, &nodes(zones), &pods(endpoints)].concat(), expected);
}

fn check_yaml(yaml: &str, expected: Expect) {
    let plan = plan(&observed(yaml, Vec::new()));
    let slices = plan.actions.iter().filter_map(|action| match action {
        Action::Create(slice) | Action::Update(slice) => Some(slice.as_ref()),
        Action::Delete { .. } => None,
    });
    let mut text = summary(slices);
    for (family, outcome) in &plan.hinted {
        text += &format!("{}: {outcome:?}\n", family.name());
    }
    expected.assert_eq(&text);
}

#[test]
fn endpoints_are_for_their_zone_where_that_is_fair() {
    check(
        &[("a", 4), ("b", 4)],
        &[("a", 3), ("b", 3)],
        expect![[r#"
            a -> : 1
            a -> a: 3
            b -> b: 3
            IPv4: Ok(())
        "#]],
    );
    check(
        &[("a", 1), ("b", 3)],
        &[("a", 2), ("b", 6)],
        expect![[r#"
            a -> : 1
            a -> a: 2
            b -> b: 6
            IPv4: Ok(())
        "#]],
    );
}

#[test]
fn zones_with_too_many_give_to_zones_with_too_few() {
    check(
        &[("a", 4), ("b", 4), ("c", 4)],
        &[("a", 6), ("b", 0), ("c", 3)],
        expect![[r#"
            a -> : 1
            a -> a: 3
            a -> b: 3
            c -> c: 3
            IPv4: Ok(())
        "#]],
    );
    // Three quarters of an endpoint would be right: that is not worth another one.
    check(
        &[("a", 4), ("b", 12)],
        &[("a", 8), ("b", 1)],
        expect![[r#"
            a -> : 1
            a -> a: 3
            a -> b: 5
            b -> b: 1
            IPv4: Ok(())
        "#]],
    );
}

#[test]
fn where_it_cannot_be_fair_there_are_no_hints() {
    check(
        &[("a", 4), ("b", 4), ("c", 4)],
        &[("a", 1), ("b", 1)],
        expect![[r#"
            a -> : 2
            b -> : 1
            IPv4: Err("Insufficient number of endpoints (2 endpoints, 3 zones)")
        "#]],
    );
    check(
        &[("a", 4), ("b", 5), ("c", 5)],
        &[("a", 1), ("b", 1), ("c", 2)],
        expect![[r#"
            a -> : 2
            b -> : 1
            c -> : 2
            IPv4: Err("Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (4 endpoints, 3 zones)")
        "#]],
    );
    check(
        &[("a", 4)],
        &[("a", 4)],
        expect![[r#"
            a -> : 5
            IPv4: Err("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
        "#]],
    );
    let with = |from: &str, to: &str| {
        let zones = nodes(&[("a", 4), ("b", 4)]).replacen(from, to, 1);
        [SERVICE, &zones, &pods(&[("a", 2), ("b", 2)])].concat()
    };
    check_yaml(
        &with("cpu: 4", "memory: 4"),
        expect![[r#"
            a -> : 3
            b -> : 2
            IPv4: Err("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
        "#]],
    );
    check_yaml(
        &with("{topology.kubernetes.io/zone: a}", "{}"),
        expect![[r#"
            ? -> : 3
            b -> : 2
            IPv4: Err("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
        "#]],
    );
}

#[test]
fn only_some_nodes_count() {
    let spoiled = [
        node("c", 100).replace("status: \"True\"", "status: \"False\""),
        node("d", 100).replace("{topology", "{node-role.kubernetes.io/control-plane: \"\", topology"),
    ];
    let yaml =
        [SERVICE, &nodes(&[("a", 4), ("b", 4)]), &spoiled.concat(), &pods(&[("a", 2), ("b", 1), ("c", 1)])].concat();
    check_yaml(
        &yaml,
        expect![[r#"
            a -> : 1
            a -> a: 2
            b -> b: 1
            c -> c: 1
            IPv4: Ok(())
        "#]],
    );
}

#[test]
fn only_the_annotation_and_only_auto_asks_for_it() {
    let yaml = |annotation: &str| {
        let service = SERVICE.replace("service.kubernetes.io/topology-mode: Auto", annotation);
        [&*service, &nodes(&[("a", 4), ("b", 4)]), &pods(&[("a", 2), ("b", 2)])].concat()
    };
    for (annotation, asked) in [
        ("service.kubernetes.io/topology-mode: auto", true),
        ("service.kubernetes.io/topology-aware-hints: Auto", true),
        ("service.kubernetes.io/topology-mode: AUTO", false),
        ("service.kubernetes.io/topology-mode: Disabled", false),
        // The older one counts where both are.
        ("service.kubernetes.io/topology-mode: Auto, service.kubernetes.io/topology-aware-hints: Disabled", false),
    ] {
        let plan = plan(&observed(&yaml(annotation), Vec::new()));
        assert_eq!(!plan.hinted.is_empty(), asked, "{annotation}");
    }
    // It says more than the field.
    let both = yaml("service.kubernetes.io/topology-mode: Auto")
        .replace("selector:", "trafficDistribution: PreferSameNode, selector:");
    check_yaml(
        &both,
        expect![[r#"
            a -> : 1
            a -> a: 2
            b -> b: 2
            IPv4: Ok(())
        "#]],
    );
}

/// Slices as they are stored after a plan.
fn stored(yaml: &str) -> Vec<Arc<EndpointSlice>> {
    let created = plan(&observed(yaml, Vec::new())).actions.into_iter().filter_map(|action| match action {
        Action::Create(slice) => Some(*slice),
        _ => None,
    });
    let named = |(number, mut slice): (usize, EndpointSlice)| {
        slice.metadata.name = Some(format!("web-{number}"));
        Arc::new(slice)
    };
    created.enumerate().map(named).collect()
}

#[test]
fn what_is_good_enough_stays() {
    let zones = nodes(&[("a", 4), ("b", 4)]);
    let yaml = [SERVICE, &zones, &pods(&[("a", 4), ("b", 4)])].concat();
    let slices = stored(&yaml);
    assert!(plan(&observed(&yaml, slices.clone())).actions.is_empty());
    // A third more in one zone is no reason to write anything; five times as much is.
    let shifted = yaml.replacen("cpu: 4", "cpu: 5", 1);
    assert!(plan(&observed(&shifted, slices.clone())).actions.is_empty());
    let lopsided = plan(&observed(&yaml.replacen("cpu: 4", "cpu: 20", 1), slices.clone()));
    let [Action::Update(slice)] = lopsided.actions.as_slice() else { panic!("{:?}", lopsided.actions) };
    expect![[r#"
        a -> : 1
        a -> a: 4
        b -> a: 2
        b -> b: 2
    "#]]
    .assert_eq(&summary([slice.as_ref()].into_iter()));
    // Who does not ask any more loses them.
    let no_longer = yaml.replace("Auto", "Disabled");
    let withdrawn = plan(&observed(&no_longer, slices));
    let [Action::Update(slice)] = withdrawn.actions.as_slice() else { panic!("{:?}", withdrawn.actions) };
    assert!(!super::topology::has_hints(slice));
}

fn facts(api: &FakeApi) -> String {
    let slices = api.all("EndpointSlice");
    let endpoints = slices.iter().flat_map(|slice| list(slice, "endpoints"));
    let hint =
        |endpoint: &Value| format!("{} for {}\n", endpoint["addresses"][0], endpoint["hints"]["forZones"][0]["name"]);
    let mut lines: Vec<String> = endpoints.map(hint).collect();
    lines.sort();
    lines.concat()
}

#[test]
fn a_leader_that_dies_changes_nothing_and_it_is_told_what_happens() {
    let yaml = [SERVICE, &nodes(&[("a", 4), ("b", 4)]), &pods(&[("a", 3), ("b", 1)])].concat();
    let scene = |others| Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), yaml.clone()) };
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
            "10.42.0.1" for null
            "10.42.0.2" for "b"
            "10.42.0.3" for "a"
            "10.42.0.4" for "a"
            "10.42.0.5" for "b"
        "#]],
    );
    // A node fails, comes again, and then nobody asks any more.
    let lived = scene(|api, asked| match asked {
        0 | 1 => api.change("Node", |node| {
            if node["metadata"]["name"] == "n-b" {
                node["status"]["conditions"][0]["status"] = json!(if asked == 0 { "False" } else { "True" });
            }
        }),
        2 => api.change("Service", |service| service["metadata"]["annotations"] = json!({})),
        _ => false,
    });
    let api = play(&lived, || usize::MAX).unwrap_or_else(|why| panic!("{why}"));
    expect![[r#"
        Normal TopologyAwareHintsEnabled Service web: Topology Aware Hints has been enabled, addressType: IPv4
        Warning TopologyAwareHintsDisabled Service web: Insufficient Node information: allocatable CPU or zone not specified on one or more nodes, addressType: IPv4
        Warning TopologyAwareHintsDisabled Service web: Topology Aware Hints has been disabled, addressType: IPv4
    "#]]
    .assert_eq(&api.said());
    assert!(!facts(&api).contains("for \""), "{}", facts(&api));
}
