//! How a Job ends, and how long it waits before it tries again.

use super::{
    plan::Tally,
    policy::{Verdict, judge},
};
use crate::common::{pods, updates::until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::{Job, JobCondition, JobStatus},
    core::v1::Pod,
};
use std::{sync::Arc, time::Duration};

/// Between attempts: ten seconds, doubled with each failure since the last success.
const BACKOFF_MIN: SignedDuration = SignedDuration::from_secs(10);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(600);

/// The end that a Job goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) succeeded: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl End {
    pub(super) fn failed(reason: &str, message: &str) -> End {
        End { succeeded: false, reason: reason.to_owned(), message: message.to_owned() }
    }

    pub(super) fn completed() -> End {
        let message = "Reached expected number of succeeded pods".to_owned();
        End { succeeded: true, reason: "CompletionsReached".to_owned(), message }
    }
}

pub(super) fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let is_true = |known: &&JobCondition| known.type_ == kind && known.status == "True";
    status.conditions.iter().flatten().find(is_true)
}

/// An end that was decided before is not decided again.
pub(super) fn decided(status: &JobStatus) -> Option<End> {
    let end = |known: &JobCondition, succeeded| End {
        succeeded,
        reason: known.reason.clone().unwrap_or_default(),
        message: known.message.clone().unwrap_or_default(),
    };
    let success = condition(status, "SuccessCriteriaMet").map(|known| end(known, true));
    success.or_else(|| condition(status, "FailureTarget").map(|known| end(known, false)))
}

pub(super) fn failure(job: &Job, pods: &[Arc<Pod>], tally: &Tally, now: Timestamp) -> Option<End> {
    let by_policy = pods.iter().find_map(|pod| match judge(job, pod) {
        Verdict::FailJob(message) => Some(End::failed("PodFailurePolicy", &message)),
        _ => None,
    });
    let spec = job.spec.as_ref()?;
    let limit = spec.backoff_limit.unwrap_or(6);
    let exceeded = tally.failed > limit || restarts_exceed(job, pods, limit);
    let by_limit = || exceeded.then(|| End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    let over = deadline_in(job, now).is_some_and(|left| left.is_zero());
    let by_deadline =
        || over.then(|| End::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
    by_policy.or_else(by_limit).or_else(by_deadline)
}

/// Pods that restart in place fail without ending.
fn restarts_exceed(job: &Job, pods: &[Arc<Pod>], limit: i32) -> bool {
    let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    if template.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let alive = pods.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
    let statuses = alive.flat_map(|pod| pod.status.iter()).flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    let restarts: i32 = statuses.map(|container| container.restart_count).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// What is left of the deadline; `None` without one, or while it does not run.
pub(super) fn deadline_in(job: &Job, now: Timestamp) -> Option<Duration> {
    let spec = job.spec.as_ref()?;
    let seconds = spec.active_deadline_seconds.filter(|_| spec.suspend != Some(true))?;
    let start = job.status.as_ref()?.start_time.as_ref()?.0;
    Some(until(start, SignedDuration::from_secs(seconds), now))
}

/// What is left of the wait after failures.
pub(super) fn backoff(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Duration {
    let ended = |phase: &'static str| pods.iter().filter(move |pod| pods::phase(pod) == phase);
    let last_success = ended("Succeeded").filter_map(|pod| finish_time(pod)).max();
    let counts = |pod: &&Arc<Pod>| judge(job, pod) == Verdict::Count;
    let times = ended("Failed").filter(counts).filter_map(|pod| finish_time(pod));
    let failures: Vec<Timestamp> = times.filter(|time| last_success.is_none_or(|success| *time > success)).collect();
    let Some(last) = failures.iter().max() else { return Duration::ZERO };
    let doubled = i32::try_from(failures.len() - 1).ok().filter(|doubled| *doubled < 10);
    let wait = doubled.map_or(BACKOFF_MAX, |doubled| (BACKOFF_MIN * 2_i32.pow(doubled as u32)).min(BACKOFF_MAX));
    until(*last, wait, now)
}

/// When the last container ended; without that, when the pod stopped being ready, or when it was made.
fn finish_time(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let ended = statuses.filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let last = ended.map(|time| time.0).max();
    let unready = || pods::condition(pod, "Ready").filter(|ready| ready.status == "False")?.last_transition_time.as_ref().map(|time| time.0);
    last.or_else(unready).or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}
