//! Which ordinals get, keep and lose their pods, and what is reported.
//!
//! ```text
//! OrderedReady:  0 ─▶ 1 ─▶ 2 ─▶ …  each waits for the one before it to be available; surplus goes from the top
//! Parallel:      all at once
//! both:          when all are as they should be, old revisions go from the top, as many as may be missing
//! ```

use super::{
    identity::{self, in_range, ordinal_of},
    retention,
};
use crate::common::{
    claims::{Claim, claim},
    history::POD_HASH,
    pods::{self, is_ready},
    selectors,
    updates::scaled,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetStatus},
        core::v1::PersistentVolumeClaim,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

pub(super) struct Observed {
    pub(super) set: Arc<StatefulSet>,
    /// Its pods, and those of no one.
    pub(super) pods: Vec<Arc<Pod>>,
    /// Of its namespace, by name.
    pub(super) claims: HashMap<String, Arc<PersistentVolumeClaim>>,
    /// Names of the revisions that pods have and that they should have.
    pub(super) current: String,
    pub(super) update: String,
    pub(super) collisions: i32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Release {
        pod: String,
    },
    Adopt {
        pod: String,
    },
    /// A pod for an ordinal, of the update revision or of the current one, after its claims.
    Create {
        ordinal: i32,
        updated: bool,
    },
    /// Claims that a pending pod lacks.
    Claim {
        ordinal: i32,
    },
    /// A pod gets back the labels and volumes of its ordinal.
    Restore {
        pod: String,
        ordinal: i32,
    },
    /// A claim gets the owners that the retention policy asks for.
    Own {
        claim: String,
        owners: Vec<OwnerReference>,
    },
    Delete {
        pod: String,
    },
}

pub(super) struct Plan {
    /// To be done in this order; one that fails ends the round.
    pub(super) actions: Vec<Action>,
    /// Claims whose owners are another's business.
    pub(super) conflicts: Vec<String>,
    pub(super) status: Option<StatefulSetStatus>,
    pub(super) look_again: Option<Duration>,
}

/// Whether to go on with the next ordinal.
#[derive(PartialEq, Eq)]
enum Step {
    Next,
    Wait,
}

struct Round<'a> {
    now: Timestamp,
    observed: &'a Observed,
    set: &'a StatefulSet,
    ordered: bool,
    min_ready: i32,
    actions: Vec<Action>,
    conflicts: Vec<String>,
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let set = observed.set.as_ref();
    let (actions, own) = claim_pods(observed);
    let policy = set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref());
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
    let ordered = policy != Some("Parallel");
    let mut round = Round { now, observed, set, ordered, min_ready, actions, conflicts: Vec::new() };
    let mut status = round.count(&own);
    if set.metadata.deletion_timestamp.is_none() {
        let (wanted, surplus): (Vec<_>, Vec<_>) = own.iter().partition(|(ordinal, _)| in_range(set, **ordinal));
        let wanted: BTreeMap<i32, &Arc<Pod>> = wanted.into_iter().map(|(ordinal, pod)| (*ordinal, pod)).collect();
        let surplus: Vec<(i32, &Arc<Pod>)> = surplus.into_iter().rev().map(|(ordinal, pod)| (*ordinal, pod)).collect();
        if round.establish(&wanted, &surplus) == Step::Next {
            let going = round.roll(&wanted);
            status.current_replicas = status.current_replicas.map(|count| count - going);
        }
    }
    complete(set, &mut status);
    let waits = own.values().filter_map(|pod| pods::available_in(pod, min_ready, now)).filter(|wait| !wait.is_zero());
    let look_again = waits.min();
    let changed = set.status.as_ref() != Some(&status);
    Plan { actions: round.actions, conflicts: round.conflicts, status: changed.then_some(status), look_again }
}

/// Only pods whose name says that they are the set's are taken.
fn claim_pods(observed: &Observed) -> (Vec<Action>, BTreeMap<i32, Arc<Pod>>) {
    let set = observed.set.as_ref();
    let selector = selectors::compile(set.spec.as_ref().map(|spec| &spec.selector));
    let (mut actions, mut own) = (Vec::new(), BTreeMap::new());
    for pod in &observed.pods {
        let ordinal = ordinal_of(set, pod);
        let selected = selector.as_ref().is_some_and(|selector| selector.matches(&pod.metadata.labels));
        match (claim(&set.metadata, &pod.metadata, selected && ordinal.is_some()), ordinal) {
            (Claim::Own, Some(ordinal)) => drop(own.insert(ordinal, pod.clone())),
            (Claim::Adopt, Some(ordinal)) => {
                actions.push(Action::Adopt { pod: pod.name_any() });
                own.insert(ordinal, pod.clone());
            }
            (Claim::Release, _) => actions.push(Action::Release { pod: pod.name_any() }),
            _ => {}
        }
    }
    (actions, own)
}

impl Round<'_> {
    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_available(pod, self.min_ready, self.now)
    }

    /// Not there, not available, or about to go.
    fn is_missing(&self, pod: Option<&&Arc<Pod>>) -> bool {
        pod.is_none_or(|pod| !self.is_available(pod) || pod.metadata.deletion_timestamp.is_some())
    }

    /// Brings every ordinal that is wanted to life and every other one to its end.
    fn establish(&mut self, wanted: &BTreeMap<i32, &Arc<Pod>>, surplus: &[(i32, &Arc<Pod>)]) -> Step {
        for ordinal in ordinals(self.set) {
            if self.keep(ordinal, wanted.get(&ordinal).copied()) == Step::Wait && self.ordered {
                return Step::Wait;
            }
        }
        for (ordinal, pod) in surplus {
            self.own_claims(*ordinal, pod);
        }
        // The lowest ordinal that is not well may go though it is not: waiting for it would be for ever.
        let unwell = ordinals(self.set).find(|ordinal| self.is_missing(wanted.get(ordinal)));
        let lowest = surplus.iter().rev().find(|(_, pod)| self.is_missing(Some(pod))).map(|(ordinal, _)| *ordinal);
        let excused = if unwell.is_some() { None } else { lowest };
        for (ordinal, pod) in surplus {
            if pod.metadata.deletion_timestamp.is_some() {
                if self.ordered {
                    return Step::Wait;
                }
                continue;
            }
            if self.ordered && !(is_running(pod) && self.is_available(pod)) && excused != Some(*ordinal) {
                return Step::Wait;
            }
            self.actions.push(Action::Delete { pod: pod.name_any() });
            if self.ordered {
                return Step::Wait;
            }
        }
        Step::Next
    }

    /// One ordinal that is wanted.
    fn keep(&mut self, ordinal: i32, pod: Option<&Arc<Pod>>) -> Step {
        let Some(pod) = pod else {
            if !self.awaits_claims(ordinal) {
                self.actions.push(Action::Create { ordinal, updated: self.takes_update(ordinal) });
            }
            return Step::Wait;
        };
        if pods::is_finished(pod) {
            if pod.metadata.deletion_timestamp.is_none() {
                self.actions.push(Action::Delete { pod: pod.name_any() });
            }
            return Step::Wait;
        }
        if pods::phase(pod) == "Pending" && self.lacks_claims(ordinal) {
            self.actions.push(Action::Claim { ordinal });
        }
        let ready = pod.metadata.deletion_timestamp.is_none() && is_running(pod) && self.is_available(pod);
        if self.ordered && !ready {
            return Step::Wait;
        }
        self.own_claims(ordinal, pod);
        if !identity::is_itself(self.set, ordinal, pod) {
            self.actions.push(Action::Restore { pod: pod.name_any(), ordinal });
        }
        Step::Next
    }

    /// A claim of the pod that had this ordinal before is about to be collected with it.
    fn awaits_claims(&self, ordinal: i32) -> bool {
        let next = identity::new_pod(self.set, &Default::default(), "", ordinal);
        retention::Policy::of(self.set).delete_when_scaled
            && self.claims_of(ordinal).any(|claim| claim.is_some_and(|claim| retention::is_stale(claim, &next)))
    }

    fn lacks_claims(&self, ordinal: i32) -> bool {
        self.claims_of(ordinal).any(|claim| claim.is_none())
    }

    fn claims_of(&self, ordinal: i32) -> impl Iterator<Item = Option<&Arc<PersistentVolumeClaim>>> {
        let name = move |template| identity::claim_name(self.set, template, ordinal);
        identity::templates(self.set).iter().map(move |template| self.observed.claims.get(&name(template)))
    }

    fn own_claims(&mut self, ordinal: i32, pod: &Pod) {
        let (mut actions, mut conflicts) = (Vec::new(), Vec::new());
        for claim in self.claims_of(ordinal).flatten() {
            let Some(owners) = retention::owners(claim, self.set, ordinal, pod) else { continue };
            if retention::has_other_controller(claim, self.set, pod) {
                conflicts.push(claim.name_any());
            }
            actions.push(Action::Own { claim: claim.name_any(), owners });
        }
        self.actions.extend(actions);
        self.conflicts.extend(conflicts);
    }

    /// Whether a new pod is of the update revision: below the partition, and in a rollout without one below the count of
    /// pods that are still of the current revision, it is not.
    fn takes_update(&self, ordinal: i32) -> bool {
        if strategy(self.set) != "RollingUpdate" {
            return true;
        }
        let offset = match rolling(self.set) {
            Some(rolling) => rolling.partition.unwrap_or_default(),
            None => self.set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or_default(),
        };
        i64::from(ordinal) >= i64::from(identity::start(self.set)) + i64::from(offset)
    }

    /// Deletes pods of other revisions, the highest ordinal first; how many.
    fn roll(&mut self, wanted: &BTreeMap<i32, &Arc<Pod>>) -> i32 {
        if strategy(self.set) == "OnDelete" {
            return 0;
        }
        let is_old = |pod: &Pod| revision_of(pod) != Some(&self.observed.update) && pods::is_active(pod);
        let partition = rolling(self.set).and_then(|rolling| rolling.partition).unwrap_or_default();
        let eligible = ordinals(self.set).skip(usize::try_from(partition).unwrap_or_default());
        let eligible: Vec<i32> = eligible.collect();
        let mut going = Vec::new();
        match rolling(self.set).and_then(|rolling| rolling.max_unavailable.as_ref()) {
            None => {
                for ordinal in eligible.iter().rev() {
                    match wanted.get(ordinal) {
                        Some(pod) if is_old(pod) => {
                            going.push(pod.name_any());
                            break;
                        }
                        pod if self.is_missing(pod) => break,
                        _ => {}
                    }
                }
            }
            Some(limit) => {
                let limit = scaled(limit, identity::replicas(self.set), false).max(1);
                let missing = ordinals(self.set).filter(|ordinal| self.is_missing(wanted.get(ordinal))).count();
                let allowed = usize::try_from(limit).unwrap_or_default().saturating_sub(missing);
                let old = eligible.iter().rev().filter_map(|ordinal| wanted.get(ordinal)).filter(|pod| is_old(pod));
                going.extend(old.take(allowed).map(|pod| pod.name_any()));
            }
        }
        let count = going.len() as i32;
        self.actions.extend(going.into_iter().map(|pod| Action::Delete { pod }));
        count
    }

    fn count(&self, own: &BTreeMap<i32, Arc<Pod>>) -> StatefulSetStatus {
        let number = |wanted: &dyn Fn(&Pod) -> bool| own.values().filter(|pod| wanted(pod)).count() as i32;
        let alive = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
        let of = |revision: &str| number(&|pod| alive(pod) && revision_of(pod).is_some_and(|known| known == revision));
        StatefulSetStatus {
            observed_generation: self.set.metadata.generation,
            replicas: own.len() as i32,
            ready_replicas: Some(number(&is_running)).filter(|count| *count > 0),
            available_replicas: Some(number(&|pod| is_running(pod) && self.is_available(pod))),
            current_replicas: Some(of(&self.observed.current)),
            updated_replicas: Some(of(&self.observed.update)),
            current_revision: Some(self.observed.current.clone()),
            update_revision: Some(self.observed.update.clone()),
            collision_count: Some(self.observed.collisions),
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
        }
    }
}

fn ordinals(set: &StatefulSet) -> impl DoubleEndedIterator<Item = i32> + use<> {
    let first = identity::start(set);
    first..first.saturating_add(identity::replicas(set).max(0))
}

fn strategy(set: &StatefulSet) -> &str {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate")
}

fn rolling(set: &StatefulSet) -> Option<&RollingUpdateStatefulSetStrategy> {
    set.spec.as_ref()?.update_strategy.as_ref()?.rolling_update.as_ref()
}

fn is_running(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && is_ready(pod)
}

fn revision_of(pod: &Pod) -> Option<&String> {
    pod.labels().get(POD_HASH)
}

/// Once all pods are of the update revision and ready, it is the current one.
fn complete(set: &StatefulSet, status: &mut StatefulSetStatus) {
    let wanted = identity::replicas(set);
    let updated = status.updated_replicas.unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or_default();
    if strategy(set) == "RollingUpdate" && [updated, ready, status.replicas] == [wanted; 3] {
        status.current_replicas = status.updated_replicas;
        status.current_revision = status.update_revision.clone();
    }
    // Zero is left out of a status, but for what has always been there.
    for count in [&mut status.current_replicas, &mut status.updated_replicas] {
        *count = count.filter(|count| *count != 0);
    }
}
