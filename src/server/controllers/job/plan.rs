//! What to create, delete and count for a Job, and what to report.

use super::{
    Report, finished, has_failed, indexes,
    outcome::{self, End},
    policy::{Verdict, judge},
};
use crate::common::{
    claims::{Claim, claim, controller_ref},
    pods::{self, from_template, sort_for_deletion},
    selectors,
    updates::{positive, whole_second},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{Job, JobCondition, JobStatus, UncountedTerminatedPods},
    core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
};
use mk8s_client::{events::EventType, kube::ResourceExt};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Keeps an ended pod until it is counted.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Creations and deletions of one round.
const BURST: usize = 500;

pub(super) struct Observed {
    pub(super) job: Arc<Job>,
    /// Its pods, and those of no one.
    pub(super) pods: Vec<Arc<Pod>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Release { pod: String },
    Adopt { pod: String },
    Delete { pods: Vec<String> },
    /// `indexes` is empty for Jobs whose pods have none.
    Create { count: usize, indexes: Vec<i32> },
    /// Take the tracking finalizer away, once the status is written.
    Strip { pods: Vec<String> },
}

pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) status: Option<JobStatus>,
    pub(super) events: Vec<Report>,
    pub(super) look_again: Option<Duration>,
}

/// What has ended so far, on record or about to be.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    completed: BTreeSet<i32>,
}

fn is_indexed(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed")
}

fn completions(job: &Job) -> Option<i32> {
    job.spec.as_ref().and_then(|spec| spec.completions)
}

fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

fn replaces_only_failed(job: &Job) -> bool {
    let spec = job.spec.as_ref();
    let policy = spec.and_then(|spec| spec.pod_replacement_policy.as_deref());
    policy == Some("Failed") || spec.is_some_and(|spec| spec.pod_failure_policy.is_some())
}

fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX).and_then(|index| index.parse().ok())
}

fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == TRACKING)
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let job = observed.job.as_ref();
    let (mut actions, pods) = claim_pods(observed);
    if finished(job).is_some() {
        let held: Vec<String> = pods.iter().filter(|pod| is_tracked(pod)).map(|pod| pod.name_any()).collect();
        actions.extend((!held.is_empty()).then_some(Action::Strip { pods: held }));
        return Plan { actions, status: None, events: Vec::new(), look_again: None };
    }
    let mut status = job.status.clone().unwrap_or_default();
    let mut events = Vec::new();
    start(job, &mut status, now);
    let strip = count(job, &pods, &mut status);
    let tally = tally(job, &status);
    let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let terminating = pods.iter().filter(|pod| pods::is_terminating(pod)).count();
    let mut look_again = outcome::deadline_in(job, now);
    let decided = outcome::decided(&status);
    let with_status = Job { status: Some(status.clone()), ..job.clone() };
    let mut end = decided.clone().or_else(|| outcome::failure(&with_status, &pods, &tally, now));
    let mut counts = (active.len(), terminating);
    if end.is_some() {
        actions.extend(delete(&active, active.len(), now));
        counts = (0, terminating + active.len());
    } else if job.metadata.deletion_timestamp.is_none() {
        let wait = outcome::backoff(job, &pods, now);
        let managed = manage(job, &pods, &active, terminating, &tally, wait, now);
        let change = managed.iter().map(|action| match action {
            Action::Create { count, .. } => *count as i64,
            Action::Delete { pods } => -(pods.len() as i64),
            _ => 0,
        });
        let change: i64 = change.sum();
        let wants_more = !wait.is_zero() && managed.is_none();
        if wants_more {
            look_again = Some(look_again.map_or(wait, |left| left.min(wait)));
        }
        actions.extend(managed);
        counts.0 = (counts.0 as i64 + change).max(0) as usize;
        counts.1 += usize::try_from(-change).unwrap_or_default();
        let reached = match completions(job) {
            None => tally.succeeded > 0,
            Some(wanted) => tally.succeeded >= wanted,
        };
        if reached && counts.0 == 0 && !is_suspended(job) {
            end = Some(End::completed());
        } else {
            suspend(job, &mut status, &mut events, now);
        }
    }
    let ready = if end.is_some() { 0 } else { active.iter().filter(|pod| pods::is_ready(pod)).count() };
    status.active = positive(counts.0 as i32);
    status.terminating = Some(counts.1 as i32);
    status.ready = Some(ready as i32);
    if let Some(end) = end {
        conclude(&mut status, &mut events, &end, active.is_empty() && terminating == 0, now);
    }
    actions.extend((!strip.is_empty()).then_some(Action::Strip { pods: strip }));
    let changed = job.status.as_ref() != Some(&status);
    Plan { actions, status: changed.then_some(status), events, look_again: look_again.filter(|wait| !wait.is_zero()) }
}

fn claim_pods(observed: &Observed) -> (Vec<Action>, Vec<Arc<Pod>>) {
    let job = observed.job.as_ref();
    let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.and_then(|selector| selectors::compile(Some(selector)));
    let mut actions = Vec::new();
    let mut own = Vec::new();
    for pod in &observed.pods {
        let owned = crate::common::claims::is_controlled_by(&pod.metadata, job.metadata.uid.as_deref());
        // Without a selector its own pods are known by their owner alone.
        let selected = selector.as_ref().map_or(owned, |selector| selector.matches(&pod.metadata.labels));
        match claim(&job.metadata, &pod.metadata, selected) {
            Claim::Own => own.push(pod.clone()),
            Claim::Adopt if finished(job).is_none() => {
                actions.push(Action::Adopt { pod: pod.name_any() });
                own.push(pod.clone());
            }
            Claim::Release => actions.push(Action::Release { pod: pod.name_any() }),
            Claim::Adopt | Claim::Ignore => {}
        }
    }
    actions.sort();
    (actions, own)
}

fn start(job: &Job, status: &mut JobStatus, now: Timestamp) {
    if status.start_time.is_none() && !is_suspended(job) {
        status.start_time = Some(whole_second(now));
    }
}

/// Puts newly ended pods on record and counts those that have been let go. Returns who may be let go now.
fn count(job: &Job, pods: &[Arc<Pod>], status: &mut JobStatus) -> Vec<String> {
    let held: HashSet<&str> = pods.iter().filter(|pod| is_tracked(pod)).filter_map(|pod| pod.metadata.uid.as_deref()).collect();
    let record = status.uncounted_terminated_pods.take().unwrap_or_default();
    let flush = |uids: Option<Vec<String>>| {
        let (waiting, gone): (Vec<String>, Vec<String>) =
            uids.unwrap_or_default().into_iter().partition(|uid| held.contains(uid.as_str()));
        (waiting, gone.len() as i32)
    };
    let (mut succeeded, counted_succeeded) = flush(record.succeeded);
    let (mut failed, counted_failed) = flush(record.failed);
    status.succeeded = positive(status.succeeded.unwrap_or_default() + counted_succeeded);
    status.failed = positive(status.failed.unwrap_or_default() + counted_failed);
    let indexed = is_indexed(job);
    let mut completed = indexes::parse(status.completed_indexes.as_deref().unwrap_or(""), completions(job).unwrap_or_default());
    let only_failed = replaces_only_failed(job);
    let mut strip = Vec::new();
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = pod.uid().unwrap_or_default();
        let known = succeeded.contains(&uid) || failed.contains(&uid);
        let dead = job.metadata.deletion_timestamp.is_some();
        if pods::phase(pod) == "Succeeded" {
            match index_of(pod).filter(|_| indexed) {
                // Each index counts once, in its own list.
                Some(index) => drop(completed.insert(index)),
                None if !known && !indexed => succeeded.push(uid),
                None => {}
            }
        } else if has_failed(pod, only_failed) || dead {
            if !known && judge(job, pod) != Verdict::Ignore {
                failed.push(uid);
            }
        } else {
            continue;
        }
        strip.push(pod.name_any());
    }
    if indexed {
        status.completed_indexes = Some(indexes::format(&completed)).filter(|text| !text.is_empty());
        status.succeeded = positive(completed.len() as i32);
    }
    let some = |uids: Vec<String>| Some(uids).filter(|uids| !uids.is_empty());
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { succeeded: some(succeeded), failed: some(failed) });
    strip.sort();
    strip
}

fn tally(job: &Job, status: &JobStatus) -> Tally {
    let record = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let waiting = |uids: Option<Vec<String>>| uids.map_or(0, |uids| uids.len() as i32);
    let completed = indexes::parse(status.completed_indexes.as_deref().unwrap_or(""), completions(job).unwrap_or_default());
    Tally {
        succeeded: status.succeeded.unwrap_or_default() + waiting(record.succeeded),
        failed: status.failed.unwrap_or_default() + waiting(record.failed),
        completed,
    }
}

fn delete(pods: &[Arc<Pod>], count: usize, now: Timestamp) -> Option<Action> {
    let mut candidates = pods.to_vec();
    sort_for_deletion(&mut candidates, &HashMap::new(), now);
    let mut pods: Vec<String> = candidates.iter().take(count.min(BURST)).map(|pod| pod.name_any()).collect();
    pods.sort();
    (!pods.is_empty()).then_some(Action::Delete { pods })
}

/// Brings the number of active pods to what is wanted.
fn manage(
    job: &Job,
    pods: &[Arc<Pod>],
    active: &[Arc<Pod>],
    terminating: usize,
    tally: &Tally,
    backoff: Duration,
    now: Timestamp,
) -> Option<Action> {
    if is_suspended(job) {
        return delete(active, active.len(), now);
    }
    let parallelism = job.spec.as_ref().and_then(|spec| spec.parallelism).unwrap_or(1);
    let wanted = match completions(job) {
        None if tally.succeeded > 0 => active.len(),
        None => usize::try_from(parallelism).unwrap_or_default(),
        Some(completions) => usize::try_from((completions - tally.succeeded).min(parallelism)).unwrap_or_default(),
    };
    if is_indexed(job) {
        // Of pods with the same index, or with one that is done or out of range, one or none may stay.
        let mut seen: BTreeSet<i32> = tally.completed.clone();
        let limit = completions(job).unwrap_or_default();
        let surplus = active.iter().filter(|pod| match index_of(pod) {
            Some(index) => !(0..limit).contains(&index) || !seen.insert(index),
            None => true,
        });
        let mut pods: Vec<String> = surplus.map(|pod| pod.name_any()).collect();
        if !pods.is_empty() {
            pods.sort();
            return Some(Action::Delete { pods });
        }
    }
    if active.len() > wanted {
        return delete(active, active.len() - wanted, now);
    }
    let waiting_for = if replaces_only_failed(job) { terminating } else { 0 };
    let missing = wanted.saturating_sub(active.len() + waiting_for).min(BURST);
    if missing == 0 || !backoff.is_zero() {
        return None;
    }
    if !is_indexed(job) {
        return Some(Action::Create { count: missing, indexes: Vec::new() });
    }
    let busy = pods.iter().filter(|pod| pods::is_active(pod) || (replaces_only_failed(job) && pods::is_terminating(pod)));
    let taken: BTreeSet<i32> = busy.filter_map(|pod| index_of(pod)).chain(tally.completed.iter().copied()).collect();
    let free = (0..completions(job).unwrap_or_default()).filter(|index| !taken.contains(index));
    let indexes: Vec<i32> = free.take(missing).collect();
    (!indexes.is_empty()).then(|| Action::Create { count: indexes.len(), indexes })
}

fn put(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|known| known.type_ == kind && known.status == value) {
        return false;
    }
    conditions.retain(|known| known.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(whole_second(now)),
        last_transition_time: Some(whole_second(now)),
    });
    true
}

fn suspend(job: &Job, status: &mut JobStatus, events: &mut Vec<Report>, now: Timestamp) {
    let was = outcome::condition(status, "Suspended").is_some();
    match (is_suspended(job), was) {
        (true, false) => {
            put(status, "Suspended", "True", "JobSuspended", "Job suspended", now);
            status.start_time = None;
            events.push((EventType::Normal, "Suspended".to_owned(), "Job suspended".to_owned()));
        }
        (false, true) => {
            put(status, "Suspended", "False", "JobResumed", "Job resumed", now);
            status.start_time = Some(whole_second(now));
            events.push((EventType::Normal, "Resumed".to_owned(), "Job resumed".to_owned()));
        }
        _ => {}
    }
}

/// First the decision, and when all pods are counted and gone, the end.
fn conclude(status: &mut JobStatus, events: &mut Vec<Report>, end: &End, quiet: bool, now: Timestamp) {
    let (interim, last) = if end.succeeded { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    put(status, interim, "True", &end.reason, &end.message, now);
    let record = status.uncounted_terminated_pods.clone().unwrap_or_default();
    if !quiet || record.succeeded.is_some() || record.failed.is_some() {
        return;
    }
    put(status, last, "True", &end.reason, &end.message, now);
    status.active = None;
    if end.succeeded {
        status.completion_time = Some(whole_second(now));
        events.push((EventType::Normal, "Completed".to_owned(), "Job completed".to_owned()));
    } else {
        events.push((EventType::Warning, end.reason.clone(), end.message.clone()));
    }
}

/// A pod of the Job; one with an index knows it in every way that Kubernetes tells it.
pub(super) fn new_pod(job: &Job, index: Option<i32>) -> Pod {
    let Some(spec) = job.spec.as_ref() else { return Pod::default() };
    let name = job.name_any();
    let mut pod = from_template(&spec.template, &name, controller_ref(job));
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.to_owned());
    let uid = job.uid().unwrap_or_default();
    // The server puts these into the template; they are what the Job's pods are found by.
    let labels = pod.labels_mut();
    for (key, value) in [("controller-uid", &uid), ("job-name", &name)] {
        labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        labels.entry(format!("batch.kubernetes.io/{key}")).or_insert_with(|| value.clone());
    }
    if let Some(index) = index {
        pod.metadata.generate_name = Some(format!("{name}-{index}-"));
        pod.labels_mut().insert(INDEX.to_owned(), index.to_string());
        pod.annotations_mut().insert(INDEX.to_owned(), index.to_string());
        if let Some(spec) = &mut pod.spec {
            spec.hostname.get_or_insert_with(|| format!("{name}-{index}"));
            let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
            containers.for_each(|container| tell_index(container.env.get_or_insert_default()));
        }
    }
    pod
}

fn tell_index(env: &mut Vec<EnvVar>) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    if env.iter().any(|known| known.name == NAME) {
        return;
    }
    let field_path = format!("metadata.labels['{INDEX}']");
    let field = ObjectFieldSelector { field_path, api_version: None };
    let value_from = Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() });
    env.push(EnvVar { name: NAME.to_owned(), value: None, value_from });
}
