//! Autoscalers led by leaders that die, and what holds whatever is measured: sizes stay within their bounds, and a target
//! shrinks only to what was recommended during the whole of its window.

use super::behaviour::Memory;
use crate::common::{
    fake::FakeApi,
    fixtures::{noon, one},
    succession::{Scene, check, play, with_inventory},
};
use expect_test::expect;
use jiff::SignedDuration;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use mk8s_api::at::list;
use proptest::prelude::*;
use serde_json::json;

const TARGET: &str = "
kind: HorizontalPodAutoscaler
metadata: {name: h, namespace: n}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}
  minReplicas: 2
  maxReplicas: 10
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
---
kind: Deployment
metadata: {name: d, namespace: n, uid: d}
spec: {replicas: 2, selector: {matchLabels: {app: d}}}
status: {replicas: 2}
---
kind: Widget
";

fn pods(count: usize, cpu: &str) -> String {
    let pod = |n: usize| {
        format!(
            "---\nkind: Pod\nmetadata: {{name: p{n}, namespace: n, labels: {{app: d}}}}\nspec: {{containers: [{{name: c, resources: {{requests: \
             {{cpu: 100m}}}}}}]}}\nstatus: {{phase: Running, startTime: \"2026-01-01T10:00:00Z\", conditions: [{{type: Ready, status: \
             \"True\", lastTransitionTime: \"2026-01-01T10:00:10Z\"}}]}}\n---\nkind: PodMetrics\nmetadata: {{name: p{n}, namespace: n, \
             labels: {{app: d}}}}\ntimestamp: \"2026-01-01T11:59:50Z\"\nwindow: 10s\ncontainers: [{{name: c, usage: {{cpu: {cpu}}}}}]\n"
        )
    };
    (0..count).map(pod).collect()
}

fn facts(api: &FakeApi) -> String {
    let mut facts = format!("{} replicas\n", api.all("Deployment")[0]["spec"]["replicas"]);
    for autoscaler in api.all("HorizontalPodAutoscaler") {
        let status = &autoscaler["status"];
        facts += &format!("current {}, desired {}\n", status["currentReplicas"], status["desiredReplicas"]);
        for condition in list(status, "conditions") {
            facts += &format!("{}={} {}\n", condition["type"], condition["status"], condition["reason"]);
        }
    }
    facts.replace('"', "")
}

fn scene(objects: String) -> Scene {
    Scene {
        // The Deployment's controller does as it is told; the pods that it makes are idle.
        others: |api, _| {
            let told = api.all("Deployment")[0]["spec"]["replicas"].clone();
            api.change("Deployment", |deployment| deployment["status"]["replicas"] = told.clone())
                | api.change("PodMetrics", |metrics| {
                    if told.as_i64() > Some(2) {
                        metrics["containers"][0]["usage"]["cpu"] = json!("50m");
                    }
                })
        },
        facts,
        ..Scene::new(|ctx| Box::pin(with_inventory(ctx, super::run)), objects)
    }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check(
        &scene([TARGET, &pods(2, "90m")].concat()),
        &expect![[r#"
        patch scale of Deployment d replicas
        update status of HorizontalPodAutoscaler h
        update status of HorizontalPodAutoscaler h
        update status of HorizontalPodAutoscaler h
    "#]],
        &expect![[r#"
        4 replicas
        current 4, desired 4
        AbleToScale=True ReadyForNewScale
        ScalingActive=True ValidMetricFound
        ScalingLimited=False DesiredWithinRange
    "#]],
    );
}

#[test]
fn what_is_missing_is_told_and_tried_again_in_peace() {
    let without_target = TARGET.replace("name: d}\n  minReplicas", "name: gone}\n  minReplicas");
    let unknown_kind = TARGET.replace("kind: Deployment, name: d}", "kind: Thing, name: d}");
    let unscaled = TARGET.replace("apps/v1, kind: Deployment, name: d}", "example.com/v1, kind: Widget, name: d}");
    let mut all = String::new();
    for objects in [TARGET.to_owned(), without_target, unknown_kind, unscaled] {
        let played = play(&scene(objects), || usize::MAX).expect("no hot loop");
        all += &format!("{}{}{} writes\n\n", facts(&played), played.said(), played.story().len());
    }
    expect![[r#"
        2 replicas
        current 2, desired 0
        AbleToScale=True SucceededGetScale
        ScalingActive=False FailedGetResourceMetric
        Warning FailedComputeMetricsReplicas HorizontalPodAutoscaler h: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API
        Warning FailedGetResourceMetric HorizontalPodAutoscaler h: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API
        1 writes

        2 replicas
        current null, desired 0
        AbleToScale=False FailedGetScale
        Warning FailedGetScale HorizontalPodAutoscaler h: deployments.apps "gone" not found
        1 writes

        2 replicas
        current null, desired 0
        AbleToScale=False FailedGetScale
        Warning FailedGetScale HorizontalPodAutoscaler h: no matches for kind "Thing" in group "apps"
        1 writes

        2 replicas
        current null, desired 0
        AbleToScale=False FailedGetScale
        Warning FailedGetScale HorizontalPodAutoscaler h: widgets.example.com "d" not found
        1 writes

    "#]].assert_eq(&all);
}

proptest! {
    /// Whatever is asked for when, and whatever was done in between.
    #[test]
    fn sizes_keep_to_their_rules(
        min in 1_i32..5,
        more in 0_i32..12,
        began in 0_i32..20,
        down in 0_i32..600,
        up in prop::option::of(0_i32..600),
        wishes in prop::collection::vec((0_i64..200, -2_i32..40), 1..40),
    ) {
        let max = min + more;
        let behavior = up.map_or(String::new(), |up| format!(
            "behavior: {{scaleUp: {{stabilizationWindowSeconds: {up}, selectPolicy: Max, policies: [{{type: Pods, value: 4, periodSeconds: 15}}, \
             {{type: Percent, value: 100, periodSeconds: 15}}]}}, scaleDown: {{stabilizationWindowSeconds: {down}, selectPolicy: Max, \
             policies: [{{type: Percent, value: 100, periodSeconds: 15}}]}}}}"
        ));
        let autoscaler: HorizontalPodAutoscaler = one(&format!(
            "kind: HorizontalPodAutoscaler\nmetadata: {{name: h}}\nspec:\n  scaleTargetRef: {{kind: Deployment, name: d}}\n  minReplicas: \
             {min}\n  maxReplicas: {max}\n  {behavior}"
        ));
        let spec = autoscaler.spec;
        let window = if up.is_some() { i64::from(down) } else { 300 };
        let (mut now, mut memory, mut current) = (noon(), Memory::default(), began.clamp(min, max));
        memory.begin(current, now);
        let mut wished = vec![(now, current)];
        for (pause, wish) in wishes {
            now += SignedDuration::from_secs(pause);
            let stabilized = memory.stabilize(&spec, current, wish, now).replicas;
            let size = memory.limit(&spec, current, stabilized, now).replicas;
            wished.push((now, wish));
            prop_assert!((min..=max).contains(&size), "{size} is not in {min}..={max}");
            let recent = wished.iter().filter(|(time, _)| now.duration_since(*time).as_secs() < window);
            let highest = recent.map(|(_, wish)| *wish).max().unwrap_or(wish).max(wish);
            prop_assert!(size >= current.min(highest).min(max), "{size} is fewer than {highest}, which was recommended lately");
            if size > current {
                let lowest = up.map_or(wish, |up| {
                    let recent = wished.iter().filter(|(time, _)| now.duration_since(*time).as_secs() < i64::from(up));
                    recent.map(|(_, wish)| *wish).min().unwrap_or(wish).min(wish)
                });
                let shrinks_less = highest.max(min);
                prop_assert!(size <= lowest.max(shrinks_less), "{size} is more than {lowest}, which was recommended lately");
            }
            if size != current {
                memory.changed(current, size, now);
                current = size;
            }
        }
    }
}
