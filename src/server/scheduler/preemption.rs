//! Making room: which less important pods of one node would have to go so that the pod fits, and on which node that costs
//! least. Pure.
//!
//! Invariant: a victim's priority is lower than that of the pod that it makes room for.
//!
//! As Kubernetes' DefaultPreemption: all less important pods of a node are supposed to be gone; if the pod fits then, as
//! many of them as possible are spared, the most important first and those that a budget protects before all others.

use crate::{
    catalogue::Budget,
    cycle::Filters,
    fit_error::{Counts, Diagnosis},
    framework::{Cycle, Rejection},
    node_info::{NodeInfo, Slot},
    pod_facts::PodFacts,
    profile::{PreemptionOptions, Profile},
};
use jiff::Timestamp;
use std::{cmp::Reverse, sync::Arc};

/// What can be done for a pod that fits nowhere.
#[derive(Debug, Clone)]
pub enum Preemption {
    /// Nothing was looked for, and the pod keeps what room it has.
    None,
    /// The pod must not evict others now; it keeps what room it has.
    NotEligible(String),
    /// No evictions would help; the pod loses what room was kept for it.
    NotHelpful(String),
    /// These pods go, the most important first, and room is kept on the node.
    Evict { node: Slot, victims: Vec<Arc<PodFacts>> },
}

impl Preemption {
    /// Its part of the pod's message.
    pub fn message(&self) -> &str {
        match self {
            Preemption::None | Preemption::Evict { .. } => "",
            Preemption::NotEligible(message) | Preemption::NotHelpful(message) => message,
        }
    }
}

/// A node on which the pod would fit after evictions.
struct Candidate {
    node: Slot,
    /// The most important first; at least one.
    victims: Vec<Arc<PodFacts>>,
    violations: usize,
}

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

/// What preemption says when the pod was rejected before any node was asked.
pub fn impossible(profile: &Profile, pod: &PodFacts, nodes: usize) -> Preemption {
    if profile.preemption.is_none() {
        return Preemption::None;
    }
    if let Err(why) = may_preempt(pod) {
        return Preemption::NotEligible(said(profile, why));
    }
    let mut counts = Counts::default();
    counts.add(&NOT_HELPFUL.into(), nodes);
    Preemption::NotHelpful(said(profile, &format!("0/{nodes} nodes are available:{}", counts.sentence())))
}

/// The reasons of all plugins that could have helped.
fn said(profile: &Profile, message: &str) -> String {
    let claims = if profile.names_claims { "no new claims to deallocate, " } else { "" };
    format!("{claims}preemption: {message}")
}

pub fn preempt(
    profile: &Profile,
    cycle: Cycle<'_>,
    filters: &mut Filters<'_>,
    diagnosis: &Diagnosis,
    offset: usize,
) -> Preemption {
    let Some(options) = profile.preemption else { return Preemption::None };
    if let Err(why) = eligible(cycle, diagnosis) {
        return Preemption::NotEligible(said(profile, why));
    }
    let nodes = diagnosis.resolvable();
    let mut rejections = Vec::new();
    let candidates = candidates(cycle, filters, &nodes, options, offset, &mut rejections);
    match cheapest(candidates) {
        Some(Candidate { node, victims, .. }) => Preemption::Evict { node, victims },
        None => {
            let mut counts = Counts::default();
            for rejection in &rejections {
                rejection.reasons.as_slice().iter().for_each(|reason| counts.add(reason, 1));
            }
            let others = diagnosis.node_count - rejections.len();
            if others > 0 {
                counts.add(&NOT_HELPFUL.into(), others);
            }
            let all = diagnosis.node_count;
            let message = format!("0/{all} nodes are available:{}", counts.sentence());
            Preemption::NotHelpful(said(profile, &message))
        }
    }
}

fn may_preempt(pod: &PodFacts) -> Result<(), &'static str> {
    let policy = pod.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") { Err("not eligible due to preemptionPolicy=Never.") } else { Ok(()) }
}

fn eligible(cycle: Cycle<'_>, diagnosis: &Diagnosis) -> Result<(), &'static str> {
    let pod = cycle.pod;
    may_preempt(pod)?;
    let kept = cycle.snapshot.nominations().node_of(&pod.uid).or(pod.nominated_node());
    let Some(node) = kept.and_then(|name| cycle.snapshot.node(name)) else { return Ok(()) };
    // A node that cannot take the pod any more is no reason to wait.
    if diagnosis.of(node.slot).is_none_or(|rejection| rejection.unresolvable) {
        return Ok(());
    }
    if node.pods.iter().any(|other| other.priority < pod.priority && other.ends_for_preemption()) {
        return Err("not eligible due to a terminating pod on the nominated node.");
    }
    Ok(())
}

fn candidates(
    cycle: Cycle<'_>,
    filters: &mut Filters<'_>,
    nodes: &[Slot],
    options: PreemptionOptions,
    offset: usize,
    rejections: &mut Vec<Rejection>,
) -> Vec<Candidate> {
    let wanted = (nodes.len() * options.candidates_percent_min / 100).max(options.candidates_min).min(nodes.len());
    let budgets: Vec<&Budget> = cycle.snapshot.catalogue.budgets.values().collect();
    let mut found: Vec<Candidate> = Vec::new();
    let mut harmless = false;
    for step in 0..nodes.len() {
        let node = cycle.snapshot.at(nodes[(offset + step) % nodes.len()]);
        match on_node(cycle, filters, node, &budgets) {
            Ok(candidate) => {
                harmless |= candidate.violations == 0;
                found.push(candidate);
                if harmless && found.len() >= wanted {
                    break;
                }
            }
            Err(rejection) => rejections.push(rejection),
        }
        filters.forget();
    }
    filters.forget();
    found
}

/// The fewest victims on a node, or why there is no way.
fn on_node(
    cycle: Cycle<'_>,
    filters: &mut Filters<'_>,
    node: &NodeInfo,
    budgets: &[&Budget],
) -> Result<Candidate, Rejection> {
    let Some(sum) = node.sum_without_below(cycle.pod.priority) else {
        return Err(Rejection::unresolvable("No preemption victims found for incoming pod"));
    };
    let mut left = Left { filters, node, info: sum };
    let lesser = |pod: &&Arc<PodFacts>| pod.priority < cycle.pod.priority;
    if left.filters.look_at_pods() {
        left.info = node.clone();
        node.pods.iter().filter(lesser).for_each(|pod| left.remove(pod));
    }
    left.filters.fits(cycle, &left.info)?;
    let mut potential: Vec<&Arc<PodFacts>> = node.pods.iter().filter(lesser).collect();
    potential.sort_by_key(|pod| importance(pod));
    let (protected, others) = protected(potential, budgets);
    let protected = protected.into_iter().map(|pod| (pod, true));
    let mut victims = Vec::new();
    let mut violations = 0;
    for (pod, is_protected) in protected.chain(others.into_iter().map(|pod| (pod, false))) {
        left.add(pod);
        if left.filters.fits(cycle, &left.info).is_err() {
            left.remove(pod);
            victims.push(pod.clone());
            violations += usize::from(is_protected);
        }
    }
    if victims.is_empty() {
        // It fits with everybody there: a filter said otherwise because of something beside the node's pods.
        return Err(Rejection::unresolvable(format!("expected at least one victim pod on node {:?}", node.name())));
    }
    if violations > 0 {
        victims.sort_by_key(|pod| importance(pod));
    }
    Ok(Candidate { node: node.slot, victims, violations })
}

/// What is left of a node while pods are supposed to be gone: with its pods, or only their sum where that is enough.
struct Left<'f, 'a, 'n> {
    filters: &'f mut Filters<'a>,
    node: &'n NodeInfo,
    info: NodeInfo,
}

impl Left<'_, '_, '_> {
    fn add(&mut self, pod: &Arc<PodFacts>) {
        if self.filters.look_at_pods() {
            self.info.add(pod.clone());
            self.filters.suppose(pod, self.node, 1);
        } else {
            self.info.take(&pod.request.exact);
        }
    }

    fn remove(&mut self, pod: &Arc<PodFacts>) {
        if self.filters.look_at_pods() {
            self.info.remove(&pod.uid);
            self.filters.suppose(pod, self.node, -1);
        } else {
            self.info.give_back(&pod.request.exact);
        }
    }
}

/// Sorts the most important first: by priority, then who runs longest; who has not started runs shortest.
fn importance(pod: &PodFacts) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority), pod.started.unwrap_or(Timestamp::MAX))
}

/// Those whose eviction a budget does not allow, and the others; each in the order given.
fn protected<'a>(
    pods: Vec<&'a Arc<PodFacts>>,
    budgets: &[&Budget],
) -> (Vec<&'a Arc<PodFacts>>, Vec<&'a Arc<PodFacts>>) {
    if budgets.is_empty() {
        return (Vec::new(), pods);
    }
    let mut allowed: Vec<i32> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut violated = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            let covers = !pod.labels().is_empty()
                && budget.namespace == pod.namespace
                && !budget.selector.is_everything()
                && budget.selector.matches(pod.labels())
                && !budget.disrupted.iter().any(|name| name == pod.name());
            if covers {
                *allowed -= 1;
                violated |= *allowed < 0;
            }
        }
        violated
    })
}

/// The candidate with the fewest violated budgets; then with the least important most important victim, the smallest sum
/// of priorities, the fewest victims, and the most important victims that have run for the shortest time.
fn cheapest(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|candidate| {
        let priority = |pod: &Arc<PodFacts>| i64::from(pod.priority);
        let highest = candidate.victims.iter().map(priority).max().unwrap_or(i64::MIN);
        // Priorities count from zero, so that few victims of a negative priority are better than many.
        let sum: i64 = candidate.victims.iter().map(|pod| priority(pod) + i64::from(i32::MAX) + 1).sum();
        let important = candidate.victims.iter().filter(|pod| priority(pod) == highest);
        let earliest = important.map(|pod| pod.started.unwrap_or(Timestamp::MAX)).min();
        (candidate.violations, highest, sum, candidate.victims.len(), Reverse(earliest))
    })
}
