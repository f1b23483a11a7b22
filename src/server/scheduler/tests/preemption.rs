//! Who goes so that a more important pod can come.

use super::check;
use expect_test::expect;

fn node(name: &str) -> String {
    format!(
        "- {{metadata: {{name: {name}, labels: {{host: {name}, zone: z}}}}, status: {{allocatable: {{cpu: '4', memory: 8Gi, pods: '110'}}}}}}\n"
    )
}

/// A pod of two CPUs unless said otherwise.
fn victim(name: &str, node: &str, priority: i32, cpu: &str, further: &str) -> String {
    format!(
        "- {{metadata: {{name: {name}, namespace: n, labels: {{app: {name}}}}}, spec: {{nodeName: {node}, priority: {priority}, containers: [{{name: c, resources: {{requests: {{cpu: '{cpu}'}}}}}}]}}{further}}}\n"
    )
}

fn preemptor(cpu: &str, further: &str) -> String {
    format!(
        "pod: {{metadata: {{name: q, namespace: n}}, spec: {{priority: 100, containers: [{{name: c, resources: {{requests: {{cpu: '{cpu}'}}}}}}]{further}}}}}\n"
    )
}

fn started(time: &str) -> String {
    format!(", status: {{startTime: '{time}'}}")
}

#[test]
fn as_few_and_as_unimportant_as_possible_go() {
    let cluster = format!(
        "nodes:\n{}placed:\n{}{}{}",
        node("a"),
        victim("low", "a", 1, "2", ""),
        victim("lower", "a", 0, "1", ""),
        victim("lowest", "a", -1, "1", ""),
    );
    check(&format!("{cluster}{}", preemptor("1", "")), expect!["evict lowest on a"]);
    check(&format!("{cluster}{}", preemptor("2", "")), expect!["evict lower, lowest on a"]);
    check(&format!("{cluster}{}", preemptor("4", "")), expect!["evict low, lower, lowest on a"]);
}

#[test]
fn nobody_of_the_same_priority_goes() {
    let cluster = format!("nodes:\n{}placed:\n{}", node("a"), victim("peer", "a", 100, "4", ""));
    check(
        &format!("{cluster}{}", preemptor("1", "")),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    let mixed = format!(
        "nodes:\n{}placed:\n{}{}",
        node("a"),
        victim("peer", "a", 100, "3", ""),
        victim("low", "a", 0, "1", "")
    );
    check(
        &format!("{mixed}{}", preemptor("2", "")),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Insufficient cpu."
        ],
    );
}

#[test]
fn who_may_not_preempt_says_so() {
    let cluster = format!("nodes:\n{}placed:\n{}", node("a"), victim("low", "a", 0, "4", ""));
    check(
        &format!("{cluster}{}", preemptor("1", ", preemptionPolicy: Never")),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
        ],
    );
    let ending = "- {metadata: {name: low, namespace: n, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {nodeName: a, priority: 0, containers: [{name: c, resources: {requests: {cpu: '4'}}}]}, status: {conditions: [{type: DisruptionTarget, status: 'True', reason: PreemptionByScheduler}]}}\n";
    let waits = "pod: {metadata: {name: q, namespace: n}, spec: {priority: 100, containers: [{name: c, resources: {requests: {cpu: '1'}}}]}, status: {nominatedNodeName: a}}\n";
    check(
        &format!("nodes:\n{}{}placed:\n{ending}{}{waits}", node("a"), node("b"), victim("other", "b", 0, "4", "")),
        expect![
            "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to a terminating pod on the nominated node."
        ],
    );
}

#[test]
fn the_cheapest_node_is_chosen() {
    let two = |a: String, b: String| format!("nodes:\n{}{}placed:\n{a}{b}{}", node("a"), node("b"), preemptor("4", ""));
    // The lowest highest priority.
    check(&two(victim("p", "a", 5, "4", ""), victim("r", "b", 4, "4", "")), expect!["evict r on b"]);
    // The smallest sum of priorities.
    check(
        &two(
            victim("p", "a", 5, "2", "") + &victim("q1", "a", 5, "2", ""),
            victim("r", "b", 5, "2", "") + &victim("s", "b", 4, "2", ""),
        ),
        expect!["evict r, s on b"],
    );
    // The fewest victims, with negative priorities, too.
    check(
        &two(victim("p", "a", -5, "2", "") + &victim("q1", "a", -5, "2", ""), victim("r", "b", -5, "4", "")),
        expect!["evict r on b"],
    );
    // Who started last.
    check(
        &two(
            victim("p", "a", 5, "4", &started("2026-01-01T00:00:00Z")),
            victim("r", "b", 5, "4", &started("2026-01-02T00:00:00Z")),
        ),
        expect!["evict r on b"],
    );
}

#[test]
fn budgets_are_kept_where_possible() {
    let budget = "budgets:\n- {metadata: {name: guard, namespace: n}, spec: {selector: {matchLabels: {app: p}}}, status: {disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1}}\n";
    let cluster = format!(
        "nodes:\n{}{}placed:\n{}{}",
        node("a"),
        node("b"),
        victim("p", "a", 0, "4", ""),
        victim("r", "b", 5, "4", "")
    );
    check(&format!("{budget}{cluster}{}", preemptor("4", "")), expect!["evict r on b"]);
    let only =
        format!("nodes:\n{}placed:\n{}{}", node("a"), victim("p", "a", 0, "2", ""), victim("r", "a", 5, "2", ""));
    check(&format!("{budget}{only}{}", preemptor("2", "")), expect!["evict r on a"]);
    check(&format!("{budget}{only}{}", preemptor("4", "")), expect!["evict r, p on a"]);
    let spent =
        budget.replace("disruptionsAllowed: 0", "disruptionsAllowed: 0, disruptedPods: {p: '2026-01-01T00:00:00Z'}");
    check(&format!("{spent}{only}{}", preemptor("2", "")), expect!["evict p on a"]);
}

#[test]
fn room_that_is_kept_is_not_given_away() {
    let nominated = "nominated:\n- {metadata: {name: waits, namespace: n}, spec: {priority: 200, containers: [{name: c, resources: {requests: {cpu: '3'}}}]}, status: {nominatedNodeName: a}}\n";
    check(
        &format!("nodes:\n{}{nominated}{}", node("a"), preemptor("2", "")),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    check(&format!("nodes:\n{}{}{nominated}{}", node("a"), node("b"), preemptor("2", "")), expect!["b"]);
    let lesser = nominated.replace("200", "50");
    check(&format!("nodes:\n{}{lesser}{}", node("a"), preemptor("2", "")), expect!["a"]);
}

#[test]
fn victims_are_found_for_ports_spread_and_anti_affinity() {
    let port = "ports: [{containerPort: 80, hostPort: 80}]";
    check(
        &format!(
            "nodes:\n{}placed:\n- {{metadata: {{name: p, namespace: n}}, spec: {{nodeName: a, containers: [{{name: c, {port}}}]}}}}\npod: {{metadata: {{name: q, namespace: n}}, spec: {{priority: 1, containers: [{{name: c, {port}}}]}}}}",
            node("a")
        ),
        expect!["evict p on a"],
    );
    let against = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: host, labelSelector: {matchLabels: {app: p}}}]}}";
    check(
        &format!(
            "nodes:\n{}placed:\n{}pod: {{metadata: {{name: q, namespace: n}}, spec: {{priority: 1, containers: [], {against}}}}}",
            node("a"),
            victim("p", "a", 0, "1", "")
        ),
        expect!["evict p on a"],
    );
    check(
        &format!(
            "nodes:\n{}placed:\n- {{metadata: {{name: p, namespace: n}}, spec: {{nodeName: a, containers: [], {against}}}}}\npod: {{metadata: {{name: q, namespace: n, labels: {{app: p}}}}, spec: {{priority: 1, containers: []}}}}",
            node("a")
        ),
        expect!["evict p on a"],
    );
    let spread = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: host, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchExpressions: [{key: app, operator: Exists}]}}]";
    let cordoned = node("b").replace("status:", "spec: {unschedulable: true}, status:");
    check(
        &format!(
            "nodes:\n{}{cordoned}placed:\n{}pod: {{metadata: {{name: q, namespace: n, labels: {{app: q}}}}, spec: {{priority: 1, containers: [], {spread}}}}}",
            node("a"),
            victim("p", "a", 0, "1", "")
        ),
        expect!["evict p on a"],
    );
}
