//! Filters and their words.

use super::check;
use expect_test::expect;

#[test]
fn the_emptier_node_is_taken() {
    check(
        r#"
nodes:
- {metadata: {name: a}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "110"}}}
- {metadata: {name: b}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "110"}}}
placed:
- {metadata: {name: p}, spec: {nodeName: a, containers: [{name: c, resources: {requests: {cpu: "1", memory: 1Gi}}}]}}
pod: {metadata: {name: q}, spec: {containers: [{name: c, resources: {requests: {cpu: 100m, memory: 1Gi}}}]}}
"#,
        expect!["b"],
    );
}

#[test]
fn without_nodes_nothing_fits() {
    check(
        "{nodes: [], pod: {metadata: {name: q}, spec: {containers: []}}}",
        expect!["no nodes available to schedule pods"],
    );
}

#[test]
fn each_reason_is_counted() {
    check(
        r#"
nodes:
- {metadata: {name: small}, status: {allocatable: {cpu: 500m, memory: 1Gi, pods: "110"}}}
- {metadata: {name: taken}, status: {allocatable: {cpu: "2", memory: 1Gi, pods: "110"}}}
- {metadata: {name: tainted}, spec: {taints: [{key: a, effect: NoSchedule}]}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}}
- {metadata: {name: cordoned}, spec: {unschedulable: true}, status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}}
placed:
- {metadata: {name: p}, spec: {nodeName: taken, containers: [{name: c, resources: {requests: {cpu: "1500m"}}}]}}
pod: {metadata: {name: q}, spec: {containers: [{name: c, resources: {requests: {cpu: "1"}}}]}}
"#,
        expect![
            "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn selectors_and_affinity_choose() {
    let nodes = r#"
nodes:
- {metadata: {name: a, labels: {disk: hdd, size: "3"}}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "110"}}}
- {metadata: {name: b, labels: {disk: ssd, size: "9"}}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "110"}}}
"#;
    let case = |spec: &str| format!("{nodes}\npod: {{metadata: {{name: q}}, spec: {{containers: [], {spec}}}}}");
    check(&case("nodeSelector: {disk: ssd}"), expect!["b"]);
    check(
        &case("nodeSelector: {disk: tape}"),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    let required = |e: &str| {
        format!(
            "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{{matchExpressions: [{e}]}}]}}}}}}"
        )
    };
    check(&case(&required(r#"{key: size, operator: Gt, values: ["5"]}"#)), expect!["b"]);
    check(&case(&required(r#"{key: disk, operator: NotIn, values: [ssd]}"#)), expect!["a"]);
    check(
        &case(&required(r#"{key: disk, operator: DoesNotExist}"#)),
        expect![
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ],
    );
    check(
        &case(
            "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 10, preference: {matchExpressions: [{key: disk, operator: In, values: [hdd]}]}}]}}",
        ),
        expect!["a"],
    );
}

#[test]
fn a_node_port_is_held_once() {
    check(
        r#"
nodes:
- {metadata: {name: a}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "110"}}}
placed:
- {metadata: {name: p}, spec: {nodeName: a, containers: [{name: c, ports: [{containerPort: 80, hostPort: 8080}]}]}}
pod: {metadata: {name: q}, spec: {containers: [{name: c, ports: [{containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}]}]}}
"#,
        expect![
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn a_toleration_opens_a_tainted_node() {
    check(
        r#"
nodes:
- {metadata: {name: a}, spec: {taints: [{key: k, value: v, effect: NoSchedule}]}, status: {allocatable: {pods: "110"}}}
pod: {metadata: {name: q}, spec: {tolerations: [{key: k, operator: Equal, value: v, effect: NoSchedule}], containers: []}}
"#,
        expect!["a"],
    );
}

#[test]
fn init_containers_count_by_their_largest_moment() {
    check(
        r#"
nodes:
- {metadata: {name: a}, status: {allocatable: {cpu: "2", memory: 4Gi, pods: "110"}}}
pod:
  metadata: {name: q}
  spec:
    initContainers:
    - {name: sidecar, restartPolicy: Always, resources: {requests: {cpu: 500m}}}
    - {name: i, resources: {requests: {cpu: "2"}}}
    containers: [{name: c, resources: {requests: {cpu: "1"}}}]
"#,
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn an_affinity_to_names_asks_only_those() {
    let nodes = r#"
nodes:
- {metadata: {name: a}, status: {allocatable: {pods: "110"}}}
- {metadata: {name: b}, spec: {unschedulable: true}, status: {allocatable: {pods: "110"}}}
- {metadata: {name: c}, status: {allocatable: {pods: "110"}}}
"#;
    let case = |field: &str| {
        let terms = format!("nodeSelectorTerms: [{{matchFields: [{field}]}}]");
        let affinity = format!("nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{{terms}}}}}");
        format!("{nodes}\npod: {{metadata: {{name: q}}, spec: {{containers: [], affinity: {{{affinity}}}}}}}")
    };
    check(&case("{key: metadata.name, operator: In, values: [c]}"), expect!["c"]);
    check(
        &case("{key: metadata.name, operator: In, values: [b]}"),
        expect![
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
    check(
        &case("{key: metadata.name, operator: In, values: [b]}, {key: metadata.name, operator: In, values: [c]}"),
        expect![
            "0/3 nodes are available: pod affinity terms conflict. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn several_reasons_of_one_node_are_counted_each() {
    check(
        r#"
nodes:
- {metadata: {name: a}, status: {allocatable: {cpu: "1", memory: 1Gi, pods: "1"}}}
placed:
- {metadata: {name: p}, spec: {nodeName: a, containers: [{name: c, resources: {requests: {cpu: 900m}}}]}}
pod: {metadata: {name: q}, spec: {containers: [{name: c, resources: {requests: {cpu: 500m, memory: 2Gi, example.com/gpu: "1"}}}]}}
"#,
        expect![
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/gpu, 1 Insufficient memory, 1 Too many pods. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn taints_are_told_apart_by_key_value_and_effect() {
    let case = |tolerations: &str| {
        format!(
            "nodes:\n- {{metadata: {{name: a}}, spec: {{taints: [{{key: k, value: '5', effect: NoExecute}}]}}, status: {{allocatable: {{pods: '9'}}}}}}\n\
             pod: {{metadata: {{name: q}}, spec: {{containers: [], tolerations: [{tolerations}]}}}}"
        )
    };
    let kept_away = || {
        expect![
            "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ]
    };
    check(&case("{key: k, operator: Exists}"), expect!["a"]);
    check(&case("{operator: Exists}"), expect!["a"]);
    check(&case("{key: k, value: '5'}"), expect!["a"]);
    // Comparing numbers is a feature that is off.
    check(&case("{key: k, operator: Gt, value: '4'}"), kept_away());
    check(&case("{key: k, operator: Exists, effect: NoSchedule}"), kept_away());
    check(&case("{key: k, value: '6'}"), kept_away());
}
