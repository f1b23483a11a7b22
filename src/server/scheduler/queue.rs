//! The pods that wait for a node. Pure: time comes in as an argument.
//!
//! ```text
//!            add                      pop
//!   ─────────────────▶ active ─────────────────▶ (in flight)
//!                        ▲                            │ failed
//!            back-off is │                            ▼
//!            over        │      an event that can help, or 5 minutes
//!                     back-off ◀──────────────── unschedulable
//! ```
//!
//! Invariant: a pod is in at most one place. An event that comes while a pod is in flight is remembered, so that a
//! failure which the event would have healed does not wait for the next one.

use crate::{events::Events, pod_facts::PodFacts};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// After this long a pod is tried again even if nothing happened that could help it.
const UNSCHEDULABLE_LONGEST: Duration = Duration::from_secs(5 * 60);

/// Higher priority first, then who has waited longest.
type Rank = (Reverse<i32>, u64);

#[derive(Debug)]
struct Waiting {
    pod: Arc<PodFacts>,
    rank: Rank,
    attempts: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    InFlight { missed: Events },
    Backoff { until: Instant },
    Unschedulable { until: Instant, helped_by: Events, backoff_until: Instant },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    /// By uid.
    pods: HashMap<String, Waiting>,
    active: BTreeSet<(Rank, String)>,
    backoff: BTreeMap<(Instant, u64), String>,
    /// By when they are tried again at the latest.
    unschedulable: BTreeMap<(Instant, u64), String>,
    in_flight: BTreeSet<String>,
    arrivals: u64,
}

impl Queue {
    /// Adds a pod, or takes a newer version of one that is here.
    pub fn add(&mut self, pod: Arc<PodFacts>, now: Instant) {
        let uid = pod.uid.clone();
        if let Some(waiting) = self.pods.get_mut(&uid) {
            let spec_changed = waiting.pod.pod.spec != pod.pod.spec || waiting.pod.pod.metadata.labels != pod.pod.metadata.labels;
            waiting.pod = pod;
            if spec_changed {
                self.wake(&uid, Events::POD_CHANGED, now);
            }
            return;
        }
        self.arrivals += 1;
        let rank = (Reverse(pod.priority), self.arrivals);
        self.active.insert((rank, uid.clone()));
        self.pods.insert(uid, Waiting { pod, rank, attempts: 0, place: Place::Active });
    }

    /// The next pod to place; it is in flight until [`Queue::remove`] or [`Queue::failed`].
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodFacts>> {
        self.release(now);
        let (_, uid) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&uid).expect("an active pod is known");
        waiting.place = Place::InFlight { missed: Events::NONE };
        waiting.attempts += 1;
        self.in_flight.insert(uid);
        Some(waiting.pod.clone())
    }

    /// The pod was placed, deleted, or is no longer ours.
    pub fn remove(&mut self, uid: &str) {
        if let Some(waiting) = self.pods.remove(uid) {
            let arrival = waiting.rank.1;
            match waiting.place {
                Place::Active => drop(self.active.remove(&(waiting.rank, uid.to_owned()))),
                Place::InFlight { .. } => drop(self.in_flight.remove(uid)),
                Place::Backoff { until } => drop(self.backoff.remove(&(until, arrival))),
                Place::Unschedulable { until, .. } => drop(self.unschedulable.remove(&(until, arrival))),
            }
        }
    }

    /// A pod in flight found no node (`helped_by` says what could change that), or its binding failed (`ALL`).
    pub fn failed(&mut self, uid: &str, helped_by: Events, now: Instant) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        let Place::InFlight { missed } = waiting.place else { return };
        self.in_flight.remove(uid);
        let backoff_until = now + backoff(waiting.attempts);
        if missed.intersects(helped_by) || helped_by == Events::ALL {
            waiting.place = Place::Backoff { until: backoff_until };
            self.backoff.insert((backoff_until, waiting.rank.1), uid.to_owned());
        } else {
            let until = now + UNSCHEDULABLE_LONGEST;
            waiting.place = Place::Unschedulable { until, helped_by, backoff_until };
            self.unschedulable.insert((until, waiting.rank.1), uid.to_owned());
        }
    }

    /// Something changed: pods that it can help are tried again, after their back-off.
    pub fn notify(&mut self, events: Events, now: Instant) {
        if events.is_empty() {
            return;
        }
        let candidates: Vec<String> = self.unschedulable.values().chain(&self.in_flight).cloned().collect();
        for uid in candidates {
            self.wake(&uid, events, now);
        }
    }

    /// When [`Queue::pop`] may have something although nothing is added: the end of the next back-off.
    pub fn next_release(&self) -> Option<Instant> {
        let first = |places: &BTreeMap<(Instant, u64), String>| places.keys().next().map(|(until, _)| *until);
        first(&self.backoff).into_iter().chain(first(&self.unschedulable)).min()
    }

    /// How many pods wait: ready to be tried, backing off, and unschedulable.
    pub fn lengths(&self) -> (usize, usize, usize) {
        (self.active.len(), self.backoff.len(), self.unschedulable.len())
    }

    fn wake(&mut self, uid: &str, events: Events, now: Instant) {
        let Some(waiting) = self.pods.get_mut(uid) else { return };
        match &mut waiting.place {
            Place::InFlight { missed } => *missed = *missed | events,
            Place::Unschedulable { until, helped_by, backoff_until } if helped_by.intersects(events) => {
                self.unschedulable.remove(&(*until, waiting.rank.1));
                if *backoff_until > now {
                    let until = *backoff_until;
                    waiting.place = Place::Backoff { until };
                    self.backoff.insert((until, waiting.rank.1), uid.to_owned());
                } else {
                    waiting.place = Place::Active;
                    self.active.insert((waiting.rank, uid.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn release(&mut self, now: Instant) {
        for places in [&mut self.backoff, &mut self.unschedulable] {
            while let Some(entry) = places.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                let uid = entry.remove();
                let waiting = self.pods.get_mut(&uid).expect("a pod that waits is known");
                waiting.place = Place::Active;
                self.active.insert((waiting.rank, uid));
            }
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(BACKOFF_LAST)
}
