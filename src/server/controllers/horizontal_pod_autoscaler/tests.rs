use super::{
    behaviour::Memory,
    calculate::{Reading, Readings},
    metrics::of_resource,
    plan::{Answer, Observed, Scale, needs_metrics, plan},
};
use crate::common::fixtures::{noon, one, shared};
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use mk8s_client::pod::Pod;
use serde_json::json;
use std::{fmt::Write, sync::Arc};

fn autoscaler(spec: &str) -> String {
    format!(
        "kind: HorizontalPodAutoscaler\nmetadata: {{name: h, namespace: n, generation: 1}}\nspec:\n  scaleTargetRef: {{kind: Deployment, name: d}}\n  \
         minReplicas: 2\n  maxReplicas: 10\n  {spec}\n"
    )
}

const CPU: &str =
    "metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]";

fn pod(name: &str, phase: &str, ready: bool) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        "---\nkind: Pod\nmetadata: {{name: {name}, namespace: n}}\nspec: {{containers: [{{name: c, resources: {{requests: {{cpu: 100m}}}}}}]}}\n\
         status: {{phase: {phase}, startTime: \"2026-01-01T10:00:00Z\", conditions: [{{type: Ready, status: \"{ready}\", lastTransitionTime: \"2026-01-01T10:00:05Z\"}}]}}\n"
    )
}

fn readings(milli: &[(&str, i64)]) -> Result<Answer, String> {
    let reading = |milli| Reading { milli, at: noon(), window: SignedDuration::from_secs(60) };
    let readings: Readings = milli.iter().map(|(name, milli)| ((*name).to_owned(), reading(*milli))).collect();
    Ok(Answer::Pods(readings))
}

fn observe(autoscaler: &str, replicas: i32, pods: &str, answers: Vec<Result<Answer, String>>) -> Observed {
    Observed {
        autoscaler: Arc::new(one::<HorizontalPodAutoscaler>(autoscaler)),
        scale: Scale { spec_replicas: replicas, status_replicas: replicas, selector: "app=d".into() },
        pods: shared::<Pod>(pods),
        rivals: Vec::new(),
        answers,
    }
}

fn check_at(now: Timestamp, memory: &mut Memory, observed: &Observed, expected: Expect) {
    let plan = plan(now, observed, memory);
    let mut text = String::new();
    match &plan.rescale {
        Some((replicas, why)) => writeln!(text, "rescale to {replicas}: {why}").expect("text"),
        None => writeln!(text, "desired {}", plan.status.desired_replicas).expect("text"),
    }
    for known in plan.status.conditions.iter().flatten() {
        let (reason, message) = (known.reason.clone().unwrap_or_default(), known.message.clone().unwrap_or_default());
        writeln!(text, "{}={} {reason}: {message}", known.type_, known.status).expect("text");
    }
    plan.events.iter().for_each(|(_, reason, message)| writeln!(text, "event {reason}: {message}").expect("text"));
    expected.assert_eq(&text);
}

fn check(observed: &Observed, expected: Expect) {
    check_at(noon(), &mut Memory::default(), observed, expected);
}

fn running(count: usize) -> String {
    (0..count).map(|n| pod(&format!("p{n}"), "Running", true)).collect()
}

#[test]
fn more_use_asks_for_more_replicas() {
    let spec = autoscaler(CPU);
    check(
        &observe(&spec, 2, &running(2), vec![readings(&[("p0", 90), ("p1", 90)])]),
        expect![[r#"
        rescale to 4: cpu resource utilization (percentage of request) above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
    "#]],
    );
    check(
        &observe(&spec, 2, &running(2), vec![readings(&[("p0", 54), ("p1", 54)])]),
        expect![[r#"
        desired 2
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
    "#]],
    );
    check(
        &observe(&spec, 3, &running(3), vec![readings(&[("p0", 500), ("p1", 500), ("p2", 500)])]),
        expect![[r#"
        rescale to 6: cpu resource utilization (percentage of request) above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate
    "#]],
    );
    // A pod that is not ready, and one without a reading, make the change smaller.
    let some = running(2) + &pod("p2", "Pending", false);
    check(
        &observe(&spec, 3, &some, vec![readings(&[("p0", 90), ("p1", 90)])]),
        expect![[r#"
        rescale to 4: cpu resource utilization (percentage of request) above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
    "#]],
    );
    check(
        &observe(&spec, 3, &running(3), vec![readings(&[("p0", 90), ("p1", 90)])]),
        expect![[r#"
        rescale to 4: cpu resource utilization (percentage of request) above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
    "#]],
    );
}

#[test]
fn bounds_come_before_metrics() {
    check(
        &observe(&autoscaler(CPU), 12, "", vec![]),
        expect![[r#"
        rescale to 10: Current number of replicas above Spec.MaxReplicas
        AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale
    "#]],
    );
    check(
        &observe(&autoscaler(CPU), 1, "", vec![]),
        expect![[r#"
        rescale to 2: Current number of replicas below Spec.MinReplicas
        AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale
    "#]],
    );
    check(
        &observe(&autoscaler(CPU), 0, "", vec![]),
        expect![[r#"
        desired 0
        AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale
        ScalingActive=False ScalingDisabled: scaling is disabled since the replica count of the target is zero
    "#]],
    );
    let scale = |spec_replicas| Scale { spec_replicas, ..Scale::default() };
    let spec = one(&autoscaler(CPU));
    assert_eq!(
        [0, 1, 2, 10, 11].map(|replicas| needs_metrics(&spec, &scale(replicas))),
        [false, false, true, true, false]
    );
}

/// Where nothing was measured, nothing is said of what was measured before.
#[test]
fn old_readings_are_not_told_again() {
    let known = "status: {currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageValue: 1}}}]}";
    let spec = format!("{}{known}\n", autoscaler(CPU));
    let mut ambiguous = observe(&spec, 3, &running(3), vec![]);
    ambiguous.rivals = vec!["n/h".to_owned(), "n/other".to_owned()];
    for observed in [observe(&spec, 12, "", vec![]), observe(&spec, 1, "", vec![]), ambiguous] {
        let plan = plan(noon(), &observed, &mut Memory::default());
        assert_eq!(plan.status.current_metrics, None, "{:?}", plan.status);
    }
    let read = observe(&spec, 2, &running(2), vec![readings(&[("p0", 50), ("p1", 50)])]);
    assert!(plan(noon(), &read, &mut Memory::default()).status.current_metrics.is_some());
}

#[test]
fn without_metrics_nothing_changes() {
    let why = "unable to fetch metrics from resource metrics API: the server could not find the requested resource";
    check(
        &observe(&autoscaler(CPU), 3, &running(3), vec![Err(why.into())]),
        expect![[r#"
        desired 0
        AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale
        ScalingActive=False FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource
        event FailedGetResourceMetric: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource
        event FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource
    "#]],
    );
    let unlimited = running(2).replace("cpu: 100m", "memory: 1Mi");
    check(
        &observe(&autoscaler(CPU), 2, &unlimited, vec![readings(&[("p0", 90), ("p1", 90)])]),
        expect![[r#"
        desired 0
        AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale
        ScalingActive=False FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in container c of Pod p0
        event FailedGetResourceMetric: failed to get cpu utilization: missing request for cpu in container c of Pod p0
        event FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: missing request for cpu in container c of Pod p0
    "#]],
    );
}

#[test]
fn all_kinds_of_metrics_are_understood() {
    let metrics = "metrics:\n  - {type: Pods, pods: {metric: {name: requests}, target: {type: AverageValue, averageValue: 10}}}\n  \
                   - {type: Object, object: {describedObject: {kind: Ingress, name: i}, metric: {name: hits}, target: {type: Value, value: 100}}}\n  \
                   - {type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: 30}}}\n  \
                   - {type: ContainerResource, containerResource: {name: cpu, container: c, target: {type: AverageValue, averageValue: 100m}}}";
    let answers = || {
        vec![
            readings(&[("p0", 10_000), ("p1", 10_000)]),
            Ok(Answer::Value(150_000)),
            Ok(Answer::Value(110_000)),
            readings(&[("p0", 100), ("p1", 100)]),
        ]
    };
    check(
        &observe(&autoscaler(metrics), 2, &running(2), answers()),
        expect![[r#"
        rescale to 4: external metric queue above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from external metric queue
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
    "#]],
    );
    // One that is not known does not keep the others from growing, only from shrinking.
    let mut some = answers();
    some[2] = Err("no metrics returned from external metrics API".into());
    check(
        &observe(&autoscaler(metrics), 2, &running(2), some.clone()),
        expect![[r#"
        rescale to 3: Ingress metric hits above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from Ingress metric hits
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
        event FailedGetExternalMetric: failed to get queue external metric: unable to get external metric queue: no metrics returned from external metrics API
    "#]],
    );
    check(
        &observe(&autoscaler(metrics), 9, &running(2), some),
        expect![[r#"
        desired 9
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from pods metric requests
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
        event FailedGetExternalMetric: failed to get queue external metric: unable to get external metric queue: no metrics returned from external metrics API
    "#]],
    );
}

#[test]
fn shrinking_waits_for_the_highest_recent_recommendation() {
    let spec = autoscaler(CPU);
    let idle = |replicas| observe(&spec, replicas, &running(2), vec![readings(&[("p0", 1), ("p1", 1)])]);
    let mut memory = Memory::default();
    check_at(
        noon(),
        &mut memory,
        &idle(6),
        expect![[r#"
        desired 6
        AbleToScale=True ScaleDownStabilized: recent recommendations were higher than current one, applying the highest recent recommendation
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
    "#]],
    );
    check_at(
        noon() + SignedDuration::from_secs(290),
        &mut memory,
        &idle(6),
        expect![[r#"
        desired 6
        AbleToScale=True ScaleDownStabilized: recent recommendations were higher than current one, applying the highest recent recommendation
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=False DesiredWithinRange: the desired count is within the acceptable range
    "#]],
    );
    check_at(
        noon() + SignedDuration::from_secs(301),
        &mut memory,
        &idle(6),
        expect![[r#"
        rescale to 2: All metrics below target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=True TooFewReplicas: the desired replica count is less than the minimum replica count
    "#]],
    );
}

#[test]
fn rules_limit_the_speed() {
    let rules = "behavior: {scaleUp: {stabilizationWindowSeconds: 0, selectPolicy: Max, policies: [{type: Pods, value: 1, periodSeconds: 60}]}, \
                 scaleDown: {stabilizationWindowSeconds: 0, selectPolicy: Max, policies: [{type: Percent, value: 50, periodSeconds: 60}]}}";
    let spec = autoscaler(&format!("{CPU}\n  {rules}"));
    let busy = |replicas| {
        observe(&spec, replicas, &running(4), vec![readings(&[("p0", 500), ("p1", 500), ("p2", 500), ("p3", 500)])])
    };
    let mut memory = Memory::default();
    check_at(
        noon(),
        &mut memory,
        &busy(4),
        expect![[r#"
        rescale to 5: cpu resource utilization (percentage of request) above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate
    "#]],
    );
    memory.changed(4, 5, noon());
    check_at(
        noon() + SignedDuration::from_secs(15),
        &mut memory,
        &busy(5),
        expect![[r#"
        desired 5
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate
    "#]],
    );
    check_at(
        noon() + SignedDuration::from_secs(61),
        &mut memory,
        &busy(5),
        expect![[r#"
        rescale to 6: cpu resource utilization (percentage of request) above target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate
    "#]],
    );
    let idle = observe(&spec, 8, &running(2), vec![readings(&[("p0", 1), ("p1", 1)])]);
    check_at(
        noon(),
        &mut Memory::default(),
        &idle,
        expect![[r#"
        rescale to 4: All metrics below target
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=True ScaleDownLimit: the desired replica count is decreasing faster than the maximum scale rate
    "#]],
    );
    let off = spec.replace("selectPolicy: Max", "selectPolicy: Disabled");
    check(
        &observe(&off, 4, &running(4), vec![readings(&[("p0", 500), ("p1", 500), ("p2", 500), ("p3", 500)])]),
        expect![[r#"
        desired 4
        AbleToScale=True ReadyForNewScale: recommended size matches current size
        ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)
        ScalingLimited=True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate
    "#]],
    );
}

#[test]
fn pods_of_several_autoscalers_are_no_ones() {
    let mut observed = observe(&autoscaler(CPU), 2, &running(2), vec![readings(&[("p0", 90), ("p1", 90)])]);
    observed.rivals = vec!["n/h".into(), "n/i".into()];
    check(
        &observed,
        expect![[r#"
        desired 0
        AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale
        ScalingActive=False AmbiguousSelector: pods by selector app=d are controlled by multiple HPAs: [n/h n/i]
        event AmbiguousSelector: pods by selector app=d are controlled by multiple HPAs: [n/h n/i]
        event FailedComputeMetricsReplicas: pods by selector app=d are controlled by multiple HPAs: [n/h n/i]
    "#]],
    );
    observed.scale.selector.clear();
    check(
        &observed,
        expect![[r#"
        desired 0
        AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale
        ScalingActive=False InvalidSelector: the HPA target's scale is missing a selector
        event SelectorRequired: selector is required
        event FailedComputeMetricsReplicas: selector is required
    "#]],
    );
}

#[test]
fn resource_readings_are_sums_of_containers() {
    let found = json!({"items": [
        {"metadata": {"name": "a"}, "timestamp": "2026-01-01T12:00:00Z", "window": "30s", "containers": [
            {"name": "c", "usage": {"cpu": "250m", "memory": "1Mi"}}, {"name": "d", "usage": {"cpu": "1"}}]},
        {"metadata": {"name": "b"}, "containers": [{"name": "c", "usage": {}}]},
    ]});
    let all = of_resource(&found, "n", "cpu", "").expect("readings");
    assert_eq!(all.iter().map(|(name, reading)| (name.as_str(), reading.milli)).collect::<Vec<_>>(), [("a", 1250)]);
    assert_eq!(all["a"].window, SignedDuration::from_secs(30));
    let missing = of_resource(&found, "n", "cpu", "d").expect_err("b has no d");
    assert_eq!(missing, "container d not present in metrics for pod n/b");
    assert_eq!(
        of_resource(&json!({}), "n", "cpu", ""),
        Err("no metrics returned from resource metrics API".to_owned())
    );
}
