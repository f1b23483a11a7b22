//! How many replicas a metric asks for.
//!
//! The ratio of what is used to what should be is the factor. Pods without a reading are assumed to make the change
//! smaller, pods that are not ready to use nothing; what then would go the other way changes nothing.

use crate::common::pods::{condition, is_ready, phase};
use jiff::{SignedDuration, Timestamp};
use mk8s_api::quantity::Quantity;
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{collections::BTreeMap, sync::Arc};

/// A pod that starts uses more than it will.
const STARTING: SignedDuration = SignedDuration::from_mins(5);
const FIRST_READY: SignedDuration = SignedDuration::from_secs(30);

/// What a pod uses, in thousandths, measured over a window that ends at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    pub(super) milli: i64,
    pub(super) at: Timestamp,
    pub(super) window: SignedDuration,
}

pub(super) type Readings = BTreeMap<String, Reading>;

/// By how much a ratio may differ from 1 without consequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tolerance {
    pub(super) down: f64,
    pub(super) up: f64,
}

impl Tolerance {
    fn holds(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What the target is now, and its pods.
pub(super) struct Target<'a> {
    pub(super) spec_replicas: i32,
    pub(super) status_replicas: i32,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) tolerance: Tolerance,
    pub(super) now: Timestamp,
}

/// The replicas that are proposed, and what was found to be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) replicas: i32,
    /// Of what was requested, in percent.
    pub(super) utilization: Option<i32>,
    pub(super) milli: i64,
}

/// What a pod is to use: so much, or so many percent of its request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    Milli(i64),
    Percent(i32),
}

fn ceil(replicas: f64) -> i32 {
    if replicas.is_nan() { 0 } else { replicas.ceil().clamp(0.0, f64::from(i32::MAX)) as i32 }
}

struct Groups {
    ready: usize,
    unready: Vec<String>,
    missing: Vec<String>,
}

/// Takes the readings of pods that do not count away.
fn group(target: &Target<'_>, readings: &mut Readings, is_cpu: bool) -> Groups {
    let mut groups = Groups { ready: 0, unready: Vec::new(), missing: Vec::new() };
    for pod in target.pods {
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() || phase(pod) == "Failed" {
            readings.remove(&name);
        } else if phase(pod) == "Pending" {
            readings.remove(&name);
            groups.unready.push(name);
        } else {
            match readings.get(&name) {
                None => groups.missing.push(name),
                Some(reading) if is_cpu && is_starting(pod, reading, target.now) => {
                    readings.remove(&name);
                    groups.unready.push(name);
                }
                Some(_) => groups.ready += 1,
            }
        }
    }
    groups
}

fn is_starting(pod: &Pod, reading: &Reading, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (condition(pod, "Ready"), started) else { return true };
    let unready = ready.status == "False";
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    if now.duration_since(started.0) < STARTING {
        return unready || reading.at.duration_since(since) < reading.window;
    }
    unready && since.duration_since(started.0) < FIRST_READY
}

/// What the containers of a pod request, in thousandths.
pub(super) fn requests(pods: &[Arc<Pod>], resource: &str, container: &str) -> Result<BTreeMap<String, i64>, String> {
    let mut requests = BTreeMap::new();
    for pod in pods {
        requests.insert(pod.name_any(), request_of(pod, resource, container)?);
    }
    Ok(requests)
}

fn request_of(pod: &Pod, resource: &str, container: &str) -> Result<i64, String> {
    let Some(spec) = pod.spec.as_ref() else { return Ok(0) };
    let milli = |text: &str| Quantity::parse(text).map(Quantity::millis).unwrap_or_default();
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    if let Some(requests) = whole.filter(|_| container.is_empty()) {
        let request = requests.get(resource).map(|text| milli(&text.0));
        return request.ok_or_else(|| format!("missing pod-level request for {resource} in Pod {}", pod.name_any()));
    }
    let sidecars =
        spec.init_containers.iter().flatten().filter(|known| known.restart_policy.as_deref() == Some("Always"));
    let mut sum = 0_i64;
    for known in spec.containers.iter().chain(sidecars).filter(|known| container.is_empty() || known.name == container)
    {
        let request = known.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
        let request = request.ok_or_else(|| {
            format!("missing request for {resource} in container {} of Pod {}", known.name, pod.name_any())
        })?;
        sum = sum.saturating_add(milli(&request.0));
        if !container.is_empty() {
            return Ok(sum);
        }
    }
    match container {
        "" => Ok(sum),
        _ => Err(format!("container {container} not found in Pod {}", pod.name_any())),
    }
}

/// The ratio to the goal, percents where they were asked for, and the mean.
fn ratio(readings: &Readings, goal: Goal, requests: &BTreeMap<String, i64>) -> Result<(f64, Option<i32>, i64), String> {
    match goal {
        Goal::Milli(goal) => {
            let total: i64 = readings.values().map(|reading| reading.milli).sum();
            let mean = total / readings.len().max(1) as i64;
            Ok((mean as f64 / goal as f64, None, mean))
        }
        Goal::Percent(goal) => {
            let known = readings.iter().filter_map(|(name, reading)| Some((reading.milli, *requests.get(name)?)));
            let (used, asked, count) = known.fold((0_i64, 0_i64, 0_i64), |(used, asked, n), (milli, request)| {
                (used + milli, asked + request, n + 1)
            });
            if asked == 0 {
                return Err("no metrics returned matched known pods".to_owned());
            }
            let percent = i32::try_from(used.saturating_mul(100) / asked).unwrap_or(i32::MAX);
            Ok((f64::from(percent) / f64::from(goal), Some(percent), used / count))
        }
    }
}

/// From readings of pods.
pub(super) fn by_pods(
    target: &Target<'_>,
    mut readings: Readings,
    goal: Goal,
    is_cpu: bool,
    requests: &BTreeMap<String, i64>,
) -> Result<Found, String> {
    if target.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".to_owned());
    }
    let groups = group(target, &mut readings, is_cpu);
    if readings.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    let (factor, utilization, milli) = ratio(&readings, goal, requests)?;
    let found = |replicas| Found { replicas, utilization, milli };
    let grows_with_unready = !groups.unready.is_empty() && factor > 1.0;
    if !grows_with_unready && groups.missing.is_empty() {
        let same = target.tolerance.holds(factor);
        return Ok(found(if same { target.spec_replicas } else { ceil(factor * groups.ready as f64) }));
    }
    let mut assume = |names: &[String], milli: &dyn Fn(&str) -> i64| {
        for name in names {
            let reading = Reading { milli: milli(name), at: target.now, window: SignedDuration::ZERO };
            readings.insert(name.clone(), reading);
        }
    };
    if factor < 1.0 {
        assume(&groups.missing, &|name| match goal {
            Goal::Milli(goal) => goal,
            Goal::Percent(goal) => requests.get(name).copied().unwrap_or_default() * i64::from(goal.max(100)) / 100,
        });
    } else if factor > 1.0 {
        assume(&groups.missing, &|_| 0);
    }
    if grows_with_unready {
        assume(&groups.unready, &|_| 0);
    }
    let (careful, _, _) = ratio(&readings, goal, requests)?;
    let turned = (factor < 1.0 && careful > 1.0) || (factor > 1.0 && careful < 1.0);
    let replicas = ceil(careful * readings.len() as f64);
    let wrong_way =
        (careful < 1.0 && replicas > target.spec_replicas) || (careful > 1.0 && replicas < target.spec_replicas);
    let same = target.tolerance.holds(careful) || turned || wrong_way;
    Ok(found(if same { target.spec_replicas } else { replicas }))
}

/// From one value, which is to be `goal` as a whole.
pub(super) fn by_value(target: &Target<'_>, milli: i64, goal: i64) -> Result<Found, String> {
    let factor = milli as f64 / goal as f64;
    let found = |replicas| Ok(Found { replicas, utilization: None, milli });
    if target.spec_replicas == 0 {
        return found(ceil(factor));
    }
    if target.tolerance.holds(factor) {
        return found(target.spec_replicas);
    }
    if target.pods.is_empty() {
        return Err(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count".to_owned()
        );
    }
    let ready = target.pods.iter().filter(|pod| phase(pod) == "Running" && is_ready(pod)).count();
    found(ceil(factor * ready as f64))
}

/// From one value, of which each replica is to have `goal`.
pub(super) fn by_share(target: &Target<'_>, milli: i64, goal: i64) -> Found {
    let replicas = target.status_replicas;
    let factor = milli as f64 / (goal as f64 * f64::from(replicas));
    let wanted = if target.tolerance.holds(factor) { replicas } else { ceil(milli as f64 / goal as f64) };
    let mean = if replicas == 0 { milli } else { (milli as f64 / f64::from(replicas)).ceil() as i64 };
    Found { replicas: wanted, utilization: None, milli: mean }
}
