//! The scheduler's decisions as tables: a cluster and a pod in YAML, the node or the message out.

use crate::{
    cycle::schedule, events::Events, plugins::default_profile, pod_facts::PodFacts, queue::Queue, snapshot::Snapshot,
};
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde::Deserialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    nodes: Vec<Node>,
    #[serde(default)]
    placed: Vec<Pod>,
    pod: Pod,
}

fn facts(mut pod: Pod) -> Arc<PodFacts> {
    pod.metadata.uid.get_or_insert_with(|| pod.metadata.name.clone().unwrap_or_default());
    Arc::new(PodFacts::of(Arc::new(pod)))
}

fn check(case: &str, expected: Expect) {
    let case: Case = serde_yaml::from_str(case).expect("the case is YAML");
    let mut snapshot = Snapshot::default();
    for node in case.nodes {
        snapshot.set_node(Arc::new(node));
    }
    for pod in case.placed {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).expect("a placed pod names its node");
        snapshot.place(&node, facts(pod));
    }
    let outcome = match schedule(&default_profile(), &facts(case.pod), &snapshot, 0) {
        Ok(node) => node,
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&outcome);
}

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
    check("{nodes: [], pod: {metadata: {name: q}, spec: {containers: []}}}", expect!["no nodes available to schedule pods"]);
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
        expect!["0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling."],
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
    check(&case("nodeSelector: {disk: tape}"), expect!["0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."]);
    let required = |e: &str| format!("affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{{matchExpressions: [{e}]}}]}}}}}}");
    check(&case(&required(r#"{key: size, operator: Gt, values: ["5"]}"#)), expect!["b"]);
    check(&case(&required(r#"{key: disk, operator: NotIn, values: [ssd]}"#)), expect!["a"]);
    check(&case(&required(r#"{key: disk, operator: DoesNotExist}"#)), expect!["0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."]);
    check(
        &case("affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 10, preference: {matchExpressions: [{key: disk, operator: In, values: [hdd]}]}}]}}"),
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
        expect!["0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."],
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
        expect!["0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."],
    );
}

fn pod(name: &str, priority: i32) -> Arc<PodFacts> {
    facts(serde_yaml::from_str(&format!("{{metadata: {{name: {name}}}, spec: {{priority: {priority}, containers: []}}}}")).expect("a pod"))
}

#[test]
fn the_queue_orders_backs_off_and_wakes() {
    let start = Instant::now();
    let at = |s: u64| start + Duration::from_secs(s);
    let mut queue = Queue::default();
    queue.add(pod("low", 0), at(0));
    queue.add(pod("high", 10), at(0));
    assert_eq!(queue.pop(at(0)).map(|p| p.uid.clone()).as_deref(), Some("high"));
    queue.failed("high", Events::POD_GONE, at(0));
    assert_eq!(queue.pop(at(0)).map(|p| p.uid.clone()).as_deref(), Some("low"));
    queue.remove("low");
    assert_eq!(queue.lengths(), (0, 0, 1));

    queue.notify(Events::NODE_LABELS, at(0));
    assert_eq!(queue.lengths(), (0, 0, 1), "labels do not help a pod that waits for room");
    queue.notify(Events::POD_GONE, at(0));
    assert_eq!(queue.lengths(), (0, 1, 0), "it helps, after the back-off");
    assert_eq!(queue.next_release(), Some(at(1)));
    assert!(queue.pop(at(0)).is_none());
    assert!(queue.pop(at(1)).is_some());

    queue.notify(Events::POD_GONE, at(1));
    queue.failed("high", Events::POD_GONE, at(1));
    assert_eq!(queue.lengths(), (0, 1, 0), "an event during the cycle counts");
    assert!(queue.pop(at(3)).is_some(), "the second back-off is two seconds");
    queue.failed("high", Events::POD_GONE, at(3));
    assert!(queue.pop(at(3 + 299)).is_none());
    assert!(queue.pop(at(3 + 300)).is_some(), "after five minutes it is tried in any case");
}
