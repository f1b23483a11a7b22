//! Spreading over domains.

use super::{check, check_with};
use expect_test::expect;

const ZONES: &str = r#"
nodes:
- {metadata: {name: a, labels: {zone: one, kubernetes.io/hostname: a}}, status: {allocatable: {pods: "110"}}}
- {metadata: {name: b, labels: {zone: one, kubernetes.io/hostname: b}}, status: {allocatable: {pods: "110"}}}
- {metadata: {name: x, labels: {zone: two, kubernetes.io/hostname: x}}, status: {allocatable: {pods: "110"}}}
"#;

fn constraint(further: &str) -> String {
    format!(
        "{{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: web}}}}{further}}}"
    )
}

fn web(constraints: &str) -> String {
    format!(
        "pod: {{metadata: {{name: q, namespace: n, labels: {{app: web}}}}, spec: {{containers: [], topologySpreadConstraints: [{constraints}]}}}}"
    )
}

fn placed(pods: &[(&str, &str)]) -> String {
    let line = |(name, node): &(&str, &str)| {
        format!(
            "- {{metadata: {{name: {name}, namespace: n, labels: {{app: web}}}}, spec: {{nodeName: {node}, containers: []}}}}\n"
        )
    };
    format!("placed:\n{}", pods.iter().map(line).collect::<String>())
}

#[test]
fn the_emptier_zone_is_the_only_one() {
    check(&format!("{ZONES}{}{}", placed(&[("p", "a")]), web(&constraint(""))), expect!["x"]);
    check(
        &format!("{ZONES}{}{}", placed(&[("p", "x"), ("r", "x")]), web(&constraint(", nodeAffinityPolicy: Ignore"))),
        expect!["a"],
    );
}

#[test]
fn a_full_cluster_is_uneven_everywhere() {
    let cordoned = ZONES.replace(
        "{name: x, labels: {zone: two, kubernetes.io/hostname: x}}",
        "{name: x, labels: {zone: two}}, spec: {unschedulable: true}",
    );
    check(
        &format!("{cordoned}{}{}", placed(&[("p", "a")]), web(&constraint(""))),
        expect![
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints. no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn a_node_without_the_label_takes_nobody() {
    let nodes = r#"
nodes:
- {metadata: {name: a}, status: {allocatable: {pods: "110"}}}
"#;
    check(
        &format!("{nodes}{}", web(&constraint(""))),
        expect![
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn too_few_domains_count_as_empty_ones() {
    let case = |min: u8| {
        format!("{ZONES}{}{}", placed(&[("p", "a"), ("r", "x")]), web(&constraint(&format!(", minDomains: {min}"))))
    };
    check(
        &case(3),
        expect![
            "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn tainted_nodes_count_unless_taints_are_honored() {
    let tainted = ZONES.replace("hostname: x}}", "hostname: x}}, spec: {taints: [{key: k, effect: NoSchedule}]}");
    let case = |further: &str| format!("{tainted}{}{}", placed(&[("p", "a")]), web(&constraint(further)));
    check(
        &case(""),
        expect![
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match pod topology spread constraints. no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
        ],
    );
    check(&case(", nodeTaintsPolicy: Honor"), expect!["a"]);
}

#[test]
fn match_label_keys_count_one_revision() {
    let pods = "placed:\n- {metadata: {name: old, namespace: n, labels: {app: web, rev: '1'}}, spec: {nodeName: x, containers: []}}\n";
    let pod = |key: &str| {
        format!(
            "pod: {{metadata: {{name: q, namespace: n, labels: {{app: web, rev: '2'}}}}, spec: {{containers: [], nodeSelector: {{kubernetes.io/hostname: x}}, topologySpreadConstraints: [{}]}}}}",
            constraint(key)
        )
    };
    check(&format!("{ZONES}{pods}{}", pod(", nodeAffinityPolicy: Ignore, matchLabelKeys: [rev]")), expect!["x"]);
    check(
        &format!("{ZONES}{pods}{}", pod(", nodeAffinityPolicy: Ignore")),
        expect![
            "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints, 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn pods_of_a_service_are_spread_without_a_word() {
    let service = "services:\n- {metadata: {name: s, namespace: n}, spec: {selector: {app: web}}}\n";
    let pods = placed(&[("p", "a"), ("r", "b"), ("t", "b")]);
    let pod = "pod: {metadata: {name: q, namespace: n, labels: {app: web}}, spec: {containers: []}}";
    check(&format!("{ZONES}{service}{pods}{pod}"), expect!["x"]);
}

#[test]
fn a_profile_has_constraints_of_its_own() {
    let configuration = r#"
profiles:
- pluginConfig:
  - name: PodTopologySpread
    args: {defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}
"#;
    let set = "replicaSets:\n- {metadata: {name: rs, namespace: n}, spec: {selector: {matchLabels: {app: web}}}}\n";
    let pods = placed(&[("p", "x")]);
    let owner = "ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: u, controller: true}]";
    let pod = |owner: &str| {
        format!(
            "pod: {{metadata: {{name: q, namespace: n, labels: {{app: web}}, {owner}}}, spec: {{containers: [], nodeSelector: {{zone: two}}}}}}"
        )
    };
    check_with(configuration, &format!("{ZONES}{set}{pods}{}", pod("")), expect!["x"]);
    check_with(configuration, &format!("{ZONES}{set}{pods}{}", pod(owner)), expect!["x"]);
}
