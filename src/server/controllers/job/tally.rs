//! What has ended so far: on record, counted, or about to be.
//!
//! ```text
//! pod with finalizer ends ─▶ uid on record ─▶ finalizer goes ─▶ uid off the record, counter + 1
//! ```
//!
//! Invariant: a uid leaves the record only when its pod has no finalizer any more, and then counts once.

use super::{
    indexes::Indexes,
    pod::failures_before,
    policy::{Verdict, judge},
    spec::{
        completed_before, counting_index, counts, failed_before, has_failed, is_indexed, is_tracked, limit_per_index,
    },
};
use crate::common::{pods, updates::positive};
use k8s_openapi::api::batch::v1::{Job, JobStatus, UncountedTerminatedPods};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// So many uids are put on record at once.
const UNCOUNTED_MAX: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    pub(super) completed: Indexes,
    /// Where each index fails for itself.
    pub(super) failed_indexes: Option<Indexes>,
    /// The last failed pod of each index that is to be tried again: its successor is told what it was told.
    pub(super) held_back: BTreeMap<i32, Arc<Pod>>,
}

/// Counts what has left the record and looks at what is to come on it.
pub(super) fn tally(job: &Job, pods: &[Arc<Pod>], status: &mut JobStatus) -> Tally {
    clear(pods, status);
    let record = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let (on_succeeded, on_failed) = (uids(record.succeeded.as_ref()), uids(record.failed.as_ref()));
    let fresh = |known: &HashSet<&str>, pod: &Pod| {
        is_tracked(pod) && counts(job, pod) && !known.contains(pod.metadata.uid.as_deref().unwrap_or_default())
    };
    let succeeded = pods.iter().filter(|pod| pods::phase(pod) == "Succeeded" && fresh(&on_succeeded, pod)).count();
    let failed = pods.iter().filter(|pod| has_failed(job, pod) && fresh(&on_failed, pod));
    let failed = failed.filter(|pod| judge(job, pod) != Verdict::Ignore).count();
    let mut tally = Tally {
        succeeded: status.succeeded.unwrap_or_default() + (succeeded + on_succeeded.len()) as i32,
        failed: status.failed.unwrap_or_default() + (failed + on_failed.len()) as i32,
        ..Tally::default()
    };
    if is_indexed(job) {
        tally.by_index(job, pods);
    }
    tally
}

fn uids(of: Option<&Vec<String>>) -> HashSet<&str> {
    of.into_iter().flatten().map(String::as_str).collect()
}

/// Takes from the record whose finalizer is gone, and counts it.
fn clear(pods: &[Arc<Pod>], status: &mut JobStatus) {
    let held: HashSet<&str> =
        pods.iter().filter(|pod| is_tracked(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    let record = status.uncounted_terminated_pods.take().unwrap_or_default();
    let flush = |uids: Option<Vec<String>>| {
        let (waiting, gone): (Vec<String>, Vec<String>) =
            uids.unwrap_or_default().into_iter().partition(|uid| held.contains(uid.as_str()));
        (Some(waiting).filter(|waiting| !waiting.is_empty()), gone.len() as i32)
    };
    let (succeeded, counted_succeeded) = flush(record.succeeded);
    let (failed, counted_failed) = flush(record.failed);
    status.succeeded = positive(status.succeeded.unwrap_or_default() + counted_succeeded);
    status.failed = positive(status.failed.unwrap_or_default() + counted_failed);
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods { succeeded, failed });
}

impl Tally {
    fn by_index(&mut self, job: &Job, pods: &[Arc<Pod>]) {
        self.completed = completed_before(job);
        for pod in pods.iter().filter(|pod| pods::phase(pod) == "Succeeded" && is_tracked(pod)) {
            counting_index(job, pod).into_iter().for_each(|index| self.completed.insert(index));
        }
        self.succeeded = self.completed.len();
        let Some(limit) = limit_per_index(job) else { return };
        let mut failed = failed_before(job);
        let failures = || pods.iter().filter(|pod| is_tracked(pod) && has_failed(job, pod));
        for pod in failures() {
            let is_last = match judge(job, pod) {
                Verdict::FailIndex => true,
                Verdict::Ignore => false,
                Verdict::Count | Verdict::FailJob(_) => failures_before(pod).counted >= limit,
            };
            counting_index(job, pod).filter(|_| is_last).into_iter().for_each(|index| failed.insert(index));
        }
        let active: HashSet<i32> =
            pods.iter().filter(|pod| pods::is_active(pod)).filter_map(|pod| counting_index(job, pod)).collect();
        for pod in failures() {
            let Some(index) = counting_index(job, pod) else { continue };
            if self.completed.contains(index) || failed.contains(index) || active.contains(&index) {
                continue;
            }
            let later = |known: &Arc<Pod>| order(known) <= order(pod);
            if self.held_back.get(&index).is_none_or(later) {
                self.held_back.insert(index, pod.clone());
            }
        }
        self.failed_indexes = Some(failed);
    }

    pub(super) fn is_held_back(&self, job: &Job, pod: &Pod) -> bool {
        let held = counting_index(job, pod).and_then(|index| self.held_back.get(&index));
        held.is_some_and(|held| held.metadata.uid == pod.metadata.uid)
    }
}

fn order(pod: &Pod) -> (i32, Option<jiff::Timestamp>) {
    let failures = failures_before(pod);
    (failures.counted + failures.ignored, super::outcome::finish_time(pod))
}

/// How a Job that ends treats its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    Well,
    Badly,
}

/// What came on record, and who may be let go once that is written.
pub(super) struct Recorded {
    pub(super) strip: Vec<String>,
    /// There were more than go on record at once.
    pub(super) is_full: bool,
}

/// Puts newly ended pods on record.
pub(super) fn record(
    job: &Job,
    pods: &[Arc<Pod>],
    tally: &mut Tally,
    ending: Ending,
    status: &mut JobStatus,
) -> Recorded {
    let is_indexed = is_indexed(job);
    let dying = job.metadata.deletion_timestamp.is_some();
    let before = completed_before(job);
    let entries = status.uncounted_terminated_pods.take().unwrap_or_default();
    let (mut succeeded, mut failed) = (entries.succeeded.unwrap_or_default(), entries.failed.unwrap_or_default());
    let known = |uids: &Vec<String>| uids.iter().cloned().collect::<HashSet<String>>();
    let (on_succeeded, on_failed) = (known(&succeeded), known(&failed));
    let mut recorded = Recorded { strip: Vec::new(), is_full: false };
    let mut completed = 0;
    let mut tracked: Vec<&Arc<Pod>> = pods.iter().filter(|pod| is_tracked(pod)).collect();
    tracked.sort_by_key(|pod| (counting_index(job, pod).filter(|_| is_indexed), pod.name_any()));
    for pod in tracked {
        let has_failed = has_failed(job, pod);
        let has_succeeded = pods::phase(pod) == "Succeeded";
        let is_last = has_failed && !tally.is_held_back(job, pod);
        if !(dying || ending != Ending::No || has_succeeded || is_last) {
            continue;
        }
        recorded.strip.push(pod.name_any());
        let uid = pod.uid().unwrap_or_default();
        if has_succeeded && !on_failed.contains(&uid) {
            match counting_index(job, pod).filter(|_| is_indexed) {
                // Each index counts once, in its own list.
                Some(index) => completed += usize::from(!before.contains(index)),
                None if !is_indexed && !on_succeeded.contains(&uid) => succeeded.push(uid),
                None => {}
            }
        } else if (has_failed || ending == Ending::Badly)
            && counts(job, pod)
            && !on_failed.contains(&uid)
            && judge(job, pod) != Verdict::Ignore
        {
            failed.push(uid);
        }
        if completed + succeeded.len() + failed.len() >= UNCOUNTED_MAX {
            recorded.is_full = true;
            break;
        }
    }
    if is_indexed {
        status.completed_indexes = Some(tally.completed.to_string()).filter(|text| !text.is_empty());
        status.succeeded = positive(tally.completed.len());
        status.failed_indexes = tally.failed_indexes.as_ref().map(Indexes::to_string);
    }
    let some = |uids: Vec<String>| Some(uids).filter(|uids| !uids.is_empty());
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { succeeded: some(succeeded), failed: some(failed) });
    recorded.strip.sort();
    recorded
}
