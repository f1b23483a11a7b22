//! Claims on devices: who gets which, and why not.

use super::check;
use expect_test::{Expect, expect};

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
            "0/2 nodes are available: request r: device class none does not exist. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
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
            r#"0/2 nodes are available: could not find ResourceClaim "n/c". still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."#
        ]],
    );
    check(
        &format!("{base}{}", pod("[{name: d, resourceClaimTemplateName: t}]")),
        expect![[
            r#"0/2 nodes are available: pod "n/q": ResourceClaim not created yet. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."#
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
