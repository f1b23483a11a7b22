//! Which pods a Job that goes on lacks, and which are too many.

use super::{
    outcome,
    plan::Action,
    pod::{Failures, Index, failures_before},
    policy::{Verdict, judge},
    spec::{completions, counting_index, is_indexed, is_suspended, limit_per_index, replaces_only_failed},
    tally::Tally,
};
use crate::common::pods::{self, sort_for_deletion};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// Creations and deletions of one round.
const BURST: usize = 500;

/// Pods of a Job, seen from several sides.
pub(super) struct Pods<'a> {
    pub(super) all: &'a [Arc<Pod>],
    pub(super) active: &'a [Arc<Pod>],
    pub(super) terminating: usize,
}

/// What to do now, or how long to wait until something may be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Managed {
    Nothing,
    Do(Action),
    Wait(Duration),
}

/// Brings the number of active pods to what is wanted.
pub(super) fn manage(job: &Job, pods: &Pods<'_>, tally: &Tally, now: Timestamp) -> Managed {
    let wanted = wanted(job, pods.active.len(), tally);
    if let Some(discard) = surplus(job, pods.active, wanted, now) {
        return Managed::Do(discard);
    }
    let awaited = if replaces_only_failed(job) { pods.terminating } else { 0 };
    let missing = wanted.saturating_sub(pods.active.len() + awaited).min(BURST);
    if missing == 0 {
        return Managed::Nothing;
    }
    let wait = match limit_per_index(job) {
        None => outcome::backoff(job, pods.all, now),
        Some(_) => Duration::ZERO,
    };
    if !wait.is_zero() {
        return Managed::Wait(wait);
    }
    if !is_indexed(job) {
        return Managed::Do(Action::Create { count: missing, indexes: Vec::new() });
    }
    let mut shortest = None::<Duration>;
    let mut indexes = Vec::new();
    for index in free(job, pods, tally).take(missing) {
        let before = tally.held_back.get(&index);
        match before.map_or(Duration::ZERO, |pod| outcome::backoff_of_index(pod, now)) {
            Duration::ZERO => indexes.push(Index { index, failures: failures(job, before) }),
            wait => shortest = Some(shortest.map_or(wait, |known| known.min(wait))),
        }
    }
    match (indexes.is_empty(), shortest) {
        (true, Some(wait)) => Managed::Wait(wait),
        (true, None) => Managed::Nothing,
        (false, _) => Managed::Do(Action::Create { count: indexes.len(), indexes }),
    }
}

fn wanted(job: &Job, active: usize, tally: &Tally) -> usize {
    let parallelism = job.spec.as_ref().and_then(|spec| spec.parallelism).unwrap_or(1);
    let wanted = match completions(job) {
        _ if is_suspended(job) => 0,
        // One success ends the work of all: those that run may end, no more are started.
        None if tally.succeeded > 0 => return active,
        None => parallelism,
        Some(completions) => (completions - tally.succeeded).min(parallelism),
    };
    usize::try_from(wanted).unwrap_or_default()
}

/// Of pods with the same index one may stay, of those without one that is wanted none; and no more than are wanted.
fn surplus(job: &Job, active: &[Arc<Pod>], wanted: usize, now: Timestamp) -> Option<Action> {
    let mut candidates = active.to_vec();
    sort_for_deletion(&mut candidates, &HashMap::new(), now);
    let mut going = Vec::new();
    if is_indexed(job) {
        let mut seen = BTreeSet::new();
        // From the back: what is missed most stays.
        candidates.reverse();
        candidates.retain(|pod| {
            let stays = counting_index(job, pod).is_some_and(|index| seen.insert(index));
            if !stays {
                going.push(pod.name_any());
            }
            stays
        });
        candidates.reverse();
    }
    let more = (active.len().saturating_sub(wanted)).saturating_sub(going.len());
    going.extend(candidates.iter().take(more).map(|pod| pod.name_any()));
    going.truncate(BURST);
    going.sort();
    (!going.is_empty()).then_some(Action::Discard { pods: going })
}

/// Indexes that no pod works on, has done, or has given up, in order.
fn free<'a>(job: &Job, pods: &'a Pods<'_>, tally: &'a Tally) -> impl Iterator<Item = i32> + 'a {
    let waits = replaces_only_failed(job);
    let busy = pods.all.iter().filter(move |pod| pods::is_active(pod) || (waits && pods::is_terminating(pod)));
    let busy: BTreeSet<i32> = busy.filter_map(|pod| counting_index(job, pod)).collect();
    let given_up = move |index: i32| tally.failed_indexes.as_ref().is_some_and(|failed| failed.contains(index));
    let is_free = move |index: &i32| !busy.contains(index) && !tally.completed.contains(*index) && !given_up(*index);
    (0..completions(job).unwrap_or_default()).filter(is_free)
}

/// What a pod is told of those of its index before it.
fn failures(job: &Job, before: Option<&Arc<Pod>>) -> Option<Failures> {
    limit_per_index(job)?;
    let Some(before) = before else { return Some(Failures::default()) };
    let Failures { counted, ignored } = failures_before(before);
    Some(match judge(job, before) {
        Verdict::Ignore => Failures { counted, ignored: ignored + 1 },
        _ => Failures { counted: counted + 1, ignored },
    })
}
