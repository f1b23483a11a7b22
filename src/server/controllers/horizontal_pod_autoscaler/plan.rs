//! What size the target is to have, and what is said of it.

use super::{
    behaviour::Memory,
    calculate::{Found, Goal, Readings, Target, Tolerance, by_pods, by_share, by_value, requests},
};
use crate::common::updates::whole_second;
use jiff::Timestamp;
use k8s_openapi::{
    api::autoscaling::v2::{
        ContainerResourceMetricStatus, ExternalMetricStatus, HPAScalingRules, HorizontalPodAutoscaler,
        HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricTarget,
        MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
    },
    apimachinery::pkg::{api::resource::Quantity as Text, apis::meta::v1::Time},
};
use mk8s_api::quantity::Quantity;
use mk8s_client::{events::EventType, pod::Pod};
use std::{collections::BTreeMap, sync::Arc};

const TOLERANCE: f64 = 0.1;

/// What a metric's source had to say.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Pods(Readings),
    Value(i64),
}

/// The target as its `scale` shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Scale {
    pub(super) spec_replicas: i32,
    pub(super) status_replicas: i32,
    pub(super) selector: String,
}

pub(super) struct Observed {
    pub(super) autoscaler: Arc<HorizontalPodAutoscaler>,
    pub(super) scale: Scale,
    pub(super) pods: Vec<Arc<Pod>>,
    /// Other autoscalers whose targets have some of these pods.
    pub(super) rivals: Vec<String>,
    /// One for each metric of the spec.
    pub(super) answers: Vec<Result<Answer, String>>,
}

/// A reason and a message, with their type.
pub(super) type Report = (EventType, String, String);

#[derive(Debug)]
pub(super) struct Plan {
    /// The target's new size, and why.
    pub(super) rescale: Option<(i32, String)>,
    pub(super) status: HorizontalPodAutoscalerStatus,
    pub(super) events: Vec<Report>,
}

pub(super) fn put(
    status: &mut HorizontalPodAutoscalerStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let mut condition = HorizontalPodAutoscalerCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_transition_time: Some(whole_second(now)),
    };
    match conditions.iter_mut().find(|known| known.type_ == kind) {
        Some(known) => {
            if known.status == condition.status {
                condition.last_transition_time = known.last_transition_time.clone();
            }
            *known = condition;
        }
        None => conditions.push(condition),
    }
}

/// Whether metrics are needed to decide: not for a target that is off, or out of bounds.
pub(super) fn needs_metrics(autoscaler: &HorizontalPodAutoscaler, scale: &Scale) -> bool {
    let spec = &autoscaler.spec;
    let min = spec.min_replicas.unwrap_or(1);
    scale.spec_replicas != 0 && (min..=spec.max_replicas).contains(&scale.spec_replicas)
}

pub(super) fn plan(now: Timestamp, observed: &Observed, memory: &mut Memory) -> Plan {
    let autoscaler = observed.autoscaler.as_ref();
    let mut plan = Plan { rescale: None, status: autoscaler.status.clone().unwrap_or_default(), events: Vec::new() };
    let spec = &autoscaler.spec;
    let current = observed.scale.spec_replicas;
    let able = "the HPA controller was able to get the target's current scale";
    put(&mut plan.status, "AbleToScale", "True", "SucceededGetScale", able, now);
    plan.status.observed_generation = autoscaler.metadata.generation;
    plan.status.current_replicas = Some(current);
    // What was measured before says nothing of now.
    plan.status.current_metrics = None;
    memory.begin(current, now);
    let min = spec.min_replicas.unwrap_or(1);
    if current == 0 {
        let off = "scaling is disabled since the replica count of the target is zero";
        put(&mut plan.status, "ScalingActive", "False", "ScalingDisabled", off, now);
        plan.status.desired_replicas = 0;
        return plan;
    }
    if current > spec.max_replicas {
        plan.rescale = Some((spec.max_replicas, "Current number of replicas above Spec.MaxReplicas".to_owned()));
    } else if current < min {
        plan.rescale = Some((min, "Current number of replicas below Spec.MinReplicas".to_owned()));
    } else if let Some((wanted, metric)) = plan.by_metrics(now, observed) {
        let stable = memory.stabilize(spec, current, wanted, now);
        put(&mut plan.status, "AbleToScale", "True", stable.reason, stable.message, now);
        let limited = memory.limit(spec, current, stable.replicas, now);
        let is_limited = if limited.replicas == stable.replicas { "False" } else { "True" };
        put(&mut plan.status, "ScalingLimited", is_limited, limited.reason, limited.message, now);
        let why =
            if wanted > current { format!("{metric} above target") } else { "All metrics below target".to_owned() };
        plan.rescale = (limited.replicas != current).then_some((limited.replicas, why));
    } else {
        return plan;
    }
    plan.status.desired_replicas = plan.rescale.as_ref().map_or(current, |(replicas, _)| *replicas);
    plan
}

/// What the target's new size makes of the status.
pub(super) fn rescaled(status: &mut HorizontalPodAutoscalerStatus, replicas: i32, now: Timestamp) {
    let message = format!("the HPA controller was able to update the target scale to {replicas}");
    put(status, "AbleToScale", "True", "SucceededRescale", message, now);
    status.last_scale_time = Some(Time(whole_second(now).0));
}

impl Plan {
    fn tell(&mut self, reason: &str, message: &str) {
        self.events.push((EventType::Warning, reason.to_owned(), message.to_owned()));
    }

    /// The largest proposal and the metric it is from. A metric that is not known forbids only to shrink.
    fn by_metrics(&mut self, now: Timestamp, observed: &Observed) -> Option<(i32, String)> {
        let spec = &observed.autoscaler.spec;
        let current = observed.scale.spec_replicas;
        if let Some((event, message, reason, why)) = ambiguous(observed) {
            self.tell(event, &message);
            put(&mut self.status, "ScalingActive", "False", reason, why, now);
            self.tell("FailedComputeMetricsReplicas", &message);
            return None;
        }
        let target = Target {
            spec_replicas: current,
            status_replicas: observed.scale.status_replicas,
            pods: &observed.pods,
            tolerance: tolerance(observed),
            now,
        };
        let metrics = spec.metrics.as_deref().unwrap_or_default();
        let mut best = None::<(i32, String)>;
        let mut first = None::<(String, Problem)>;
        let (mut failed, mut statuses) = (0, Vec::new());
        for (metric, answer) in metrics.iter().zip(&observed.answers) {
            match propose(&target, metric, answer) {
                Ok(Proposal { replicas, name, status }) => {
                    statuses.push(status);
                    if best.as_ref().is_none_or(|(known, _)| *known == 0 || replicas > *known) {
                        best = Some((replicas, name));
                    }
                }
                Err(problem) => {
                    self.tell(problem.reason, &problem.message);
                    statuses.push(MetricStatus::default());
                    failed += 1;
                    first = first.or_else(|| Some((format!("{}: {}", problem.prefix, problem.message), problem)));
                }
            }
        }
        self.status.current_metrics = Some(statuses);
        let proposed = best.as_ref().map_or(0, |(replicas, _)| *replicas);
        if let Some((error, problem)) = first
            && (failed >= metrics.len() || proposed < current)
        {
            let message = format!("the HPA was unable to compute the replica count: {}", problem.message);
            put(&mut self.status, "ScalingActive", "False", problem.reason, message, now);
            let all = format!("invalid metrics ({failed} invalid out of {}), first error is: {error}", metrics.len());
            self.tell("FailedComputeMetricsReplicas", &all);
            return None;
        }
        let (replicas, name) = best?;
        let message = format!("the HPA was able to successfully calculate a replica count from {name}");
        put(&mut self.status, "ScalingActive", "True", "ValidMetricFound", message, now);
        Some((replicas, name))
    }
}

/// Event, its message, and the condition's reason and message, when it is not clear whose pods these are.
fn ambiguous(observed: &Observed) -> Option<(&'static str, String, &'static str, String)> {
    if observed.scale.selector.is_empty() {
        let why = "the HPA target's scale is missing a selector";
        return Some(("SelectorRequired", "selector is required".to_owned(), "InvalidSelector", why.to_owned()));
    }
    if observed.rivals.is_empty() {
        return None;
    }
    let selector = &observed.scale.selector;
    let message =
        format!("pods by selector {selector} are controlled by multiple HPAs: [{}]", observed.rivals.join(" "));
    Some(("AmbiguousSelector", message.clone(), "AmbiguousSelector", message))
}

fn tolerance(observed: &Observed) -> Tolerance {
    let behavior = observed.autoscaler.spec.behavior.as_ref();
    let of = |rules: Option<&HPAScalingRules>| {
        let text = rules.and_then(|rules| rules.tolerance.as_ref());
        text.and_then(|text| Quantity::parse(&text.0).ok()).map_or(TOLERANCE, Quantity::as_f64)
    };
    Tolerance {
        down: of(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        up: of(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
    }
}

struct Proposal {
    replicas: i32,
    name: String,
    status: MetricStatus,
}

struct Problem {
    reason: &'static str,
    prefix: String,
    message: String,
}

fn milli(text: &Text) -> i64 {
    Quantity::parse(&text.0).map(Quantity::millis).unwrap_or_default()
}

fn amount(milli: i64) -> Option<Text> {
    let text = Quantity::parse(&format!("{milli}m")).map_or_else(|_| format!("{milli}m"), |amount| amount.to_string());
    Some(Text(text))
}

fn propose(target: &Target<'_>, metric: &MetricSpec, answer: &Result<Answer, String>) -> Result<Proposal, Problem> {
    match (&metric.resource, &metric.container_resource, &metric.pods, &metric.object, &metric.external) {
        (Some(source), ..) => {
            let problem = |message| Problem {
                reason: "FailedGetResourceMetric",
                prefix: format!("failed to get {} resource metric value", source.name),
                message,
            };
            let (found, current, name) =
                of_resource(target, &source.name, "", &source.target, answer).map_err(problem)?;
            let resource = Some(ResourceMetricStatus { name: source.name.clone(), current });
            let status = MetricStatus { type_: metric.type_.clone(), resource, ..MetricStatus::default() };
            Ok(Proposal { replicas: found.replicas, name, status })
        }
        (_, Some(source), ..) => {
            let problem = |message| Problem {
                reason: "FailedGetContainerResourceMetric",
                prefix: format!("failed to get {} container metric value", source.container),
                message,
            };
            let found =
                of_resource(target, &source.name, &source.container, &source.target, answer).map_err(problem)?;
            let (found, current, name) = found;
            let (container, resource) = (source.container.clone(), source.name.clone());
            let container_resource = Some(ContainerResourceMetricStatus { name: resource, container, current });
            let status = MetricStatus { type_: metric.type_.clone(), container_resource, ..MetricStatus::default() };
            Ok(Proposal { replicas: found.replicas, name, status })
        }
        (_, _, Some(source), ..) => {
            let problem = |message| Problem {
                reason: "FailedGetPodsMetric",
                prefix: "failed to get pods metric value".to_owned(),
                message,
            };
            let goal = source.target.average_value.as_ref().map(milli).unwrap_or_default();
            let unknown = |why: &String| format!("unable to get metric {}: {why}", source.metric.name);
            let found = match answer {
                Ok(Answer::Pods(readings)) => {
                    by_pods(target, readings.clone(), Goal::Milli(goal), false, &BTreeMap::new())
                }
                Ok(Answer::Value(_)) => Err("no readings of pods".to_owned()),
                Err(why) => Err(unknown(why)),
            };
            let found = found.map_err(problem)?;
            let current = MetricValueStatus { average_value: amount(found.milli), ..MetricValueStatus::default() };
            let pods = Some(PodsMetricStatus { metric: source.metric.clone(), current });
            let status = MetricStatus { type_: metric.type_.clone(), pods, ..MetricStatus::default() };
            Ok(Proposal { replicas: found.replicas, name: format!("pods metric {}", source.metric.name), status })
        }
        (_, _, _, Some(source), _) => {
            let problem = |message| Problem {
                reason: "FailedGetObjectMetric",
                prefix: "failed to get object metric value".to_owned(),
                message,
            };
            let (kind, name) = (&source.described_object.kind, &source.metric.name);
            let unknown =
                |why: String| format!("unable to get metric {name}: {why} on {kind} {}", source.described_object.name);
            let neither = "invalid object metric source: neither a value target nor an average value target was set";
            let (found, current) = of_value(target, &source.target, answer, &unknown, neither).map_err(problem)?;
            let object = Some(ObjectMetricStatus {
                described_object: source.described_object.clone(),
                metric: source.metric.clone(),
                current,
            });
            let status = MetricStatus { type_: metric.type_.clone(), object, ..MetricStatus::default() };
            Ok(Proposal { replicas: found.replicas, name: format!("{kind} metric {name}"), status })
        }
        (_, _, _, _, Some(source)) => {
            let name = &source.metric.name;
            let problem = |message| Problem {
                reason: "FailedGetExternalMetric",
                prefix: format!("failed to get {name} external metric value"),
                message: format!("failed to get {name} external metric: {message}"),
            };
            let unknown = |why: String| format!("unable to get external metric {name}: {why}");
            let neither = "invalid external metric source: neither a value target nor an average value target was set";
            let (found, current) = of_value(target, &source.target, answer, &unknown, neither).map_err(problem)?;
            let external = Some(ExternalMetricStatus { metric: source.metric.clone(), current });
            let status = MetricStatus { type_: metric.type_.clone(), external, ..MetricStatus::default() };
            Ok(Proposal { replicas: found.replicas, name: format!("external metric {name}"), status })
        }
        _ => {
            let message = format!("unknown metric source type {:?}", metric.type_);
            Err(Problem { reason: "InvalidMetricSourceType", prefix: "failed to get metric value".to_owned(), message })
        }
    }
}

type OfResource = (Found, MetricValueStatus, String);

fn of_resource(
    target: &Target<'_>,
    resource: &str,
    container: &str,
    goal: &MetricTarget,
    answer: &Result<Answer, String>,
) -> Result<OfResource, String> {
    let (kind, goal) = match (&goal.average_value, goal.average_utilization) {
        (Some(value), _) => ("usage", Goal::Milli(milli(value))),
        (None, Some(percent)) => ("utilization", Goal::Percent(percent)),
        (None, None) => {
            let neither = "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set";
            return Err(neither.to_owned());
        }
    };
    let found = match answer {
        Ok(Answer::Pods(readings)) => match goal {
            Goal::Percent(_) => requests(target.pods, resource, container)
                .and_then(|requests| by_pods(target, readings.clone(), goal, resource == "cpu", &requests)),
            Goal::Milli(_) => by_pods(target, readings.clone(), goal, resource == "cpu", &BTreeMap::new()),
        },
        Ok(Answer::Value(_)) => Err("no readings of pods".to_owned()),
        Err(why) => Err(format!("unable to get metrics for resource {resource}: {why}")),
    };
    let found = found.map_err(|why| format!("failed to get {resource} {kind}: {why}"))?;
    let name = match (goal, container) {
        (Goal::Milli(_), _) => format!("{resource} resource"),
        (Goal::Percent(_), "") => format!("{resource} resource utilization (percentage of request)"),
        (Goal::Percent(_), _) => format!("{resource} container resource utilization (percentage of request)"),
    };
    let current =
        MetricValueStatus { average_value: amount(found.milli), average_utilization: found.utilization, value: None };
    Ok((found, current, name))
}

fn of_value(
    target: &Target<'_>,
    goal: &MetricTarget,
    answer: &Result<Answer, String>,
    unknown: &dyn Fn(String) -> String,
    neither: &str,
) -> Result<(Found, MetricValueStatus), String> {
    let value = match answer {
        Ok(Answer::Value(value)) => *value,
        Ok(Answer::Pods(_)) => return Err(unknown("no value".to_owned())),
        Err(why) => return Err(unknown(why.clone())),
    };
    if let Some(share) = &goal.average_value {
        let found = by_share(target, value, milli(share));
        let current = MetricValueStatus { average_value: amount(found.milli), ..MetricValueStatus::default() };
        return Ok((found, current));
    }
    let whole = goal.value.as_ref().ok_or_else(|| neither.to_owned())?;
    let found = by_value(target, value, milli(whole))?;
    let current = MetricValueStatus { value: amount(found.milli), ..MetricValueStatus::default() };
    Ok((found, current))
}
