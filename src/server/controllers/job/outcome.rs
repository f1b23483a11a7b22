//! How a Job ends, and how long it waits before it tries again.

use super::{
    indexes::Indexes,
    pod::failures_before,
    policy::{Verdict, judge},
    spec::{completions, has_failed, is_suspended},
    tally::Tally,
};
use crate::common::{pods, updates::until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use mk8s_client::pod::Pod;
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
    fn failed(reason: &str, message: &str) -> End {
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

/// An end that was decided before is not decided again; of several that are due now the first counts.
pub(super) fn end(job: &Job, status: &JobStatus, pods: &[Arc<Pod>], tally: &Tally, now: Timestamp) -> Option<End> {
    decided(status)
        .or_else(|| by_failure_policy(job, pods))
        .or_else(|| by_limits(job, status, pods, tally, now))
        .or_else(|| by_failed_indexes(job, tally))
        .or_else(|| by_success_policy(job, tally))
}

fn decided(status: &JobStatus) -> Option<End> {
    let end = |known: &JobCondition, succeeded| End {
        succeeded,
        reason: known.reason.clone().unwrap_or_default(),
        message: known.message.clone().unwrap_or_default(),
    };
    let success = condition(status, "SuccessCriteriaMet").map(|known| end(known, true));
    success.or_else(|| condition(status, "FailureTarget").map(|known| end(known, false)))
}

fn by_failure_policy(job: &Job, pods: &[Arc<Pod>]) -> Option<End> {
    pods.iter().filter(|pod| has_failed(job, pod)).find_map(|pod| match judge(job, pod) {
        Verdict::FailJob(message) => Some(End::failed("PodFailurePolicy", &message)),
        _ => None,
    })
}

fn by_limits(job: &Job, status: &JobStatus, pods: &[Arc<Pod>], tally: &Tally, now: Timestamp) -> Option<End> {
    let limit = job.spec.as_ref()?.backoff_limit.unwrap_or(6);
    if tally.failed > limit || restarts_exceed(job, pods, limit) {
        return Some(End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let over = deadline_in(job, status, now)?.is_zero();
    over.then(|| End::failed("DeadlineExceeded", "Job was active longer than specified deadline"))
}

fn by_failed_indexes(job: &Job, tally: &Tally) -> Option<End> {
    let failed = tally.failed_indexes.as_ref()?.len();
    let allowed = job.spec.as_ref()?.max_failed_indexes;
    if allowed.is_some_and(|allowed| failed > allowed) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(End::failed("MaxFailedIndexesExceeded", message));
    }
    let all = failed > 0 && failed + tally.completed.len() >= completions(job).unwrap_or_default();
    all.then(|| End::failed("FailedIndexes", "Job has failed indexes"))
}

/// The first rule that holds of the completed indexes.
fn by_success_policy(job: &Job, tally: &Tally) -> Option<End> {
    let policy = job.spec.as_ref()?.success_policy.as_ref().filter(|_| !tally.completed.is_empty())?;
    let holds = policy.rules.iter().position(|rule| match &rule.succeeded_indexes {
        None => rule.succeeded_count.is_some_and(|count| tally.completed.len() >= count),
        Some(text) => {
            let wanted = Indexes::parse(text, completions(job).unwrap_or_default());
            let reached = wanted.shared_with(&tally.completed);
            let enough = rule.succeeded_count.is_some_and(|count| reached >= count);
            !wanted.is_empty() && (enough || reached == wanted.len())
        }
    })?;
    let message = format!("Matched rules at index {holds}");
    Some(End { succeeded: true, reason: "SuccessPolicy".to_owned(), message })
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
    let restarts = statuses.fold(0_i32, |sum, container| sum.saturating_add(container.restart_count));
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// What is left of the deadline; `None` without one, or while it does not run.
pub(super) fn deadline_in(job: &Job, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let seconds = job.spec.as_ref()?.active_deadline_seconds.filter(|_| !is_suspended(job))?;
    Some(until(status.start_time.as_ref()?.0, SignedDuration::from_secs(seconds), now))
}

/// What is left of the wait after failures, also after those that do not count.
pub(super) fn backoff(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Duration {
    let succeeded = pods.iter().filter(|pod| pods::phase(pod) == "Succeeded");
    let last_success = succeeded.filter_map(|pod| finish_time(pod)).max();
    let times = pods.iter().filter(|pod| has_failed(job, pod)).filter_map(|pod| finish_time(pod));
    let failures: Vec<Timestamp> = times.filter(|time| last_success.is_none_or(|success| *time > success)).collect();
    let Some(last) = failures.iter().max() else { return Duration::ZERO };
    wait(failures.len(), *last, now)
}

/// The same for one index, after its last pod.
pub(super) fn backoff_of_index(last: &Pod, now: Timestamp) -> Duration {
    let before = failures_before(last);
    let failures = usize::try_from(before.counted.saturating_add(before.ignored)).unwrap_or_default() + 1;
    finish_time(last).map_or(Duration::ZERO, |time| wait(failures, time, now))
}

fn wait(failures: usize, last: Timestamp, now: Timestamp) -> Duration {
    let doubled = u32::try_from(failures.saturating_sub(1)).ok().filter(|doubled| *doubled < 10);
    let wait = doubled.map_or(BACKOFF_MAX, |doubled| (BACKOFF_MIN * 2_i32.pow(doubled)).min(BACKOFF_MAX));
    until(last, wait, now)
}

/// When the last container ended; without that, when the pod stopped being ready, when its deletion was asked for, or
/// when it was made.
pub(super) fn finish_time(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref();
    let spec = pod.spec.as_ref();
    let sidecar = |name: &str| {
        let mut containers = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
        containers.any(|known| known.name == name && known.restart_policy.as_deref() == Some("Always"))
    };
    let main = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    let mut last = None;
    let mut all_ended = true;
    for container in main.chain(init.filter(|container| sidecar(&container.name))) {
        let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref()?.finished_at.as_ref());
        all_ended &= ended.is_some();
        last = last.max(ended.map(|time| time.0));
    }
    let unready = || {
        pods::condition(pod, "Ready")
            .filter(|ready| ready.status == "False")?
            .last_transition_time
            .as_ref()
            .map(|time| time.0)
    };
    let deleted = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or_default());
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    last.filter(|_| all_ended).or_else(unready).or_else(deleted).or_else(created)
}
