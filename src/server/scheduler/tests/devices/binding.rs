//! Devices that have to be made ready before a pod is bound.

use super::{on_one_node, refused};
use crate::tests::decided;
use expect_test::expect;

const CONDITIONS: &str = "bindingConditions: [Ready], bindingFailureConditions: [Failed]";

#[test]
fn what_has_to_be_made_ready_is_said() {
    let devices = format!("devices: [{{name: d1}}, {{name: d2, {CONDITIONS}}}]");
    let two = "requests: [{name: r, exactly: {deviceClassName: any}}, {name: s, exactly: {deviceClassName: any}}]";
    expect!["a with r: p/d1, s: p/d2 once Ready"].assert_eq(&on_one_node(&[&devices], "", &[two]));
}

#[test]
fn pools_that_need_no_wait_go_first() {
    let pool = |name: &str, further: &str| {
        format!(
            "- {{metadata: {{name: s-{name}}}, spec: {{driver: d, allNodes: true, pool: {{name: {name}, generation: 1, resourceSliceCount: 1}}, devices: [{{name: d1{further}}}]}}}}\n"
        )
    };
    let cluster = format!(
        "nodes: [{{metadata: {{name: a}}, status: {{allocatable: {{cpu: '4', memory: 8Gi, pods: '110'}}}}}}]
slices:
{}{}deviceClasses: [{{metadata: {{name: any}}, spec: {{}}}}]
resourceClaims: [{{metadata: {{name: c, namespace: n, uid: c}}, spec: {{devices: {{requests: [{{name: r, exactly: {{deviceClassName: any}}}}]}}}}}}]
pod: {{metadata: {{name: q, namespace: n}}, spec: {{containers: [], resourceClaims: [{{name: d, resourceClaimName: c}}]}}}}
",
        pool("first", &format!(", {CONDITIONS}")),
        pool("second", "")
    );
    expect!["a with r: second/d1"].assert_eq(&decided(&cluster));
}

/// What is decided at noon about a pod whose claim was allocated at `since`, with conditions of its device; and who uses it.
fn allocated(since: &str, conditions: &str, users: &str) -> String {
    let status = match conditions {
        "" => String::new(),
        conditions => format!(", devices: [{{driver: d, pool: p, device: d1, conditions: [{conditions}]}}]"),
    };
    decided(&format!(
        "nodes: [{{metadata: {{name: a}}, status: {{allocatable: {{cpu: '4', memory: 8Gi, pods: '110'}}}}}}]
now: '2026-01-01T12:00:00Z'
resourceClaims:
- metadata: {{name: c, namespace: n, uid: c}}
  spec: {{}}
  status: {{allocation: {{allocationTimestamp: '2026-01-01T{since}Z', devices: {{results: [{{request: r, driver: d, pool: p, device: d1, {CONDITIONS}}}]}}}}, reservedFor: [{users}]{status}}}
pod: {{metadata: {{name: q, namespace: n}}, spec: {{containers: [], resourceClaims: [{{name: d, resourceClaimName: c}}]}}}}
"
    ))
}

#[test]
fn devices_that_do_not_get_ready_are_given_back() {
    let says = |of: &str, status: &str| {
        format!(
            "{{type: {of}, status: '{status}', reason: Why, message: m, lastTransitionTime: '2026-01-01T11:00:00Z'}}"
        )
    };
    let own = "{resource: pods, name: q, uid: q}";
    let given_back = "deallocate c: 0/1 nodes are available: 1 resourceclaim not available on the node. deallocation of ResourceClaim completed";
    assert_eq!(allocated("11:55:00", "", own), "a");
    assert_eq!(allocated("11:55:00", &says("Ready", "False"), own), "a");
    assert_eq!(allocated("11:40:00", &says("Ready", "True"), own), "a");
    assert_eq!(allocated("11:40:00", "", own), given_back);
    assert_eq!(allocated("11:40:00", &says("Ready", "Unknown"), own), given_back);
    assert_eq!(allocated("11:59:00", &says("Failed", "True"), own), given_back);
    let others = format!("{own}, {{resource: pods, name: z, uid: z}}");
    assert_eq!(allocated("11:40:00", "", &others), refused("resourceclaim not available on the node"));
}
