//! The pods that wait for a node. Pure: time comes in as an argument.
//!
//! ```text
//!            add                      pop
//!   ─────────────────▶ active ─────────────────▶ (in flight)
//!                        ▲                            │ failed
//!            back-off is │                            ▼
//!            over        │      a change that can help, or 5 minutes
//!                     back-off ◀──────────────── unschedulable
//! ```
//!
//! When nothing is active, the pod whose back-off ends first goes early: there is nobody that it could hold up. After an
//! error it does not, because errors pass with time.
//!
//! Invariant: a pod is in at most one place.
//! Invariant: while the victims of a pod's preemption are being asked to go, the pod is not tried; what would have woken
//! it meanwhile wakes it then.

use crate::{
    metrics::{Metrics, Waits},
    pod_facts::PodFacts,
    profile::PluginSet,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// After this long a pod is tried again even if nothing happened that could help it.
const UNSCHEDULABLE_LONGEST: Duration = Duration::from_secs(5 * 60);

/// Higher priority first, then who has waited longest.
type Rank = (Reverse<i32>, u64);

/// How long a pod is held back after a failure: from `first`, doubled with each, up to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub last: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), last: Duration::from_secs(10) }
    }
}

impl Backoff {
    fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        if failures == 0 { Duration::ZERO } else { self.first.saturating_mul(1 << doublings).min(self.last) }
    }
}

/// Why a pod comes back from flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// These plugins rejected it: a change that helps one of them brings it back.
    Rejected(PluginSet),
    /// Something went wrong: it is tried again after its back-off.
    Error,
}

/// How often a pod was tried, and when first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    pub count: usize,
    pub since: Instant,
}

#[derive(Debug)]
struct Waiting {
    pod: Arc<PodFacts>,
    rank: Rank,
    tries: Option<Tries>,
    rejections: u32,
    errors: u32,
    place: Place,
    /// Whether it evicts others right now.
    preempting: bool,
    /// Whether something that helps has happened while it did.
    woken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    InFlight,
    Backoff { until: Instant, error: bool },
    Unschedulable { until: Instant, rejected_by: PluginSet, backoff_until: Instant },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    backoff_times: Backoff,
    /// By uid.
    pods: HashMap<Arc<str>, Waiting>,
    active: BTreeSet<(Rank, Arc<str>)>,
    backoff: BTreeSet<(Instant, Rank, Arc<str>)>,
    error_backoff: BTreeSet<(Instant, Rank, Arc<str>)>,
    /// By when they are tried again at the latest.
    unschedulable: BTreeMap<(Instant, Rank), (Arc<PodFacts>, PluginSet)>,
    arrivals: u64,
    metrics: Arc<Metrics>,
}

impl Queue {
    pub fn new(backoff_times: Backoff, metrics: Arc<Metrics>) -> Self {
        Self { backoff_times, metrics, ..Self::default() }
    }

    /// Adds a pod. One that is here already is left alone: see [`Queue::update`].
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        if self.pods.contains_key(&pod.uid) {
            return;
        }
        let rank = self.next_rank(&pod);
        let uid = pod.uid.clone();
        let waiting = Waiting {
            pod,
            rank,
            tries: None,
            rejections: 0,
            errors: 0,
            place: Place::Active,
            preempting: false,
            woken: false,
        };
        self.active.insert((rank, uid.clone()));
        self.metrics.waits(Waits::Active, "UnschedulablePodAdd");
        self.pods.insert(uid, waiting);
    }

    pub fn get(&self, uid: &str) -> Option<&Arc<PodFacts>> {
        self.pods.get(uid).map(|waiting| &waiting.pod)
    }

    /// Takes a newer version of a pod that is here; `helps` says whether what has changed can make it fit, asked with
    /// the plugins that rejected it.
    pub fn update(&mut self, pod: Arc<PodFacts>, now: Instant, helps: impl FnOnce(PluginSet) -> bool) {
        let uid = pod.uid.clone();
        let Some(waiting) = self.pods.get_mut(&uid) else { return };
        waiting.pod = pod.clone();
        if let Place::Unschedulable { until, rejected_by, .. } = waiting.place {
            self.unschedulable.insert((until, waiting.rank), (pod, rejected_by));
            if helps(rejected_by) {
                self.wake(&uid, now, "UnschedulablePodUpdate");
            }
        }
    }

    /// The next pod to place; it is in flight until [`Queue::remove`] or [`Queue::failed`].
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodFacts>> {
        self.release(now);
        let uid = match self.active.pop_first() {
            Some((_, uid)) => uid,
            None => {
                let early = self.backoff.pop_first()?.2;
                self.metrics.waits(Waits::Active, "PopFromBackoffQ");
                early
            }
        };
        let waiting = self.pods.get_mut(&uid).expect("a pod that waits is known");
        waiting.place = Place::InFlight;
        waiting.tries.get_or_insert(Tries { count: 0, since: now }).count += 1;
        Some(waiting.pod.clone())
    }

    /// How often a pod that is here was tried.
    pub fn tries(&self, uid: &str) -> Option<Tries> {
        self.pods.get(uid)?.tries
    }

    /// The pod was placed, deleted, or is no longer ours.
    pub fn remove(&mut self, uid: &str) {
        if let Some(waiting) = self.pods.remove(uid) {
            let uid: Arc<str> = waiting.pod.uid.clone();
            self.leave(waiting.place, waiting.rank, uid);
        }
    }

    /// A pod in flight could not be placed.
    pub fn failed(&mut self, uid: &str, failure: Failure, now: Instant) {
        let Some(pod) = self.pods.get(uid).map(|waiting| waiting.pod.clone()) else { return };
        let rank = self.next_rank(&pod);
        let Some(waiting) = self.pods.get_mut(uid).filter(|waiting| waiting.place == Place::InFlight) else { return };
        waiting.rank = rank;
        match failure {
            Failure::Rejected(_) => (waiting.rejections, waiting.errors) = (waiting.rejections + 1, 0),
            Failure::Error => waiting.errors += 1,
        }
        let failures = if waiting.errors > 0 { waiting.errors } else { waiting.rejections };
        let backoff_until = now + self.backoff_times.after(failures);
        match failure {
            Failure::Rejected(rejected_by) => {
                let until = now + UNSCHEDULABLE_LONGEST;
                waiting.place = Place::Unschedulable { until, rejected_by, backoff_until };
                self.unschedulable.insert((until, rank), (pod.clone(), rejected_by));
                self.metrics.waits(Waits::Unschedulable, "ScheduleAttemptFailure");
            }
            Failure::Error => {
                waiting.place = Place::Backoff { until: backoff_until, error: true };
                self.error_backoff.insert((backoff_until, rank, pod.uid.clone()));
                self.metrics.waits(Waits::Backoff, "ScheduleAttemptFailure");
            }
        }
    }

    /// Something changed: pods that it can help are tried again, after their back-off.
    pub fn notify(&mut self, now: Instant, event: &'static str, helps: impl Fn(&PodFacts, PluginSet) -> bool) {
        let helped = |(pod, rejected_by): &&(Arc<PodFacts>, PluginSet)| helps(pod, *rejected_by);
        let helped: Vec<Arc<str>> =
            self.unschedulable.values().filter(helped).map(|(pod, _)| pod.uid.clone()).collect();
        for uid in helped {
            self.wake(&uid, now, event);
        }
    }

    /// The pod has begun to evict others.
    pub fn preemption_begins(&mut self, uid: &str) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            (waiting.preempting, waiting.woken) = (true, false);
        }
    }

    /// All were asked to go, or it failed; then the pod is tried again in any case.
    pub fn preemption_ends(&mut self, uid: &str, failed: bool, now: Instant) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        waiting.preempting = false;
        if std::mem::take(&mut waiting.woken) || failed {
            self.wake(uid, now, if failed { "ForceActivate" } else { "AssignedPodDelete" });
        }
    }

    /// When [`Queue::pop`] may have something although nothing is added.
    pub fn next_release(&self) -> Option<Instant> {
        let first = |places: &BTreeSet<(Instant, Rank, Arc<str>)>| places.first().map(|(until, ..)| *until);
        let leftover = self.unschedulable.keys().next().map(|(until, _)| *until);
        first(&self.error_backoff).into_iter().chain(leftover).min()
    }

    /// Whether [`Queue::pop`] has something at once.
    pub fn is_ready(&self) -> bool {
        !self.active.is_empty() || !self.backoff.is_empty()
    }

    /// How many pods wait: ready to be tried, backing off, and unschedulable.
    pub fn lengths(&self) -> (usize, usize, usize) {
        (self.active.len(), self.backoff.len() + self.error_backoff.len(), self.unschedulable.len())
    }

    fn next_rank(&mut self, pod: &PodFacts) -> Rank {
        self.arrivals += 1;
        (Reverse(pod.priority), self.arrivals)
    }

    fn leave(&mut self, place: Place, rank: Rank, uid: Arc<str>) {
        match place {
            Place::Active => drop(self.active.remove(&(rank, uid))),
            Place::InFlight => {}
            Place::Backoff { until, error: false } => drop(self.backoff.remove(&(until, rank, uid))),
            Place::Backoff { until, error: true } => drop(self.error_backoff.remove(&(until, rank, uid))),
            Place::Unschedulable { until, .. } => drop(self.unschedulable.remove(&(until, rank))),
        }
    }

    fn wake(&mut self, uid: &str, now: Instant, event: &'static str) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        let Place::Unschedulable { until, backoff_until, .. } = waiting.place else { return };
        if waiting.preempting {
            waiting.woken = true;
            return;
        }
        let (rank, uid) = (waiting.rank, waiting.pod.uid.clone());
        self.unschedulable.remove(&(until, rank));
        if backoff_until > now {
            waiting.place = Place::Backoff { until: backoff_until, error: false };
            self.backoff.insert((backoff_until, rank, uid));
            self.metrics.waits(Waits::Backoff, event);
        } else {
            waiting.place = Place::Active;
            self.active.insert((rank, uid));
            self.metrics.waits(Waits::Active, event);
        }
    }

    fn release(&mut self, now: Instant) {
        let mut due: Vec<(Arc<str>, &'static str)> = Vec::new();
        for places in [&mut self.backoff, &mut self.error_backoff] {
            while places.first().is_some_and(|(until, ..)| *until <= now) {
                due.extend(places.pop_first().map(|(_, _, uid)| (uid, "BackoffComplete")));
            }
        }
        while self.unschedulable.keys().next().is_some_and(|(until, _)| *until <= now) {
            due.extend(self.unschedulable.pop_first().map(|(_, (pod, _))| (pod.uid.clone(), "UnschedulableTimeout")));
        }
        for (uid, event) in due {
            self.metrics.waits(Waits::Active, event);
            let waiting = self.pods.get_mut(&uid).expect("a pod that waits is known");
            waiting.place = Place::Active;
            waiting.preempting = false;
            self.active.insert((waiting.rank, uid));
        }
    }
}
