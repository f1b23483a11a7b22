//! Which pods to take, give away, create and delete, and what to report.

use super::kinds::{Counts, ReplicaKind};
use crate::common::{
    claims::{Claim, claim},
    pods::{self, sort_for_deletion},
    selectors::has_all,
};
use jiff::Timestamp;
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Creations and deletions of one round; the next change brings the rest.
const BURST: usize = 500;

pub(super) struct Observed<K> {
    pub(super) set: Arc<K>,
    /// Its pods, and those of no one.
    pub(super) pods: Vec<Arc<Pod>>,
    /// Active pods per node, of this set and its siblings.
    pub(super) on_node: HashMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Release { pod: String },
    Adopt { pod: String },
    Create { count: usize },
    Delete { pods: Vec<String> },
}

pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) counts: Counts,
    /// When a ready pod becomes available without any change.
    pub(super) look_again: Option<Duration>,
}

impl<K: ReplicaKind> Observed<K> {
    fn claims(&self) -> impl Iterator<Item = (Claim, &Arc<Pod>)> {
        let selector = self.set.selector();
        self.pods.iter().map(move |pod| {
            let selected = selector.as_ref().is_some_and(|selector| selector.matches(&pod.metadata.labels));
            (claim(self.set.meta(), &pod.metadata, selected), pod)
        })
    }

    fn active(&self) -> Vec<Arc<Pod>> {
        let claimed = self.claims().filter(|(claim, _)| matches!(claim, Claim::Own | Claim::Adopt));
        claimed.map(|(_, pod)| pod.clone()).filter(|pod| pods::is_active(pod)).collect()
    }

    /// How many active pods there are too many; negative when there are too few.
    pub(super) fn active_surplus(&self) -> i64 {
        self.active().len() as i64 - i64::from(self.set.replicas())
    }
}

pub(super) fn plan<K: ReplicaKind>(now: Timestamp, observed: &Observed<K>) -> Plan {
    let set = observed.set.as_ref();
    let mut actions: Vec<Action> = observed
        .claims()
        .filter(|(_, pod)| pods::is_active(pod))
        .filter_map(|(claim, pod)| match claim {
            Claim::Adopt => Some(Action::Adopt { pod: pod.name_any() }),
            Claim::Release => Some(Action::Release { pod: pod.name_any() }),
            Claim::Own | Claim::Ignore => None,
        })
        .collect();
    actions.sort();
    let active = observed.active();
    if set.meta().deletion_timestamp.is_none() && set.selector().is_some() {
        actions.extend(scale(now, observed, &active));
    }
    let counts = count(now, observed, &active);
    let waiting = active.iter().filter_map(|pod| pods::available_in(pod, set.min_ready(), now));
    Plan { actions, counts, look_again: waiting.filter(|wait| !wait.is_zero()).min() }
}

fn scale<K: ReplicaKind>(now: Timestamp, observed: &Observed<K>, active: &[Arc<Pod>]) -> Option<Action> {
    let wanted = usize::try_from(observed.set.replicas()).unwrap_or_default();
    if active.len() < wanted {
        return Some(Action::Create { count: (wanted - active.len()).min(BURST) });
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return None;
    }
    let mut candidates = active.to_vec();
    sort_for_deletion(&mut candidates, &observed.on_node, now);
    let mut pods: Vec<String> = candidates[..surplus].iter().map(|pod| pod.name_any()).collect();
    pods.sort();
    Some(Action::Delete { pods })
}

fn count<K: ReplicaKind>(now: Timestamp, observed: &Observed<K>, active: &[Arc<Pod>]) -> Counts {
    let set = observed.set.as_ref();
    let labels = set.template().and_then(|template| template.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    let number = |wanted: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| wanted(pod)).count() as i32;
    let terminating =
        observed.claims().filter(|(claim, pod)| *claim == Claim::Own && pods::is_terminating(pod)).count();
    Counts {
        replicas: active.len() as i32,
        fully_labeled: number(&|pod| has_all(pod.metadata.labels.as_ref(), &labels)),
        ready: number(&pods::is_ready),
        available: number(&|pod| pods::is_available(pod, set.min_ready(), now)),
        terminating: K::REPORTS_TERMINATING.then_some(terminating as i32),
        observed_generation: set.meta().generation.unwrap_or_default(),
        failure: None,
    }
}
