//! Affinity between pods: near some, away from others; and the terms of pods that are placed hold against newcomers.

use crate::{
    change::{Change, Pair, Subject},
    events::Events,
    framework::*,
    index::topology::Domain,
    node_info::{NodeFacts, NodeInfo},
    pod_facts::PodFacts,
    snapshot::Snapshot,
    terms::{Holds, Term, means_all},
};
use std::sync::Arc;

pub struct InterPodAffinity {
    /// What a required affinity term of a placed pod is worth to a pod that it means.
    pub hard_weight: i64,
    /// Whether preferences of placed pods are left out for pods that have none.
    pub ignore_preferences_of_placed: bool,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self { hard_weight: 1, ignore_preferences_of_placed: false }
    }
}

const AFFINITY: &str = "node(s) didn't match pod affinity rules";
const ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
const HELD_ANTI_AFFINITY: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }
    fn events(&self) -> Events {
        Events::POD_ADDED | Events::POD_LABELS | Events::POD_GONE | Events::NODE_ADDED | Events::NODE_LABELS
    }
    fn helps(&self, pod: &PodFacts, change: &Change, snapshot: &Snapshot) -> bool {
        match &change.subject {
            Subject::Itself(_) => true,
            Subject::Pod(pair) => pod_helps(pod, pair, snapshot),
            Subject::Node(pair) => node_helps(pod, pair),
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        let held_columns = held_anti_affinity(cycle);
        let terms = &cycle.pod.terms;
        if held_columns.is_empty() && terms.required_affinity.is_empty() && terms.required_anti_affinity.is_empty() {
            return Prepared::Skip;
        }
        let totals = cycle.needs.affinity.iter().map(|need| cycle.snapshot.counters.at(need.counts).total());
        let total = totals.max().unwrap_or(0);
        let anti_supposed = vec![0; terms.required_anti_affinity.len()];
        Prepared::Ask(Box::new(Terms {
            cycle,
            held_columns,
            total,
            affinity_supposed: 0,
            anti_supposed,
            supposed_at: None,
        }))
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        if self.ignore_preferences_of_placed && cycle.needs.preferred.is_empty() {
            return None;
        }
        let weight = |holds: Holds| match holds {
            Holds::RequiredAntiAffinity => 0,
            Holds::RequiredAffinity => self.hard_weight,
            Holds::Preference { weight } => i64::from(weight),
        };
        let held = cycle.needs.held.iter().map(|group| (*group, weight(cycle.snapshot.held.at(*group).holds)));
        let held: Vec<(usize, i64)> = held.filter(|(_, weight)| *weight != 0).collect();
        if held.is_empty() && cycle.needs.preferred.is_empty() {
            return None;
        }
        Some(Box::new(Preferences { cycle, held }))
    }
}

fn pod_helps(pod: &PodFacts, pair: &Pair<PodFacts>, snapshot: &Snapshot) -> bool {
    let means = |terms: &[Arc<Term>], other: &PodFacts| {
        let labels = snapshot.catalogue.namespace_labels(&other.namespace);
        means_all(terms, &other.namespace, labels, other.labels())
    };
    let (with, against) = (&pod.terms.required_affinity, &pod.terms.required_anti_affinity);
    match (&pair.old, &pair.new) {
        (Some(old), Some(new)) => {
            (!means(with, old) && means(with, new)) || (means(against, old) && !means(against, new))
        }
        (None, Some(new)) => means(with, new),
        (Some(old), None) => means(against, old) || means(&old.terms.required_anti_affinity, pod),
        (None, None) => false,
    }
}

fn node_helps(pod: &PodFacts, pair: &Pair<NodeFacts>) -> bool {
    let (Some(new), old) = (&pair.new, &pair.old) else { return false };
    let moved = |term: &Arc<Term>| match old {
        Some(old) => old.labels().get(&term.topology_key) != new.labels().get(&term.topology_key),
        None => true,
    };
    let has = |term: &Arc<Term>| new.labels().contains_key(&term.topology_key);
    let had = |term: &Arc<Term>| old.as_ref().is_none_or(|old| old.labels().contains_key(&term.topology_key));
    pod.terms.required_affinity.iter().any(|term| has(term) && moved(term))
        || pod.terms.required_anti_affinity.iter().any(|term| had(term) && moved(term))
}

/// Terms that hold against the pod, by the topology they are about.
struct HeldColumn {
    column: usize,
    groups: Vec<usize>,
    supposed: i64,
}

fn held_anti_affinity(cycle: Cycle<'_>) -> Vec<HeldColumn> {
    let mut columns: Vec<HeldColumn> = Vec::new();
    for group in &cycle.needs.held {
        let held = cycle.snapshot.held.at(*group);
        if held.holds != Holds::RequiredAntiAffinity {
            continue;
        }
        match columns.iter_mut().find(|known| known.column == held.column) {
            Some(known) => known.groups.push(*group),
            None => columns.push(HeldColumn { column: held.column, groups: vec![*group], supposed: 0 }),
        }
    }
    columns
}

/// The required terms, and what is supposed of one node.
struct Terms<'a> {
    cycle: Cycle<'a>,
    held_columns: Vec<HeldColumn>,
    /// How many placed pods the pod's affinity means.
    total: i64,
    affinity_supposed: i64,
    anti_supposed: Vec<i64>,
    supposed_at: Option<crate::node_info::Slot>,
}

impl Terms<'_> {
    fn domain(&self, column: usize, node: &NodeInfo) -> Option<Domain> {
        self.cycle.snapshot.topology.domain(column, node.slot)
    }

    /// A supposition counts for the node that it is about.
    fn more(&self, node: &NodeInfo, supposed: i64) -> i64 {
        if self.supposed_at == Some(node.slot) { supposed } else { 0 }
    }

    fn near_enough(&self, node: &NodeInfo) -> bool {
        let needs = self.cycle.needs;
        let mut all_there = true;
        for need in &needs.affinity {
            let Some(domain) = self.domain(need.column, node) else { return false };
            let there = self.cycle.snapshot.counters.at(need.counts).count(domain);
            all_there &= there + self.more(node, self.affinity_supposed) > 0;
        }
        // The first of a group that wants to be together may go anywhere.
        let nobody = self.total + self.affinity_supposed <= 0;
        all_there || (nobody && needs.affinity_to_itself)
    }

    fn far_enough(&self, node: &NodeInfo) -> bool {
        self.cycle.needs.anti_affinity.iter().zip(&self.anti_supposed).all(|(need, supposed)| {
            self.domain(need.column, node).is_none_or(|domain| {
                self.cycle.snapshot.counters.at(need.counts).count(domain) + self.more(node, *supposed) <= 0
            })
        })
    }

    fn welcome(&self, node: &NodeInfo) -> bool {
        self.held_columns.iter().all(|held| {
            self.domain(held.column, node).is_none_or(|domain| {
                let counts = held.groups.iter().map(|group| self.cycle.snapshot.held.at(*group).count(domain));
                counts.sum::<i64>() + self.more(node, held.supposed) <= 0
            })
        })
    }
}

impl Filter for Terms<'_> {
    fn looks_at_pods(&self) -> bool {
        true
    }

    fn check(&self, node: &NodeInfo) -> Verdict {
        if !self.near_enough(node) {
            return Err(Rejection::unresolvable(AFFINITY));
        }
        if !self.far_enough(node) {
            return Err(Rejection::resolvable(ANTI_AFFINITY));
        }
        if !self.welcome(node) {
            return Err(Rejection::resolvable(HELD_ANTI_AFFINITY));
        }
        Ok(())
    }

    fn suppose(&mut self, pod: &PodFacts, node: &NodeInfo, by: i64) {
        self.supposed_at = Some(node.slot);
        let (incoming, snapshot) = (self.cycle.pod, self.cycle.snapshot);
        let labels = snapshot.catalogue.namespace_labels(&pod.namespace);
        if means_all(&incoming.terms.required_affinity, &pod.namespace, labels, pod.labels()) {
            self.affinity_supposed += by;
        }
        for (term, supposed) in incoming.terms.required_anti_affinity.iter().zip(&mut self.anti_supposed) {
            if term.means(&pod.namespace, labels, pod.labels()) {
                *supposed += by;
            }
        }
        let own = snapshot.catalogue.namespace_labels(&incoming.namespace);
        for term in &pod.terms.required_anti_affinity {
            if !term.means(&incoming.namespace, own, incoming.labels()) {
                continue;
            }
            let Some(column) = snapshot.topology.known(&term.topology_key) else { continue };
            match self.held_columns.iter_mut().find(|held| held.column == column) {
                Some(held) => held.supposed += by,
                None => self.held_columns.push(HeldColumn { column, groups: Vec::new(), supposed: by }),
            }
        }
    }

    fn forget(&mut self) {
        self.supposed_at = None;
        self.affinity_supposed = 0;
        self.anti_supposed.iter_mut().for_each(|supposed| *supposed = 0);
        self.held_columns.iter_mut().for_each(|held| held.supposed = 0);
    }
}

/// What the pod prefers, and what placed pods prefer about it.
struct Preferences<'a> {
    cycle: Cycle<'a>,
    /// Groups of terms with their weights.
    held: Vec<(usize, i64)>,
}

impl Score for Preferences<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let snapshot = self.cycle.snapshot;
        let own = self.cycle.needs.preferred.iter().filter_map(|need| {
            let domain = snapshot.topology.domain(need.column, node.slot)?;
            Some(need.weight * snapshot.counters.at(need.counts).count(domain))
        });
        let held = self.held.iter().filter_map(|(group, weight)| {
            let group = snapshot.held.at(*group);
            Some(weight * group.count(snapshot.topology.domain(group.column, node.slot)?))
        });
        own.chain(held).sum()
    }

    fn normalize(&self, _: &[&NodeInfo], scores: &mut [i64]) {
        let (least, most) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if most > least {
                (MAX_SCORE as f64 * ((*score - least) as f64 / (most - least) as f64)) as i64
            } else {
                0
            };
        }
    }
}
