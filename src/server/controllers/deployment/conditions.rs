//! What a Deployment reports about its progress.

use crate::common::updates::whole_second;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};
use mk8s_client::kube::ResourceExt;
use std::time::Duration;

pub(super) const CREATE_FAILED: &str = "ReplicaSetCreateError";
pub(super) const CREATED: &str = "NewReplicaSetCreated";
pub(super) const FOUND: &str = "FoundNewReplicaSet";
const COMPLETE: &str = "NewReplicaSetAvailable";
const UPDATED: &str = "ReplicaSetUpdated";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// The largest number means no deadline.
pub(super) fn deadline(deployment: &Deployment) -> Option<i32> {
    let seconds = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
    seconds.filter(|seconds| *seconds != i32::MAX)
}

pub(super) fn has_deadline(deployment: &Deployment) -> bool {
    deadline(deployment).is_some()
}

pub(super) fn get<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

pub(super) fn remove(status: &mut DeploymentStatus, kind: &str) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
}

/// Sets a condition unless it is there with this status and reason; its transition time moves only with its status.
pub(super) fn set(status: &mut DeploymentStatus, kind: &str, value: &str, reason: &str, message: String, at: Time) {
    let condition = DeploymentCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(at.clone()),
        last_transition_time: Some(at),
    };
    put(status, condition);
}

fn put(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = get(status, &condition.type_)
        && current.status == condition.status
    {
        if current.reason == condition.reason {
            return;
        }
        condition.last_transition_time = current.last_transition_time.clone();
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

/// A pause stops the clock of the deadline, resuming starts it anew; a deadline that has passed stays so.
pub(super) fn pause(status: &mut DeploymentStatus, deployment: &Deployment, now: Timestamp) {
    let reason = get(status, "Progressing").and_then(|condition| condition.reason.clone());
    if !has_deadline(deployment) || reason.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
    let (reason, message) = match (paused, reason.as_deref() == Some(PAUSED)) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => (RESUMED, "Deployment is resumed"),
        _ => return,
    };
    set(status, "Progressing", "Unknown", reason, message.to_owned(), whole_second(now));
}

pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(super::plan::replicas(deployment));
    let counts = [status.updated_replicas, status.replicas, status.available_replicas];
    counts.iter().all(|count| Some(count.unwrap_or_default()) == wanted)
        && status.observed_generation >= deployment.metadata.generation
}

/// More updated, ready or available pods, or fewer old ones, than the last status said.
fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or_default();
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

/// Brings the conditions of a rollout up to date.
pub(super) fn progress(
    status: &mut DeploymentStatus,
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    now: Timestamp,
) {
    if !has_deadline(deployment) {
        return remove(status, "Progressing");
    }
    let current = get(status, "Progressing").cloned();
    let was_complete = status.replicas == status.updated_replicas
        && current.as_ref().and_then(|condition| condition.reason.as_deref()) == Some(COMPLETE);
    if was_complete {
        return;
    }
    let subject = match new {
        Some(set) => format!("ReplicaSet {:?}", set.name_any()),
        None => format!("Deployment {:?}", deployment.name_any()),
    };
    let at = whole_second(now);
    let old = deployment.status.clone().unwrap_or_default();
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        set(status, "Progressing", "True", COMPLETE, message, at);
    } else if has_progressed(&old, status) {
        // Each sign of progress moves the update time, also with the same reason.
        let since = current.filter(|condition| condition.status == "True").and_then(|known| known.last_transition_time);
        remove(status, "Progressing");
        set(status, "Progressing", "True", UPDATED, format!("{subject} is progressing."), at);
        if let (Some(since), Some(condition)) = (since, status.conditions.iter_mut().flatten().last()) {
            condition.last_transition_time = Some(since);
        }
    } else if has_timed_out(deployment, status, now) {
        set(status, "Progressing", "False", TIMED_OUT, format!("{subject} has timed out progressing."), at);
    }
}

fn has_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let (Some(deadline), Some(condition)) = (deadline(deployment), get(status, "Progressing")) else { return false };
    match condition.reason.as_deref() {
        Some(COMPLETE) => false,
        Some(TIMED_OUT) => true,
        _ => condition
            .last_update_time
            .as_ref()
            .is_some_and(|updated| now.duration_since(updated.0) > SignedDuration::from_secs(deadline.into())),
    }
}

/// When the deadline of an unfinished rollout is over.
pub(super) fn deadline_in(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let condition = get(status, "Progressing")?;
    let over = matches!(condition.reason.as_deref(), Some(TIMED_OUT | PAUSED));
    if is_complete(deployment, status) || over || condition.reason.as_deref() == Some(COMPLETE) {
        return None;
    }
    let updated = condition.last_update_time.as_ref()?.0;
    let left = SignedDuration::from_secs(deadline.into()) - now.duration_since(updated);
    // A second more, because times in the API are whole seconds.
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

/// A set that cannot create its pods says so in the Deployment, the new set before the old ones.
pub(super) fn replica_failure(status: &mut DeploymentStatus, sets: &[&ReplicaSet]) {
    let failures = sets.iter().flat_map(|set| set.status.iter()).flat_map(|status| status.conditions.iter().flatten());
    match failures.into_iter().find(|condition| condition.type_ == "ReplicaFailure") {
        Some(failure) => put(
            status,
            DeploymentCondition {
                type_: failure.type_.clone(),
                status: failure.status.clone(),
                reason: failure.reason.clone(),
                message: failure.message.clone(),
                last_transition_time: failure.last_transition_time.clone(),
                last_update_time: failure.last_transition_time.clone(),
            },
        ),
        None => remove(status, "ReplicaFailure"),
    }
}

pub(super) fn availability(status: &mut DeploymentStatus, enough: bool, now: Timestamp) {
    let (value, reason, message) = match enough {
        true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    set(status, "Available", value, reason, message.to_owned(), whole_second(now));
}
