//! Pods near others and away from them.

use super::check;
use expect_test::expect;

const NODES: &str = r#"
nodes:
- {metadata: {name: a, labels: {zone: one, host: a}}, status: {allocatable: {pods: "110"}}}
- {metadata: {name: b, labels: {zone: one, host: b}}, status: {allocatable: {pods: "110"}}}
- {metadata: {name: x, labels: {zone: two, host: x}}, status: {allocatable: {pods: "110"}}}
"#;

fn required(kind: &str, terms: &str) -> String {
    format!("affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: [{terms}]}}}}")
}

fn preferred(kind: &str, weight: u8, term: &str) -> String {
    format!(
        "affinity: {{{kind}: {{preferredDuringSchedulingIgnoredDuringExecution: [{{weight: {weight}, podAffinityTerm: {term}}}]}}}}"
    )
}

fn pod(key: &str, name: &str, namespace: &str, labels: &str, spec: &str) -> String {
    format!(
        "{key} {{metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}, spec: {{containers: [], {spec}}}}}\n"
    )
}

const WEB_ZONE: &str = "{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}";

#[test]
fn affinity_follows_and_starts_with_itself() {
    let follower = |labels: &str| pod("pod:", "q", "n", labels, &required("podAffinity", WEB_ZONE));
    let other = format!("placed:\n{}", pod("-", "p", "n", "app: web", "nodeName: x"));
    check(&format!("{NODES}{other}{}", follower("app: db")), expect!["x"]);
    check(
        &format!("{NODES}{}", follower("app: db")),
        expect![
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
    check(&format!("{NODES}{}", follower("app: web")), expect!["a"]);
}

#[test]
fn several_terms_want_one_pod_that_meets_all() {
    let terms = "{topologyKey: zone, labelSelector: {matchLabels: {app: web}}}, {topologyKey: host, labelSelector: {matchLabels: {tier: front}}}";
    let seeker = pod("pod:", "q", "n", "app: db", &required("podAffinity", terms));
    let two = format!(
        "placed:\n{}{}",
        pod("-", "p", "n", "app: web", "nodeName: a"),
        pod("-", "r", "n", "tier: front", "nodeName: b")
    );
    check(
        &format!("{NODES}{two}{seeker}"),
        expect![
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
    let one = format!("placed:\n{}", pod("-", "p", "n", "app: web, tier: front", "nodeName: b"));
    check(&format!("{NODES}{one}{seeker}"), expect!["b"]);
}

#[test]
fn anti_affinity_holds_both_ways() {
    let hater = pod("pod:", "q", "n", "app: web", &required("podAntiAffinity", WEB_ZONE));
    let plain = format!("placed:\n{}", pod("-", "p", "n", "app: web", "nodeName: a"));
    check(&format!("{NODES}{plain}{hater}"), expect!["x"]);
    let held = format!(
        "placed:\n{}",
        pod("-", "p", "n", "app: db", &format!("nodeName: a, {}", required("podAntiAffinity", WEB_ZONE)))
    );
    check(&format!("{NODES}{held}{}", pod("pod:", "q", "n", "app: web", "")), expect!["x"]);
    let everywhere = format!("{held}{}", pod("-", "r", "n", "app: web", "nodeName: x"));
    check(
        &format!("{NODES}{everywhere}{hater}"),
        expect![
            "0/3 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 2 node(s) didn't satisfy existing pods anti-affinity rules. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn a_term_looks_into_namespaces_by_name_and_by_label() {
    let namespaces =
        "namespaces:\n- {metadata: {name: n, labels: {team: mine}}}\n- {metadata: {name: m, labels: {team: theirs}}}\n";
    let others = format!(
        "placed:\n{}{}",
        pod("-", "p", "m", "app: web", "nodeName: a"),
        pod("-", "r", "n", "app: web", "nodeName: x")
    );
    let seeker = |scope: &str| {
        let term = format!("{{topologyKey: host, labelSelector: {{matchLabels: {{app: web}}}}, {scope}}}");
        format!("{NODES}{namespaces}{others}{}", pod("pod:", "q", "n", "app: db", &required("podAffinity", &term)))
    };
    check(&seeker("namespaces: []"), expect!["x"]);
    check(&seeker("namespaces: [m]"), expect!["a"]);
    check(&seeker("namespaceSelector: {matchLabels: {team: theirs}}"), expect!["a"]);
    check(
        &seeker("namespaceSelector: {matchLabels: {team: nobody}}"),
        expect![
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn preferences_rank_in_both_directions() {
    let others = format!("placed:\n{}", pod("-", "p", "n", "app: web", "nodeName: x"));
    check(
        &format!("{NODES}{others}{}", pod("pod:", "q", "n", "app: db", &preferred("podAffinity", 50, WEB_ZONE))),
        expect!["x"],
    );
    let near = format!("placed:\n{}", pod("-", "p", "n", "app: web", "nodeName: b"));
    check(
        &format!("{NODES}{near}{}", pod("pod:", "q", "n", "app: db", &preferred("podAntiAffinity", 50, WEB_ZONE))),
        expect!["x"],
    );
    let wanted = format!(
        "placed:\n{}",
        pod("-", "p", "n", "app: db", &format!("nodeName: x, {}", preferred("podAffinity", 50, WEB_ZONE)))
    );
    check(&format!("{NODES}{wanted}{}", pod("pod:", "q", "n", "app: web", "")), expect!["x"]);
}
