use super::plan::{Observed, plan};
use crate::common::fixtures::{noon, one};
use expect_test::{Expect, expect};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Node;
use std::{sync::Arc, time::Duration};

fn check(node: &str, silent_seconds: i64, any_ready: bool, expected: Expect) {
    check_turn(node, silent_seconds, any_ready, true, expected);
}

fn check_turn(node: &str, silent_seconds: i64, any_ready: bool, has_turn: bool, expected: Expect) {
    let observed = Observed {
        node: Arc::new(one::<Node>(node)),
        last_sign: noon() - SignedDuration::from_secs(silent_seconds),
        any_ready,
        has_turn,
        grace: Duration::from_secs(40),
    };
    let plan = plan(noon(), &observed);
    let mut text = String::new();
    for condition in plan.status.iter().flat_map(|status| status.conditions.iter().flatten()) {
        text += &format!("{}={} {}\n", condition.type_, condition.status, condition.reason.as_deref().unwrap_or(""));
    }
    match plan.taints {
        None => text += "taints stay\n",
        Some(taints) => {
            text += "taints:";
            taints.iter().for_each(|taint| text += &format!(" {}:{}", taint.key, taint.effect));
            text += "\n";
        }
    }
    if plan.waits_for_turn {
        text += "waits for its turn\n";
    }
    text += &format!("look again {:?}\n", plan.look_again);
    expected.assert_eq(&text);
}

fn node(ready: &str, more: &str, spec: &str) -> String {
    format!(
        "kind: Node\nmetadata: {{name: n1, creationTimestamp: \"2026-01-01T11:00:00Z\"}}\nspec: {{{spec}}}\n\
         status: {{conditions: [{{type: Ready, status: \"{ready}\"}}{more}]}}\n"
    )
}

#[test]
fn a_node_that_reports_is_left_alone() {
    check(
        &node("True", "", ""),
        10,
        true,
        expect![[r#"
        taints stay
        look again Some(30.01s)
    "#]],
    );
}

#[test]
fn a_silent_node_is_unknown_and_unreachable() {
    let memory = ", {type: MemoryPressure, status: \"False\"}, {type: NetworkUnavailable, status: \"False\"}";
    check(
        &node("True", memory, "taints: [{key: mine, effect: NoSchedule}]"),
        41,
        true,
        expect![[r#"
        Ready=Unknown NodeStatusUnknown
        MemoryPressure=Unknown NodeStatusUnknown
        NetworkUnavailable=False 
        DiskPressure=Unknown NodeStatusNeverUpdated
        PIDPressure=Unknown NodeStatusNeverUpdated
        taints: mine:NoSchedule node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute
        look again None
    "#]],
    );
}

#[test]
fn with_no_node_ready_nothing_is_evicted() {
    let tainted = "taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute}]";
    check(
        &node("False", "", tainted),
        1,
        false,
        expect![[r#"
        taints: node.kubernetes.io/not-ready:NoSchedule
        look again Some(39.01s)
    "#]],
    );
}

#[test]
fn conditions_and_cordons_show_as_taints() {
    let pressure = ", {type: DiskPressure, status: \"True\"}";
    let spec = "unschedulable: true, taints: [{key: node.kubernetes.io/not-ready, effect: NoSchedule}]";
    check(
        &node("True", pressure, spec),
        1,
        true,
        expect![[r#"
        taints: node.kubernetes.io/disk-pressure:NoSchedule node.kubernetes.io/unschedulable:NoSchedule
        look again Some(39.01s)
    "#]],
    );
}

#[test]
fn a_node_that_never_reported_gets_a_minute() {
    let bare = "kind: Node\nmetadata: {name: n1}\n";
    check(
        bare,
        50,
        true,
        expect![[r#"
        taints stay
        look again Some(10.01s)
    "#]],
    );
}

#[test]
fn pods_stay_until_it_is_their_nodes_turn() {
    check_turn(
        &node("False", "", ""),
        1,
        true,
        false,
        expect![[r#"
        taints: node.kubernetes.io/not-ready:NoSchedule
        waits for its turn
        look again Some(39.01s)
    "#]],
    );
    // Pods that were sent away are not called back because the reason is another one.
    check_turn(
        &node("Unknown", "", "taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute}]"),
        1,
        true,
        false,
        expect![[r#"
        taints: node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute
        look again Some(39.01s)
    "#]],
    );
}
