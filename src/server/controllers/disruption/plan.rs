//! How many of a budget's pods are well, how many must be, and how many may therefore go.

use crate::common::{
    pods::is_ready,
    updates::{scaled, whole_second},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// An evicted pod that is still there after this long was not deleted after all.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

const ALLOWED: &str = "DisruptionAllowed";

/// How many pods the controllers of a budget's pods want.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) pods: i32,
    /// Pods that no controller answers for.
    pub(super) unmanaged: BTreeSet<String>,
}

pub(super) struct Observed {
    pub(super) budget: Arc<PodDisruptionBudget>,
    /// Those it selects.
    pub(super) pods: Vec<Arc<Pod>>,
    /// Asked only where [`needs_scale`]; an error says why it cannot be known.
    pub(super) expected: Result<Expected, String>,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) status: Option<PodDisruptionBudgetStatus>,
    /// Pods that were to be evicted and are still there.
    pub(super) not_deleted: Vec<String>,
    pub(super) look_again: Option<Duration>,
}

/// Whether the budget speaks of a share of what is expected, and not of a number of pods.
pub(super) fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let budget = observed.budget.as_ref();
    let before = budget.status.clone().unwrap_or_default();
    let expected = match &observed.expected {
        Ok(expected) => expected.pods,
        Err(why) => return failed(now, before, why),
    };
    let desired = desired(budget, expected);
    let (disrupted, not_deleted, look_again) = disrupted(now, observed, &before);
    let is_well = |pod: &&Arc<Pod>| {
        pod.metadata.deletion_timestamp.is_none() && !disrupted.contains_key(&pod.name_any()) && is_ready(pod)
    };
    let healthy = observed.pods.iter().filter(is_well).count() as i32;
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted).filter(|disrupted| !disrupted.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: before.conditions.clone(),
    };
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    put(&mut status, value, reason, "", now);
    let changed = budget.status.as_ref() != Some(&status);
    Plan { status: changed.then_some(status), not_deleted, look_again }
}

/// What is not known allows nothing.
fn failed(now: Timestamp, before: PodDisruptionBudgetStatus, why: &str) -> Plan {
    let mut status = PodDisruptionBudgetStatus { disruptions_allowed: Some(0), ..before.clone() };
    put(&mut status, "False", "SyncFailed", why, now);
    Plan { status: (status != before).then_some(status), not_deleted: Vec::new(), look_again: None }
}

fn desired(budget: &PodDisruptionBudget, expected: i32) -> i32 {
    let Some(spec) = budget.spec.as_ref() else { return 0 };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(unavailable), _) => expected.saturating_sub(scaled(unavailable, expected, true)).max(0),
        (None, Some(available)) => scaled(available, expected, true),
        (None, None) => 0,
    }
}

type Disrupted = (BTreeMap<String, Time>, Vec<String>, Option<Duration>);

/// Evicted pods that are about to go; those that should be gone; and when the next one should be.
fn disrupted(now: Timestamp, observed: &Observed, before: &PodDisruptionBudgetStatus) -> Disrupted {
    let (mut going, mut late, mut next) = (BTreeMap::new(), Vec::new(), None::<Duration>);
    let known = before.disrupted_pods.iter().flatten();
    for (name, since) in known {
        let alive = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_none() && pod.name_any() == *name;
        if !observed.pods.iter().any(|pod| alive(&pod)) {
            continue;
        }
        let due = since.0.checked_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX);
        match Duration::try_from(due.duration_since(now)) {
            Ok(left) => {
                going.insert(name.clone(), since.clone());
                next = Some(next.map_or(left, |next| next.min(left)));
            }
            Err(_) => late.push(name.clone()),
        }
    }
    (going, late, next)
}

fn put(status: &mut PodDisruptionBudgetStatus, value: &str, reason: &str, message: &str, now: Timestamp) {
    let observed_generation = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let mut condition = Condition {
        type_: ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation,
        last_transition_time: whole_second(now),
    };
    match conditions.iter_mut().find(|known| known.type_ == ALLOWED) {
        Some(known) => {
            if known.status == condition.status {
                condition.last_transition_time = known.last_transition_time.clone();
            }
            *known = condition;
        }
        None => conditions.push(condition),
    }
}
