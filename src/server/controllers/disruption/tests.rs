use super::plan::{Expected, Observed, needs_scale, plan};
use crate::common::fixtures::{noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use mk8s_client::pod::Pod;
use std::{fmt::Write, sync::Arc};

fn budget(spec: &str, status: &str) -> String {
    format!(
        "kind: PodDisruptionBudget\nmetadata: {{name: b, namespace: n, generation: 2}}\nspec: {{{spec}}}\nstatus: {{{status}}}\n"
    )
}

fn pods(ready: i32, unready: i32) -> String {
    let pod = |n: i32| {
        let status = if n < ready { "True" } else { "False" };
        format!(
            "---\nkind: Pod\nmetadata: {{name: p{n}, namespace: n}}\nstatus: {{phase: Running, conditions: [{{type: Ready, status: \"{status}\"}}]}}\n"
        )
    };
    (0..ready + unready).map(pod).collect()
}

fn check(budget: &str, pods: &str, expected_pods: Result<i32, &str>, expected: Expect) {
    let observed = Observed {
        budget: Arc::new(one::<PodDisruptionBudget>(budget)),
        pods: shared::<Pod>(pods),
        expected: expected_pods.map(|pods| Expected { pods, ..Expected::default() }).map_err(str::to_owned),
    };
    let plan = plan(noon(), &observed);
    let mut text = String::new();
    if let Some(status) = plan.status {
        let n = |count: Option<i32>| count.unwrap_or_default();
        let (healthy, desired) = (n(status.current_healthy), n(status.desired_healthy));
        writeln!(
            text,
            "healthy {healthy} of {desired}, expected {}, allowed {}",
            n(status.expected_pods),
            n(status.disruptions_allowed)
        )
        .expect("text");
        for name in status.disrupted_pods.iter().flat_map(|disrupted| disrupted.keys()) {
            writeln!(text, "disrupted {name}").expect("text");
        }
        for known in status.conditions.iter().flatten() {
            writeln!(text, "{}={} {} {}", known.type_, known.status, known.reason, known.message).expect("text");
        }
    }
    plan.not_deleted.iter().for_each(|pod| writeln!(text, "not deleted {pod}").expect("text"));
    plan.look_again.iter().for_each(|wait| writeln!(text, "look again in {wait:?}").expect("text"));
    expected.assert_eq(&text);
}

#[test]
fn what_is_not_needed_may_go() {
    check(
        &budget("minAvailable: 2", ""),
        &pods(3, 0),
        Ok(3),
        expect![[r#"
        healthy 3 of 2, expected 3, allowed 1
        DisruptionAllowed=True SufficientPods 
    "#]],
    );
    check(
        &budget("minAvailable: 2", ""),
        &pods(2, 1),
        Ok(3),
        expect![[r#"
        healthy 2 of 2, expected 3, allowed 0
        DisruptionAllowed=False InsufficientPods 
    "#]],
    );
    check(
        &budget("minAvailable: \"50%\"", ""),
        &pods(3, 0),
        Ok(5),
        expect![[r#"
        healthy 3 of 3, expected 5, allowed 0
        DisruptionAllowed=False InsufficientPods 
    "#]],
    );
    check(
        &budget("maxUnavailable: 1", ""),
        &pods(3, 0),
        Ok(3),
        expect![[r#"
        healthy 3 of 2, expected 3, allowed 1
        DisruptionAllowed=True SufficientPods 
    "#]],
    );
    check(
        &budget("maxUnavailable: \"34%\"", ""),
        &pods(3, 0),
        Ok(3),
        expect![[r#"
        healthy 3 of 1, expected 3, allowed 2
        DisruptionAllowed=True SufficientPods 
    "#]],
    );
    check(
        &budget("maxUnavailable: 5", ""),
        &pods(0, 0),
        Ok(0),
        expect![[r#"
        healthy 0 of 0, expected 0, allowed 0
        DisruptionAllowed=False InsufficientPods 
    "#]],
    );
}

#[test]
fn evicted_pods_do_not_count_until_they_are_given_up() {
    let evicted =
        "disruptedPods: {p0: \"2026-01-01T11:59:00Z\", p1: \"2026-01-01T11:50:00Z\", gone: \"2026-01-01T11:59:30Z\"}";
    check(
        &budget("minAvailable: 1", evicted),
        &pods(3, 0),
        Ok(3),
        expect![[r#"
        healthy 2 of 1, expected 3, allowed 1
        disrupted p0
        DisruptionAllowed=True SufficientPods 
        not deleted p1
        look again in 60s
    "#]],
    );
}

#[test]
fn what_cannot_be_counted_allows_nothing() {
    check(
        &budget("maxUnavailable: 1", "disruptionsAllowed: 2"),
        &pods(3, 0),
        Err("found no controllers for pod \"p0\""),
        expect![[r#"
        healthy 0 of 0, expected 0, allowed 0
        DisruptionAllowed=False SyncFailed found no controllers for pod "p0"
    "#]],
    );
}

#[test]
fn shares_need_to_know_what_is_expected() {
    let table = [
        ("minAvailable: 1", false),
        ("minAvailable: \"10%\"", true),
        ("maxUnavailable: 1", true),
        ("selector: {}", false),
    ];
    for (spec, expected) in table {
        assert_eq!(needs_scale(&one(&budget(spec, ""))), expected, "{spec}");
    }
}
