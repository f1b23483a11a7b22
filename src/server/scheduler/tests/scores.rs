//! Strategies and weights of profiles.

use super::{check, check_with};
use expect_test::expect;

const NODES: &str = r#"
nodes:
- {metadata: {name: empty}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}}
- {metadata: {name: half}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}}
placed:
- {metadata: {name: p}, spec: {nodeName: half, containers: [{name: c, resources: {requests: {cpu: "2", memory: 4Gi}}}]}}
pod: {metadata: {name: q}, spec: {containers: [{name: c, resources: {requests: {cpu: "1", memory: 2Gi}}}]}}
"#;

fn fit(strategy: &str) -> String {
    format!("profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args: {{scoringStrategy: {{{strategy}}}}}\n")
}

#[test]
fn nodes_are_filled_or_spared_as_configured() {
    check(NODES, expect!["empty"]);
    check_with(&fit("type: MostAllocated"), NODES, expect!["half"]);
    let rising = "type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}";
    check_with(&fit(rising), NODES, expect!["half"]);
    let falling = "type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: [{utilization: 0, score: 10}, {utilization: 100, score: 0}]}";
    check_with(&fit(falling), NODES, expect!["empty"]);
}

#[test]
fn what_balances_a_node_is_better() {
    check(
        r#"
nodes:
- {metadata: {name: cpu}, status: {allocatable: {cpu: "10", memory: 10Gi, pods: "110"}}}
- {metadata: {name: memory}, status: {allocatable: {cpu: "10", memory: 10Gi, pods: "110"}}}
placed:
- {metadata: {name: p}, spec: {nodeName: cpu, containers: [{name: c, resources: {requests: {cpu: "4", memory: 1Gi}}}]}}
- {metadata: {name: r}, spec: {nodeName: memory, containers: [{name: c, resources: {requests: {cpu: "1", memory: 4Gi}}}]}}
pod: {metadata: {name: q}, spec: {containers: [{name: c, resources: {requests: {cpu: "3", memory: 100Mi}}}]}}
"#,
        expect!["memory"],
    );
}

#[test]
fn a_large_image_is_worth_a_way() {
    check(
        r#"
nodes:
- {metadata: {name: a}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}}
- {metadata: {name: b}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}, images: [{names: ["registry/app:latest"], sizeBytes: 1900000000}]}}
pod: {metadata: {name: q}, spec: {containers: [{name: c, image: registry/app}]}}
"#,
        expect!["b"],
    );
}

#[test]
fn tolerable_taints_are_avoided() {
    check(
        r#"
nodes:
- {metadata: {name: a}, spec: {taints: [{key: k, effect: PreferNoSchedule}]}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}}
- {metadata: {name: b}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}}
pod: {metadata: {name: q}, spec: {containers: []}}
"#,
        expect!["b"],
    );
}

#[test]
fn a_profile_leaves_plugins_out() {
    let tainted = NODES.replace(
        "{metadata: {name: empty}",
        "{metadata: {name: empty}, spec: {taints: [{key: k, effect: NoSchedule}]}",
    );
    check(&tainted, expect!["half"]);
    let without = "profiles:\n- plugins: {filter: {disabled: [{name: TaintToleration}]}}\n";
    check_with(without, &tainted, expect!["empty"]);
    let nothing = "profiles:\n- plugins: {postFilter: {disabled: [{name: '*'}]}}\n";
    let full = NODES.replace("cpu: \"1\", memory: 2Gi", "cpu: \"9\"");
    check_with(nothing, &full, expect!["0/2 nodes are available: 2 Insufficient cpu."]);
    let added = "profiles:\n- pluginConfig: [{name: NodeAffinity, args: {addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [half]}]}]}}}}]\n";
    check_with(added, NODES, expect!["half"]);
}
