//! Claims on devices: who gets which, and why not.

mod binding;
mod extended;
mod partitions;
mod shares;

use super::{check, decided, yaml};
use crate::{
    devices::{
        DeviceId, Devices,
        allocate::{Failure, Limit, allocate},
    },
    node_info::{NodeFacts, NodeInfo},
};
use expect_test::{Expect, expect};
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim};
use proptest::prelude::*;
use std::{collections::HashSet, sync::Arc};

/// Two nodes; each has a pool of its own with two devices.
fn cluster() -> String {
    let node = |name: &str| {
        format!(
            "- {{metadata: {{name: {name}, labels: {{host: {name}}}}}, status: {{allocatable: {{cpu: '4', memory: 8Gi, pods: '110'}}}}}}\n"
        )
    };
    let slice = |node: &str, memory: &str| {
        format!(
            "- {{metadata: {{name: slice-{node}}}, spec: {{driver: gpu.example.com, nodeName: {node}, pool: {{name: {node}, generation: 1, resourceSliceCount: 1}}, devices: [\
             {{name: g0, attributes: {{model: {{string: a}}, numa: {{int: 0}}}}, capacity: {{memory: {{value: {memory}}}}}}}, \
             {{name: g1, attributes: {{model: {{string: a}}, numa: {{int: 1}}}}, capacity: {{memory: {{value: {memory}}}}}}}]}}}}\n"
        )
    };
    format!(
        "nodes:\n{}{}slices:\n{}{}deviceClasses:\n- {{metadata: {{name: gpu}}, spec: {{selectors: [{{cel: {{expression: 'device.driver == \"gpu.example.com\"'}}}}]}}}}\n",
        node("a"),
        node("b"),
        slice("a", "10Gi"),
        slice("b", "40Gi")
    )
}

fn claim(name: &str, requests: &str, further: &str) -> String {
    format!(
        "- {{metadata: {{name: {name}, namespace: n, uid: {name}}}, spec: {{devices: {{requests: {requests}}}}}{further}}}\n"
    )
}

/// Node `a`, a pool `p` of the driver `d` there with these slices, claims of others as they are, and a pod with a claim
/// for each of these specifications; there are the classes `any` and `shared`.
fn on_one_node(slices: &[&str], others: &str, specs: &[&str]) -> String {
    let count = slices.len();
    let slices = slices.iter().enumerate().map(|(n, slice)| {
        let pool = format!("pool: {{name: p, generation: 1, resourceSliceCount: {count}}}");
        let place = if slice.contains("perDeviceNodeSelection") { "" } else { "nodeName: a, " };
        format!("- {{metadata: {{name: s{n}}}, spec: {{driver: d, {place}{pool}, {slice}}}}}\n")
    });
    let slices: String = slices.collect();
    let claims = specs.iter().enumerate().map(|(n, spec)| {
        format!("- {{metadata: {{name: c{n}, namespace: n, uid: c{n}}}, spec: {{devices: {{{spec}}}}}}}\n")
    });
    let claims: String = claims.collect();
    let uses: Vec<String> = (0..specs.len()).map(|n| format!("{{name: d{n}, resourceClaimName: c{n}}}")).collect();
    let pod = pod(&format!("[{}]", uses.join(", ")));
    let node = "{metadata: {name: a, labels: {zone: x}}, status: {allocatable: {cpu: '4', memory: 8Gi, pods: '110'}}}";
    let shared =
        "{metadata: {name: shared}, spec: {selectors: [{cel: {expression: device.allowMultipleAllocations}}]}}";
    decided(&format!(
        "nodes: [{node}]\nslices:\n{slices}deviceClasses:\n- {{metadata: {{name: any}}, spec: {{}}}}\n- {shared}\nresourceClaims:\n{claims}{others}{pod}"
    ))
}

/// What a pod is told that cannot be given its devices on the only node.
fn refused(why: &str) -> String {
    format!(
        "0/1 nodes are available: 1 {why}. still not schedulable, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
}

fn pod(claims: &str) -> String {
    format!("pod: {{metadata: {{name: q, namespace: n}}, spec: {{containers: [], resourceClaims: {claims}}}}}\n")
}

fn one(requests: &str, further: &str, expected: Expect) {
    let claims = format!("resourceClaims:\n{}", claim("c", requests, ""));
    let claims = claims.replace("}}}\n", &format!("{further}}}}}}}\n"));
    check(&format!("{}{claims}{}", cluster(), pod("[{name: d, resourceClaimName: c}]")), expected);
}

#[test]
fn the_first_devices_that_suit_are_given() {
    let large = "selectors: [{cel: {expression: 'device.capacity[\"gpu.example.com\"].memory.isGreaterThan(quantity(\"20Gi\"))'}}]";
    one(&format!("[{{name: r, exactly: {{deviceClassName: gpu, {large}}}}}]"), "", expect!["b with r: b/g0"]);
    one(
        &format!("[{{name: r, exactly: {{deviceClassName: gpu, count: 2, {large}}}}}]"),
        "",
        expect!["b with r: b/g0, r: b/g1"],
    );
    one(
        &format!("[{{name: r, exactly: {{deviceClassName: gpu, allocationMode: All, {large}}}}}]"),
        "",
        expect!["b with r: b/g0, r: b/g1"],
    );
    one(
        &format!("[{{name: r, exactly: {{deviceClassName: gpu, count: 3, {large}}}}}]"),
        "",
        expect![
            "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn alternatives_are_tried_in_their_order() {
    let alternatives = "[{name: r, firstAvailable: [{name: many, deviceClassName: gpu, count: 3}, {name: few, deviceClassName: gpu, count: 2}]}]";
    one(alternatives, "", expect!["a with r/few: a/g0, r/few: a/g1"]);
}

#[test]
fn devices_of_one_claim_agree() {
    let two = "[{name: r, exactly: {deviceClassName: gpu, count: 2}}]";
    one(two, ", constraints: [{matchAttribute: gpu.example.com/model}]", expect!["a with r: a/g0, r: a/g1"]);
    one(
        two,
        ", constraints: [{matchAttribute: gpu.example.com/numa}]",
        expect![
            "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    one(
        two,
        ", constraints: [{requests: [other], matchAttribute: gpu.example.com/numa}]",
        expect!["a with r: a/g0, r: a/g1"],
    );
}

#[test]
fn what_is_wrong_is_said() {
    one(
        "[{name: r, exactly: {deviceClassName: none}}]",
        "",
        expect![
            "0/2 nodes are available: request r: device class none does not exist. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let broken = "selectors: [{cel: {expression: 'device.attributes[\"x\"].y'}}]";
    one(
        &format!("[{{name: r, exactly: {{deviceClassName: gpu, {broken}}}}}]"),
        "",
        expect![
            "0/2 nodes are available: 2 claim n/c: selector #0: CEL runtime error: no such key: y. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let base = cluster();
    check(
        &format!("{base}{}", pod("[{name: d, resourceClaimName: c}]")),
        expect![[
            r#"0/2 nodes are available: could not find ResourceClaim "n/c". no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."#
        ]],
    );
    check(
        &format!("{base}{}", pod("[{name: d, resourceClaimTemplateName: t}]")),
        expect![[
            r#"0/2 nodes are available: pod "n/q": ResourceClaim not created yet. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."#
        ]],
    );
}

#[test]
fn a_device_is_given_once() {
    let request = "[{name: r, exactly: {deviceClassName: gpu, count: 2}}]";
    let taken = |node: &str, device: &str, admin: &str| {
        format!(
            ", status: {{allocation: {{devices: {{results: [{{request: r, driver: gpu.example.com, pool: {node}, device: {device}{admin}}}]}}}}}}"
        )
    };
    let with = |others: &str, requests: &str, expected: Expect| {
        let claims = format!("resourceClaims:\n{}{others}", claim("c", requests, ""));
        check(&format!("{}{claims}{}", cluster(), pod("[{name: d, resourceClaimName: c}]")), expected);
    };
    let a = claim("x", request, &taken("a", "g1", ""));
    let b = claim("y", request, &taken("b", "g0", ""));
    with(&a, request, expect!["b with r: b/g0, r: b/g1"]);
    with(
        &format!("{a}{b}"),
        request,
        expect![
            "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let b_admin = claim("y", request, &taken("b", "g0", ", adminAccess: true"));
    with(&format!("{a}{b_admin}"), request, expect!["b with r: b/g0, r: b/g1"]);
    with(
        &format!("{a}{b}"),
        &request.replace("count: 2", "count: 2, adminAccess: true"),
        expect!["a with r: a/g0, r: a/g1"],
    );
}

#[test]
fn an_allocated_claim_says_where_the_pod_goes() {
    let to = |node: &str, reserved: &str| {
        let terms =
            format!("nodeSelectorTerms: [{{matchFields: [{{key: metadata.name, operator: In, values: [{node}]}}]}}]");
        format!(", status: {{allocation: {{nodeSelector: {{{terms}}}}}{reserved}}}")
    };
    let with = |further: &str, expected: Expect| {
        let claims = format!("resourceClaims:\n{}", claim("c", "[]", further));
        check(&format!("{}{claims}{}", cluster(), pod("[{name: d, resourceClaimName: c}]")), expected);
    };
    with(&to("b", ""), expect!["b"]);
    with(
        &to("gone", ""),
        expect![
            "deallocate c: 0/2 nodes are available: 2 resourceclaim not available on the node. deallocation of ResourceClaim completed"
        ],
    );
    with(
        &to("gone", ", reservedFor: [{resource: pods, name: z, uid: z}]"),
        expect![
            "0/2 nodes are available: 2 resourceclaim not available on the node. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn taints_keep_devices_for_those_who_tolerate_them() {
    let tainted = cluster().replace("{name: g0,", "{name: g0, taints: [{key: broken, effect: NoSchedule}],").replace(
        "{name: g1,",
        "{name: g1, taints: [{key: slow, value: very, effect: NoExecute}, {key: odd, effect: None}],",
    );
    let with = |tolerations: &str, expected: Expect| {
        let requests = format!("[{{name: r, exactly: {{deviceClassName: gpu, tolerations: {tolerations}}}}}]");
        let claims = format!("resourceClaims:\n{}", claim("c", &requests, ""));
        let nowhere_else = "pod: {metadata: {name: q, namespace: n}, spec: {containers: [], nodeSelector: {host: b}, resourceClaims: [{name: d, resourceClaimName: c}]}}\n";
        check(&format!("{tainted}{claims}{nowhere_else}"), expected);
    };
    with(
        "[]",
        expect![
            "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) didn't match Pod's node affinity/selector. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    with("[{key: broken, operator: Exists}]", expect!["b with r: b/g0"]);
    with("[{key: slow, operator: Equal, value: very, effect: NoExecute}]", expect!["b with r: b/g1"]);
    with(
        "[{key: slow, operator: Equal, value: little}]",
        expect![
            "0/2 nodes are available: 1 cannot allocate all claims, 1 node(s) didn't match Pod's node affinity/selector. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn a_pool_that_is_being_written_is_left_alone() {
    let request = "[{name: r, exactly: {deviceClassName: gpu}}]";
    let claims = format!("resourceClaims:\n{}", claim("c", request, ""));
    let half = cluster().replace("resourceSliceCount: 1", "resourceSliceCount: 2");
    check(
        &format!("{half}{claims}{}", pod("[{name: d, resourceClaimName: c}]")),
        expect![
            "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let all = claims.replace("deviceClassName: gpu", "deviceClassName: gpu, allocationMode: All");
    check(
        &format!("{half}{all}{}", pod("[{name: d, resourceClaimName: c}]")),
        expect![
            "0/2 nodes are available: 1 claim n/c, request r: asks for all devices, but resource pool gpu.example.com/a is currently being updated, 1 claim n/c, request r: asks for all devices, but resource pool gpu.example.com/b is currently being updated. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let twice = cluster().replace("{name: g1,", "{name: g0,");
    check(
        &format!("{twice}{claims}{}", pod("[{name: d, resourceClaimName: c}]")),
        expect![
            "0/2 nodes are available: 2 invalid resource pools were encountered. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Claims get as many devices as they ask for, each a free one of its own, exactly when there are enough.
    #[test]
    fn every_device_is_given_once_and_none_is_left_while_somebody_wants_it(
        pools in prop::collection::vec(0usize..5, 1..4),
        taken in prop::collection::vec(any::<bool>(), 16),
        wanted in prop::collection::vec(1usize..4, 1..4),
    ) {
        let mut devices = Devices::default();
        devices.set_class(&yaml::<DeviceClass>("{metadata: {name: gpu}, spec: {}}"), true);
        let mut taken = taken.into_iter().cycle();
        let (mut free, mut held) = (0, Vec::new());
        for (n, count) in pools.into_iter().enumerate() {
            let names: Vec<String> = (0..count).map(|device| format!("{{name: d{device}}}")).collect();
            let pool = format!("pool: {{name: p{n}, generation: 1, resourceSliceCount: 1}}");
            let slice = format!("{{metadata: {{name: s{n}}}, spec: {{driver: d, allNodes: true, {pool}, devices: [{}]}}}}", names.join(", "));
            devices.set_slice(&Arc::new(yaml(&slice)), true);
            for device in 0..count {
                match taken.next() {
                    Some(true) => held.push(format!("{{request: r, driver: d, pool: p{n}, device: d{device}}}")),
                    _ => free += 1,
                }
            }
        }
        let holder = format!("{{metadata: {{name: h, namespace: n, uid: h}}, spec: {{}}, status: {{allocation: {{devices: {{results: [{}]}}}}}}}}", held.join(", "));
        devices.set_claim(&Arc::new(yaml(&holder)), true);
        let claims: Vec<Arc<ResourceClaim>> = wanted.iter().enumerate().map(|(n, count)| {
            let request = format!("{{name: r, exactly: {{deviceClassName: gpu, count: {count}}}}}");
            Arc::new(yaml(&format!("{{metadata: {{name: c{n}, namespace: n, uid: c{n}}}, spec: {{devices: {{requests: [{request}]}}}}}}")))
        }).collect();
        let node = NodeInfo::new(0, Arc::new(NodeFacts::named("a")));
        // Where there are too few, a search may end before it has tried everything.
        let results = allocate(&devices, &node, &claims, &Limit::of(20_000)).unwrap_or_default();
        prop_assert_eq!(results.is_some(), wanted.iter().sum::<usize>() <= free);
        let mut given = HashSet::new();
        for (result, count) in results.into_iter().flatten().zip(&wanted) {
            let results = result.devices.and_then(|devices| devices.results).unwrap_or_default();
            prop_assert_eq!(results.len(), *count);
            for result in results {
                let id = DeviceId { driver: result.driver, pool: result.pool, device: result.device };
                prop_assert!(!devices.is_taken(&id), "{:?} is another's", id);
                prop_assert!(given.insert(id), "a device is given twice");
            }
        }
    }
}

#[test]
fn a_search_ends() {
    let mut devices = Devices::default();
    devices.set_class(&yaml::<DeviceClass>("{metadata: {name: gpu}, spec: {}}"), true);
    let names: Vec<String> = (0..64).map(|n| format!("{{name: d{n}, attributes: {{x: {{int: {n}}}}}}}")).collect();
    let pool = "pool: {name: p, generation: 1, resourceSliceCount: 1}";
    let slice = format!(
        "{{metadata: {{name: s}}, spec: {{driver: d, allNodes: true, {pool}, devices: [{}]}}}}",
        names.join(", ")
    );
    devices.set_slice(&Arc::new(yaml(&slice)), true);
    // Each device agrees with itself only, which is found out at the very end.
    let requests: Vec<String> = (0..8).map(|n| format!("{{name: r{n}, exactly: {{deviceClassName: gpu}}}}")).collect();
    let claim = format!(
        "{{metadata: {{name: c, namespace: n, uid: c}}, spec: {{devices: {{requests: [{}], constraints: [{{requests: [r6, r7], matchAttribute: d/x}}]}}}}}}",
        requests.join(", ")
    );
    let node = NodeInfo::new(0, Arc::new(NodeFacts::named("a")));
    let ended = allocate(&devices, &node, &[Arc::new(yaml(&claim))], &Limit::of(20_000));
    assert_eq!(ended, Err(Failure::Node("node a: timed out trying to allocate devices".to_owned())));
}
