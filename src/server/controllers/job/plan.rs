//! What to create, delete and count for a Job, and what to report.

use super::{
    Report, finished,
    manage::{Managed, Pods, manage},
    outcome::{self, End},
    pod::Index,
    spec::{completions, is_suspended, is_tracked},
    tally::{Ending, record, tally},
};
use crate::common::{
    claims::{Claim, claim, is_controlled_by},
    pods, selectors,
    updates::{positive, whole_second},
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use mk8s_client::{events::EventType, kube::ResourceExt, pod::Pod};
use std::{sync::Arc, time::Duration};

pub(super) struct Observed {
    pub(super) job: Arc<Job>,
    /// Its pods, and those of no one.
    pub(super) pods: Vec<Arc<Pod>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Release {
        pod: String,
    },
    Adopt {
        pod: String,
    },
    /// Pods whose end counts.
    Delete {
        pods: Vec<String>,
    },
    /// Pods that are not wanted any more: what becomes of them does not count.
    Discard {
        pods: Vec<String>,
    },
    /// `indexes` is empty for Jobs whose pods have none.
    Create {
        count: usize,
        indexes: Vec<Index>,
    },
    /// Take the tracking finalizer away, once the status is written.
    Strip {
        pods: Vec<String>,
    },
}

pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) status: Option<JobStatus>,
    pub(super) events: Vec<Report>,
    pub(super) look_again: Option<Duration>,
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
    if status.start_time.is_none() && !is_suspended(job) {
        status.start_time = Some(whole_second(now));
    }
    let mut tally = tally(job, &pods, &mut status);
    let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let mut counts = Counts {
        active: active.len(),
        ready: active.iter().filter(|pod| pods::is_ready(pod)).count(),
        terminating: pods.iter().filter(|pod| pods::is_terminating(pod)).count(),
    };
    let mut look_again = outcome::deadline_in(job, &status, now);
    let mut end = outcome::end(job, &status, &pods, &tally, now);
    if end.is_some() {
        let all: Vec<String> = active.iter().map(|pod| pod.name_any()).collect();
        counts.lose(&active, &all);
        actions.extend((!all.is_empty()).then_some(Action::Delete { pods: all }));
    } else {
        let managed = match job.metadata.deletion_timestamp {
            None => manage(job, &Pods { all: &pods, active: &active, terminating: counts.terminating }, &tally, now),
            Some(_) => Managed::Nothing,
        };
        match managed {
            Managed::Do(action) => {
                counts.after(&active, &action);
                actions.push(action);
            }
            Managed::Wait(wait) => look_again = Some(look_again.map_or(wait, |known| known.min(wait))),
            Managed::Nothing => {}
        }
        let reached = match completions(job) {
            None => tally.succeeded > 0,
            Some(wanted) => tally.succeeded >= wanted,
        };
        if reached && counts.active == 0 {
            end = Some(End::completed());
        } else if job.metadata.deletion_timestamp.is_none() {
            suspend(job, &mut status, &mut events, now);
        }
    }
    let ending = match &end {
        None => Ending::No,
        Some(end) if end.succeeded => Ending::Well,
        Some(_) => Ending::Badly,
    };
    let recorded = record(job, &pods, &mut tally, ending, &mut status);
    status.active = positive(counts.active as i32);
    status.terminating = Some(counts.terminating as i32);
    status.ready = Some(counts.ready as i32);
    if let Some(end) = end {
        let quiet = counts.terminating == 0 && !recorded.is_full;
        conclude(job, &mut status, &mut events, &end, quiet, now);
        look_again = None;
    }
    actions.extend((!recorded.strip.is_empty()).then_some(Action::Strip { pods: recorded.strip }));
    let changed = job.status.as_ref() != Some(&status);
    Plan { actions, status: changed.then_some(status), events, look_again: look_again.filter(|wait| !wait.is_zero()) }
}

/// Pods as they will be after the round.
struct Counts {
    active: usize,
    ready: usize,
    terminating: usize,
}

impl Counts {
    fn lose(&mut self, active: &[Arc<Pod>], names: &[String]) {
        let going = active.iter().filter(|pod| names.contains(&pod.name_any()));
        self.ready -= going.filter(|pod| pods::is_ready(pod)).count();
        self.active -= names.len();
        self.terminating += names.len();
    }

    fn after(&mut self, active: &[Arc<Pod>], action: &Action) {
        match action {
            Action::Create { count, .. } => self.active += count,
            Action::Discard { pods } => self.lose(active, pods),
            _ => {}
        }
    }
}

fn claim_pods(observed: &Observed) -> (Vec<Action>, Vec<Arc<Pod>>) {
    let job = observed.job.as_ref();
    let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.and_then(|selector| selectors::compile(Some(selector)));
    let mut actions = Vec::new();
    let mut own = Vec::new();
    for pod in &observed.pods {
        let owned = is_controlled_by(&pod.metadata, job.metadata.uid.as_deref());
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

/// True when the condition is another one than before.
fn put(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let is_same = |known: &JobCondition| {
        known.status == value && text(&known.reason) == reason && text(&known.message) == message
    };
    let condition = JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(whole_second(now)),
        last_transition_time: Some(whole_second(now)),
    };
    match conditions.iter_mut().find(|known| known.type_ == kind) {
        Some(known) if is_same(known) => return false,
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
    true
}

fn suspend(job: &Job, status: &mut JobStatus, events: &mut Vec<Report>, now: Timestamp) {
    let known = status.conditions.iter().flatten().any(|known| known.type_ == "Suspended");
    if is_suspended(job) && put(status, "Suspended", "True", "JobSuspended", "Job suspended", now) {
        status.start_time = None;
        events.push((EventType::Normal, "Suspended".to_owned(), "Job suspended".to_owned()));
    } else if !is_suspended(job) && known && put(status, "Suspended", "False", "JobResumed", "Job resumed", now) {
        status.start_time = Some(whole_second(now));
        events.push((EventType::Normal, "Resumed".to_owned(), "Job resumed".to_owned()));
    }
}

/// First the decision, and when all pods are counted and gone, the end.
fn conclude(job: &Job, status: &mut JobStatus, events: &mut Vec<Report>, end: &End, quiet: bool, now: Timestamp) {
    let (interim, last) = if end.succeeded { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    put(status, interim, "True", &end.reason, &end.message, now);
    let record = status.uncounted_terminated_pods.clone().unwrap_or_default();
    if !quiet || record.succeeded.is_some() || record.failed.is_some() {
        return;
    }
    put(status, last, "True", &end.reason, &end.message, now);
    if !end.succeeded {
        return events.push((EventType::Warning, end.reason.clone(), end.message.clone()));
    }
    status.completion_time = Some(whole_second(now));
    if completions(job).is_some_and(|wanted| status.succeeded.unwrap_or_default() > wanted) {
        let message = "Too many succeeded pods running after completion count reached";
        events.push((EventType::Warning, "TooManySucceededPods".to_owned(), message.to_owned()));
    }
    events.push((EventType::Normal, "Completed".to_owned(), "Job completed".to_owned()));
}
