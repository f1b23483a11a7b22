//! Devices that are cut out of others: the counters of a pool are consumed once. And devices that can be reached from
//! nodes of their own.

use super::{check, on_one_node, pod, refused};
use crate::{
    devices::{
        Devices,
        allocate::{Limit, allocate},
    },
    node_info::{NodeFacts, NodeInfo},
    tests::yaml,
};
use expect_test::{Expect, expect};
use std::sync::Arc;

const CARD: &str = "sharedCounters: [{name: card, counters: {memory: {value: 18Gi}}}]";

fn part(name: &str, memory: &str) -> String {
    format!(
        "{{name: {name}, capacity: {{memory: {{value: {memory}}}}}, consumesCounters: [{{counterSet: card, counters: {{memory: {{value: {memory}}}}}}}]}}"
    )
}

fn wants(name: &str, count: u32, memory: &str) -> String {
    let large = format!("device.capacity[\"d\"].memory.compareTo(quantity(\"{memory}\")) >= 0");
    format!(
        "{{name: {name}, exactly: {{deviceClassName: any, count: {count}, selectors: [{{cel: {{expression: '{large}'}}}}]}}}}"
    )
}

/// Somebody has these devices of the pool.
fn held(devices: &[&str]) -> String {
    let results: Vec<String> =
        devices.iter().map(|device| format!("{{request: r, driver: d, pool: p, device: {device}}}")).collect();
    format!(
        "- {{metadata: {{name: h, namespace: n, uid: h}}, spec: {{}}, status: {{allocation: {{devices: {{results: [{}]}}}}}}}}\n",
        results.join(", ")
    )
}

fn card(parts: &[String], others: &str, requests: &[String]) -> String {
    let devices = format!("devices: [{}]", parts.join(", "));
    on_one_node(&[CARD, &devices], others, &[&format!("requests: [{}]", requests.join(", "))])
}

fn nothing() -> String {
    refused("cannot allocate all claims")
}

#[test]
fn parts_that_fit_together_are_given() {
    let parts = [part("d1", "4Gi"), part("d2", "6Gi"), part("d3", "10Gi"), part("d4", "8Gi")];
    let given = |requests: &[String]| card(&parts, "", requests);
    expect!["a with r: p/d1"].assert_eq(&given(&[wants("r", 1, "4Gi")]));
    expect!["a with r: p/d2, r: p/d3"].assert_eq(&given(&[wants("r", 2, "6Gi")]));
    expect!["a with r: p/d2, s: p/d3"].assert_eq(&given(&[wants("r", 1, "6Gi"), wants("s", 1, "8Gi")]));
    expect!["a with r: p/d3, r: p/d4"].assert_eq(&given(&[wants("r", 2, "8Gi")]));
    assert_eq!(given(&[wants("r", 3, "6Gi")]), nothing());
}

#[test]
fn a_later_choice_cures_an_earlier_one() {
    // The first part that suits leaves too little for the second request.
    let parts = [part("d1", "12Gi"), part("d2", "4Gi"), part("d3", "10Gi")];
    let given = card(&parts, "", &[wants("r", 1, "4Gi"), wants("s", 1, "10Gi")]);
    expect!["a with r: p/d2, s: p/d1"].assert_eq(&given);
}

#[test]
fn what_others_hold_of_counters_is_gone() {
    let parts = [part("d1", "4Gi"), part("d2", "12Gi"), part("d3", "10Gi")];
    expect!["a with r: p/d2"].assert_eq(&card(&parts, &held(&["d1"]), &[wants("r", 1, "10Gi")]));
    expect!["a with r: p/d1"].assert_eq(&card(&parts, &held(&["d3"]), &[wants("r", 1, "4Gi")]));
    assert_eq!(card(&parts, &held(&["d3"]), &[wants("r", 1, "12Gi")]), nothing());
    // More is held than there is.
    assert_eq!(card(&parts, &held(&["d2", "d3"]), &[wants("r", 1, "4Gi")]), nothing());
}

#[test]
fn all_devices_consume_together() {
    let all = ["{name: r, exactly: {deviceClassName: any, allocationMode: All}}".to_owned()];
    let given = |large: &str| card(&[part("d1", large), part("d2", "10Gi")], "", &all);
    expect!["a with r: p/d1, r: p/d2"].assert_eq(&given("8Gi"));
    assert_eq!(given("9Gi"), nothing());
}

#[test]
fn several_counters_must_all_suffice() {
    let counters = "sharedCounters: [{name: card, counters: {memory: {value: 18Gi}, cores: {value: '2'}}}, {name: bus, counters: {lanes: {value: '1'}}}]";
    let one = |name: &str, cores: u32, lanes: u32| {
        format!(
            "{{name: {name}, consumesCounters: [{{counterSet: card, counters: {{memory: {{value: 4Gi}}, cores: {{value: '{cores}'}}}}}}, {{counterSet: bus, counters: {{lanes: {{value: '{lanes}'}}}}}}]}}"
        )
    };
    let devices = format!("devices: [{}, {}, {}]", one("d1", 1, 1), one("d2", 2, 0), one("d3", 1, 0));
    let two = "requests: [{name: r, exactly: {deviceClassName: any, count: 2}}]";
    expect!["a with r: p/d1, r: p/d3"].assert_eq(&on_one_node(&[counters, &devices], "", &[two]));
    assert_eq!(on_one_node(&[counters, &devices], "", &[&two.replace("count: 2", "count: 3")]), nothing());
}

#[test]
fn a_pool_with_wrong_counters_is_left_alone() {
    let devices = format!("devices: [{}]", part("d1", "4Gi"));
    let wrong = |slices: &[&str]| {
        let given = on_one_node(slices, "", &["requests: [{name: r, exactly: {deviceClassName: any}}]"]);
        assert_eq!(given, refused("invalid resource pools were encountered"));
    };
    wrong(&[CARD, CARD, &devices]);
    wrong(&[&CARD.replace("card", "other"), &devices]);
    wrong(&[&CARD.replace("memory", "cores"), &devices]);
    // What cannot be reached from the node consumes, too.
    let elsewhere = devices
        .replace("counterSet: card", "counterSet: none")
        .replace("devices: [{name: d1,", "perDeviceNodeSelection: true, devices: [{name: d9, nodeName: b,");
    wrong(&[CARD, &devices, &elsewhere]);
}

/// Two nodes that reach parts of one card.
#[test]
fn nodes_share_the_counters_of_a_pool() {
    let node = |name: &str| {
        format!("- {{metadata: {{name: {name}}}, status: {{allocatable: {{cpu: '4', memory: 8Gi, pods: '110'}}}}}}\n")
    };
    let slice = |name: &str, place: &str, what: &str| {
        format!(
            "- {{metadata: {{name: {name}}}, spec: {{driver: d, {place}, pool: {{name: p, generation: 1, resourceSliceCount: 3}}, {what}}}}}\n"
        )
    };
    let of = |node: &str| format!("devices: [{}]", part(&format!("of-{node}"), "10Gi"));
    let slices = slice("s0", "nodeName: a", CARD)
        + &slice("s1", "nodeName: a", &of("a"))
        + &slice("s2", "nodeName: b", &of("b"));
    let claim = format!(
        "- {{metadata: {{name: c0, namespace: n, uid: c0}}, spec: {{devices: {{requests: [{}]}}}}}}\n",
        wants("r", 1, "1Gi")
    );
    let cluster = |others: &str| {
        format!(
            "nodes:\n{}{}slices:\n{slices}deviceClasses:\n- {{metadata: {{name: any}}, spec: {{}}}}\nresourceClaims:\n{claim}{others}{}",
            node("a"),
            node("b"),
            pod("[{name: d, resourceClaimName: c0}]")
        )
    };
    check(&cluster(""), expect!["a with r: p/of-a"]);
    check(
        &cluster(&held(&["of-b"])),
        expect![
            "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

/// What a claim for so many devices gets on node `a`, which has the label `zone=x`: its devices, and from where they can be
/// reached.
fn placed(devices: &str, count: usize, expected: Expect) {
    let mut offered = Devices::default();
    offered.set_class(&yaml("{metadata: {name: any}, spec: {}}"), true);
    let slice = format!(
        "{{metadata: {{name: s}}, spec: {{driver: d, perDeviceNodeSelection: true, pool: {{name: p, generation: 1, resourceSliceCount: 1}}, devices: [{devices}]}}}}"
    );
    offered.set_slice(&Arc::new(yaml(&slice)), true);
    let claim = format!(
        "{{metadata: {{name: c, namespace: n, uid: c}}, spec: {{devices: {{requests: [{{name: r, exactly: {{deviceClassName: any, count: {count}}}}}]}}}}}}"
    );
    let facts =
        NodeFacts { node: Some(yaml("{metadata: {name: a, labels: {zone: x, rack: '1'}}}")), ..NodeFacts::named("a") };
    let node = NodeInfo::new(0, Arc::new(facts));
    let given = allocate(&offered, &node, &[Arc::new(yaml(&claim))], &Limit::none());
    let told = given.expect("nothing is wrong").map_or("nothing".to_owned(), |results| {
        let result = &results[0];
        let devices = result.devices.iter().flat_map(|devices| devices.results.iter().flatten());
        let names: Vec<&str> = devices.map(|result| result.device.as_str()).collect();
        let place = serde_json::to_string(&result.node_selector).expect("a selector is JSON");
        format!("{} at {place}", names.join(", "))
    });
    expected.assert_eq(&told);
}

#[test]
fn each_device_says_from_where_it_can_be_reached() {
    placed(
        "{name: d1, nodeName: b}, {name: d2, nodeName: a}",
        1,
        expect![[
            r#"d2 at {"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}]}"#
        ]],
    );
    placed("{name: d1, nodeName: b}, {name: d2, nodeName: a}", 2, expect!["nothing"]);
    let at = |name: &str, key: &str, value: &str| {
        format!(
            "{{name: {name}, nodeSelector: {{nodeSelectorTerms: [{{matchExpressions: [{{key: {key}, operator: In, values: ['{value}']}}]}}]}}}}"
        )
    };
    let several =
        [at("d1", "zone", "y"), at("d2", "zone", "x"), at("d3", "rack", "1"), at("d4", "zone", "x")].join(", ");
    placed(
        &several,
        3,
        expect![[
            r#"d2, d3, d4 at {"nodeSelectorTerms":[{"matchExpressions":[{"key":"zone","operator":"In","values":["x"]},{"key":"rack","operator":"In","values":["1"]}]}]}"#
        ]],
    );
    placed(&format!("{several}, {{name: d5, allNodes: true}}"), 5, expect!["nothing"]);
    placed("{name: d1, allNodes: true}", 1, expect!["d1 at null"]);
    placed(
        "{name: d1, allNodes: true, bindsToNode: true}",
        1,
        expect![[
            r#"d1 at {"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}]}"#
        ]],
    );
}
