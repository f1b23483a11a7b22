//! Extended resources that device classes stand behind.

use super::refused;
use crate::{
    devices::{Devices, extended},
    node_info::{NodeFacts, NodeInfo},
    pod_facts::PodFacts,
    tests::{check_with, decided, facts, yaml},
};
use expect_test::{Expect, expect};
use std::sync::Arc;

/// Node `a`, which has what is said of resources, two devices there, and a pod with these containers and claims.
fn on_node(allocatable: &str, classes: &str, others: &str, pod: &str) -> String {
    decided(&format!(
        "nodes: [{{metadata: {{name: a}}, status: {{allocatable: {{cpu: '4', memory: 8Gi, pods: '110'{allocatable}}}}}}}]
slices: [{{metadata: {{name: s}}, spec: {{driver: d, nodeName: a, pool: {{name: p, generation: 1, resourceSliceCount: 1}}, devices: [{{name: d1}}, {{name: d2}}]}}}}]
deviceClasses: [{classes}]
resourceClaims: [{others}]
pod: {{metadata: {{name: q, namespace: n}}, spec: {{{pod}}}}}
"
    ))
}

const CLASS: &str = "{metadata: {name: gpu}, spec: {extendedResourceName: example.com/gpu}}";

fn asks(resource: &str, amount: u32) -> String {
    format!("containers: [{{name: c, resources: {{requests: {{{resource}: '{amount}'}}}}}}]")
}

#[test]
fn devices_stand_in_for_extended_resources() {
    let gpus = |amount| asks("example.com/gpu", amount);
    expect!["a with container-0-request-0: p/d1"].assert_eq(&on_node("", CLASS, "", &gpus(1)));
    expect!["a with container-0-request-0: p/d1, container-0-request-0: p/d2"].assert_eq(&on_node(
        "",
        CLASS,
        "",
        &gpus(2),
    ));
    assert_eq!(on_node("", CLASS, "", &gpus(3)), refused("cannot allocate all claims"));
    assert_eq!(on_node("", CLASS, "", &gpus(0)), "a");
    let implicit = asks("deviceclass.resource.kubernetes.io/gpu", 1);
    expect!["a with container-0-request-0: p/d1"].assert_eq(&on_node("", CLASS, "", &implicit));
    expect!["a with container-0-request-0: p/d1"].assert_eq(&on_node(
        "",
        "{metadata: {name: gpu}, spec: {}}",
        "",
        &implicit,
    ));
}

#[test]
fn a_device_plugin_goes_before() {
    let gpus = |amount| asks("example.com/gpu", amount);
    assert_eq!(on_node(", example.com/gpu: '1'", CLASS, "", &gpus(1)), "a");
    expect!["a with container-0-request-0: p/d1"].assert_eq(&on_node(", example.com/gpu: '0'", CLASS, "", &gpus(1)));
    expect![
        "0/1 nodes are available: 1 Insufficient example.com/gpu. still not schedulable, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    ]
    .assert_eq(&on_node(", example.com/gpu: '1'", CLASS, "", &gpus(2)));
    expect![
        "0/1 nodes are available: 1 Insufficient example.com/gpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    ]
    .assert_eq(&on_node("", "", "", &gpus(1)));
    let both = "containers: [{name: c, resources: {requests: {example.com/gpu: '1', example.com/nic: '1'}}}]";
    expect!["a with container-0-request-0: p/d1"].assert_eq(&on_node(", example.com/nic: '1'", CLASS, "", both));
}

#[test]
fn claims_of_the_pod_go_first() {
    let claim = "{metadata: {name: c, namespace: n, uid: c}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu}}]}}}";
    let pod = format!("{}, resourceClaims: [{{name: d, resourceClaimName: c}}]", asks("example.com/gpu", 1));
    expect!["a with r: p/d1, container-0-request-0: p/d2"].assert_eq(&on_node("", CLASS, claim, &pod));
    expect!["a with r: p/d1"].assert_eq(&on_node(", example.com/gpu: '1'", CLASS, claim, &pod));
}

/// A claim of an earlier attempt may not fit any more: it is made anew.
#[test]
fn a_claim_of_an_earlier_attempt_goes() {
    let made = "{metadata: {name: made, namespace: n, uid: made, annotations: {resource.kubernetes.io/extended-resource-claim: 'true'}, ownerReferences: [{apiVersion: v1, kind: Pod, name: q, uid: q, controller: true}]}, spec: {devices: {requests: [{name: container-0-request-0, exactly: {deviceClassName: gpu}}]}}}";
    expect![
        "deallocate made: 0/1 nodes are available: 1 cannot schedule extended resource claim. deletion of ResourceClaim completed"
    ]
    .assert_eq(&on_node("", CLASS, made, &asks("example.com/gpu", 1)));
}

/// Where nodes are ranked by a resource, devices count as what a device plugin has does.
#[test]
fn nodes_are_ranked_by_devices_in_use() {
    let node = |name: &str| {
        format!("- {{metadata: {{name: {name}}}, status: {{allocatable: {{cpu: '4', memory: 8Gi, pods: '110'}}}}}}\n")
    };
    let slice = |node: &str| {
        format!(
            "- {{metadata: {{name: s-{node}}}, spec: {{driver: d, nodeName: {node}, pool: {{name: {node}, generation: 1, resourceSliceCount: 1}}, devices: [{{name: d1}}, {{name: d2}}, {{name: d3}}]}}}}\n"
        )
    };
    let held = "{metadata: {name: h, namespace: n, uid: h}, spec: {}, status: {allocation: {devices: {results: [{request: r, driver: d, pool: b, device: d1}]}}}}";
    let case = format!(
        "nodes:\n{}{}slices:\n{}{}deviceClasses: [{CLASS}]\nresourceClaims: [{held}]\npod: {{metadata: {{name: q, namespace: n}}, spec: {{{}}}}}\n",
        node("a"),
        node("b"),
        slice("a"),
        slice("b"),
        asks("example.com/gpu", 1)
    );
    let ranked = |strategy: &str| {
        format!(
            "profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args: {{scoringStrategy: {{type: {strategy}, resources: [{{name: example.com/gpu, weight: 1}}]}}}}\n"
        )
    };
    check_with(&ranked("MostAllocated"), &case, expect!["b with container-0-request-0: b/d2"]);
    check_with(&ranked("LeastAllocated"), &case, expect!["a with container-0-request-0: a/d1"]);
}

/// The claim that a pod needs: its requests, and what each container gets.
fn special(pod: &str, expected: Expect) {
    let mut devices = Devices::default();
    devices.set_class(&yaml(CLASS), true);
    devices.set_class(&yaml("{metadata: {name: nic}, spec: {extendedResourceName: example.com/nic}}"), true);
    let pod: Arc<PodFacts> = facts(yaml(&format!("{{metadata: {{name: q, namespace: n}}, spec: {{{pod}}}}}")));
    let node = NodeInfo::new(0, Arc::new(NodeFacts::named("a")));
    let special = devices.special_claim(&pod, &node).expect("the node can take it").expect("a claim is needed");
    let mut told = String::new();
    for request in crate::devices::requests_of(&special.claim) {
        let exactly = request.exactly.as_ref().expect("it is for so many");
        told += &format!("{}: {} {}\n", request.name, exactly.count.unwrap_or(0), exactly.device_class_name);
    }
    for mapping in &special.mappings {
        told += &format!("{} of {} is {}\n", mapping.resource_name, mapping.container_name, mapping.request_name);
    }
    expected.assert_eq(&told);
    assert!(extended::is_special(&special.claim));
    assert_eq!(special.claim.metadata.generate_name.as_deref(), Some("q-extended-resources-"));
}

fn container(name: &str, gpus: u32, further: &str) -> String {
    format!("{{name: {name}, resources: {{requests: {{cpu: '1', example.com/gpu: '{gpus}'}}}}{further}}}")
}

#[test]
fn containers_that_stay_have_devices_of_their_own() {
    special(
        &format!("containers: [{}, {{name: b}}, {}]", container("a", 1, ""), container("c", 2, "")),
        expect![[r#"
            container-0-request-1: 1 gpu
            container-2-request-1: 2 gpu
            example.com/gpu of a is container-0-request-1
            example.com/gpu of c is container-2-request-1
        "#]],
    );
    special(
        "containers: [{name: a, resources: {requests: {example.com/nic: '1', example.com/gpu: '2'}}}]",
        expect![[r#"
            container-0-request-0: 2 gpu
            container-0-request-1: 1 nic
            example.com/gpu of a is container-0-request-0
            example.com/nic of a is container-0-request-1
        "#]],
    );
}

#[test]
fn containers_that_end_use_the_devices_of_later_ones() {
    let init = |containers: &[String], later: &[String]| {
        format!("initContainers: [{}], containers: [{}]", containers.join(", "), later.join(", "))
    };
    special(
        &init(&[container("i", 1, "")], &[container("a", 2, "")]),
        expect![[r#"
            container-1-request-1: 2 gpu
            example.com/gpu of a is container-1-request-1
            example.com/gpu of i is container-1-request-1
        "#]],
    );
    // What they need beyond, they share: the most of it.
    special(
        &init(&[container("i", 3, ""), container("j", 4, "")], &[container("a", 2, "")]),
        expect![[r#"
            container-1-request-1: 2 gpu
            container-2-request-1: 2 gpu
            example.com/gpu of a is container-2-request-1
            example.com/gpu of i is container-2-request-1
            example.com/gpu of i is container-1-request-1
            example.com/gpu of j is container-2-request-1
            example.com/gpu of j is container-1-request-1
        "#]],
    );
    // A sidecar that was begun before keeps its own.
    let sidecar = container("s", 1, ", restartPolicy: Always");
    special(
        &init(&[sidecar, container("i", 1, "")], &[container("a", 0, "")]),
        expect![[r#"
            container-0-request-1: 1 gpu
            container-1-request-1: 1 gpu
            example.com/gpu of s is container-0-request-1
            example.com/gpu of i is container-1-request-1
        "#]],
    );
}

/// Of several classes with one resource, the newest stands behind it, then the first by name.
#[test]
fn the_newest_class_stands_behind_a_resource() {
    let mut devices = Devices::default();
    let class = |name: &str, made: &str| {
        yaml(&format!(
            "{{metadata: {{name: {name}, creationTimestamp: '2026-01-0{made}T00:00:00Z'}}, spec: {{extendedResourceName: example.com/gpu}}}}"
        ))
    };
    let behind = |devices: &Devices| {
        devices.class_behind("example.com/gpu").and_then(|class| class.class.metadata.name.clone()).unwrap_or_default()
    };
    for (name, made) in [("b", "1"), ("c", "2"), ("a", "2"), ("d", "1")] {
        devices.set_class(&class(name, made), true);
    }
    assert_eq!(behind(&devices), "a");
    devices.set_class(&class("a", "2"), false);
    assert_eq!(behind(&devices), "c");
    devices.set_class(&yaml("{metadata: {name: c}, spec: {}}"), true);
    assert_eq!(behind(&devices), "b");
}
