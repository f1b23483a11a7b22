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
    framework::{Cycle, Rejection, Verdict},
    node_info::{NodeInfo, Slot, Taken},
    plugins::dynamic_resources::{in_the_way, wants_devices},
    pod_facts::PodFacts,
    profile::{PreemptionOptions, Profile},
};
use jiff::Timestamp;
use k8s_openapi::api::resource::v1::ResourceClaim;
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
    /// No evictions: this claim gives its devices back, which nobody uses and which the pod cannot use.
    Deallocate { claim: Arc<ResourceClaim>, message: &'static str },
    /// These pods go, the most important first, and room is kept on the node.
    Evict { node: Slot, victims: Vec<Arc<PodFacts>> },
}

impl Preemption {
    /// Its part of the pod's message.
    pub fn message(&self) -> &str {
        match self {
            Preemption::None | Preemption::Evict { .. } => "",
            Preemption::NotEligible(message) | Preemption::NotHelpful(message) => message,
            Preemption::Deallocate { message, .. } => message,
        }
    }
}

/// What evictions on a node cost; less is better. Violated budgets first, then the highest priority of a victim, the sum of
/// their priorities, their number, and since when the most important ones run: late is better.
type Price = (usize, i32, i64, usize, Reverse<Timestamp>);

/// A node on which the pod would fit after evictions.
struct Candidate {
    node: Slot,
    price: Price,
    /// Where they are among the node's pods, the most important first; at least one.
    victims: Vec<usize>,
}

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

/// What preemption says when the pod was rejected before any node was asked.
pub fn impossible(profile: &Profile, pod: &PodFacts, nodes: usize) -> Preemption {
    if profile.preemption.is_none() {
        return Preemption::None;
    }
    if let Err(why) = may_preempt(pod) {
        return Preemption::NotEligible(said(profile, false, why));
    }
    let mut counts = Counts::default();
    counts.add(&NOT_HELPFUL.into(), nodes);
    Preemption::NotHelpful(said(profile, false, &format!("0/{nodes} nodes are available:{}", counts.sentence())))
}

/// The reasons of all plugins that could have helped. `claims`: nodes were asked for devices.
fn said(profile: &Profile, claims: bool, message: &str) -> String {
    let claims = match (profile.names_claims, claims) {
        (false, _) => "",
        (true, false) => "no new claims to deallocate, ",
        (true, true) => "still not schedulable, ",
    };
    format!("{claims}preemption: {message}")
}

pub fn preempt(
    profile: &Profile,
    cycle: Cycle<'_>,
    filters: &mut Filters<'_>,
    diagnosis: &Diagnosis,
    offset: usize,
) -> Preemption {
    if profile.names_claims
        && let Some((claim, message)) = in_the_way(cycle, profile.binding_timeout)
    {
        return Preemption::Deallocate { claim, message };
    }
    let Some(options) = profile.preemption else { return Preemption::None };
    let claims = wants_devices(cycle);
    if let Err(why) = eligible(cycle, diagnosis) {
        return Preemption::NotEligible(said(profile, claims, why));
    }
    let nodes = diagnosis.resolvable();
    let mut rejections = Vec::new();
    match cheapest(cycle, filters, &nodes, options, offset, &mut rejections) {
        Some(Candidate { node, victims, .. }) => {
            let pods = &cycle.snapshot.at(node).pods;
            Preemption::Evict { node, victims: victims.into_iter().map(|at| pods[at].clone()).collect() }
        }
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
            Preemption::NotHelpful(said(profile, claims, &message))
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

/// The cheapest among enough candidates: of some share of the nodes, and at least one that violates no budget.
fn cheapest(
    cycle: Cycle<'_>,
    filters: &mut Filters<'_>,
    nodes: &[Slot],
    options: PreemptionOptions,
    offset: usize,
    rejections: &mut Vec<Rejection>,
) -> Option<Candidate> {
    let wanted = (nodes.len() * options.candidates_percent_min / 100).max(options.candidates_min).min(nodes.len());
    let budgets: Vec<&Budget> = cycle.snapshot.catalogue.budgets.values().collect();
    let mut trial = Trial { cycle, filters, budgets: &budgets, lesser: Vec::new(), victims: Vec::new() };
    let mut best: Option<Candidate> = None;
    let (mut found, mut harmless) = (0, false);
    let (before, after) = nodes.split_at(offset % nodes.len().max(1));
    for slot in after.iter().chain(before) {
        match trial.on_node(cycle.snapshot.at(*slot)) {
            Ok(price) => {
                harmless |= price.0 == 0;
                found += 1;
                if best.as_ref().is_none_or(|best| price < best.price) {
                    let mut victims = best.take().map(|worse| worse.victims).unwrap_or_default();
                    victims.clone_from(&trial.victims);
                    best = Some(Candidate { node: *slot, price, victims });
                }
            }
            Err(rejection) => rejections.push(rejection),
        }
        trial.filters.forget();
        if harmless && found >= wanted {
            break;
        }
    }
    best
}

/// Dry runs, one node after the other; what they need is allocated once.
struct Trial<'t, 'f> {
    cycle: Cycle<'t>,
    filters: &'t mut Filters<'f>,
    budgets: &'t [&'t Budget],
    /// Where the node's less important pods are, in the order in which they are spared.
    lesser: Vec<usize>,
    /// Those of them that cannot be spared.
    victims: Vec<usize>,
}

impl Trial<'_, '_> {
    /// Finds the fewest victims on a node; what they cost, or why there is no way.
    fn on_node(&mut self, node: &NodeInfo) -> Result<Price, Rejection> {
        let Self { cycle, filters, budgets, lesser, victims } = self;
        let (cycle, held) = (*cycle, node.held());
        let below = cycle.pod.priority;
        let left = match filters.look_at_pods() {
            true => node.without_below(below).map(|left| Left::Whole(Box::new(left))),
            false => node.taken_without_below(below).map(Left::Taken),
        };
        let Some(mut left) = left else {
            return Err(Rejection::unresolvable("No preemption victims found for incoming pod"));
        };
        lesser.clear();
        victims.clear();
        lesser.extend((0..held.len()).filter(|at| held[*at].priority < below));
        if let Left::Whole(_) = left {
            lesser.iter().for_each(|at| filters.suppose(&node.pods[*at], node, -1));
        }
        left.fits(cycle, filters, node)?;
        lesser.sort_by_key(|at| held[*at].importance());
        let protected = protected_first(lesser, &node.pods, budgets);
        let mut violations = 0;
        for (rank, at) in lesser.iter().enumerate() {
            left.add(filters, node, *at);
            if left.fits(cycle, filters, node).is_err() {
                left.remove(filters, node, *at);
                victims.push(*at);
                violations += usize::from(rank < protected);
            }
        }
        if victims.is_empty() {
            // It fits with everybody there: a filter said otherwise because of something beside the node's pods.
            return Err(Rejection::unresolvable(format!("expected at least one victim pod on node {:?}", node.name())));
        }
        if violations > 0 {
            victims.sort_by_key(|at| held[*at].importance());
        }
        let highest = held[victims[0]].priority;
        // Priorities count from zero, so that few victims of a negative priority are better than many.
        let sum = victims.iter().map(|at| i64::from(held[*at].priority) + i64::from(i32::MAX) + 1).sum();
        // The most important first, and of those who began first.
        let earliest = held[victims[0]].started;
        Ok((violations, highest, sum, victims.len(), Reverse(earliest)))
    }
}

/// What is left of a node while pods are supposed to be gone: with its pods, or only what they take where that is enough.
enum Left {
    Whole(Box<NodeInfo>),
    Taken(Taken),
}

impl Left {
    fn fits(&self, cycle: Cycle<'_>, filters: &mut Filters<'_>, node: &NodeInfo) -> Verdict {
        let verdict = match self {
            Left::Whole(left) => filters.check(cycle, left),
            Left::Taken(taken) => filters.check_if_taken(cycle, node, taken),
        };
        verdict.map_err(|(_, rejection)| rejection)
    }

    fn add(&mut self, filters: &mut Filters<'_>, node: &NodeInfo, at: usize) {
        match self {
            Left::Whole(left) => {
                left.add(node.pods[at].clone());
                filters.suppose(&node.pods[at], node, 1);
            }
            Left::Taken(taken) => taken.add(&node.held()[at].request),
        }
    }

    fn remove(&mut self, filters: &mut Filters<'_>, node: &NodeInfo, at: usize) {
        match self {
            Left::Whole(left) => {
                left.remove(&node.pods[at].uid);
                filters.suppose(&node.pods[at], node, -1);
            }
            Left::Taken(taken) => taken.subtract(&node.held()[at].request),
        }
    }
}

/// Puts those first whose eviction a budget does not allow, and else keeps the order. Returns how many they are.
fn protected_first(lesser: &mut Vec<usize>, pods: &[Arc<PodFacts>], budgets: &[&Budget]) -> usize {
    if budgets.is_empty() {
        return 0;
    }
    let mut allowed: Vec<i32> = budgets.iter().map(|budget| budget.allowed).collect();
    let violates = |at: &usize| {
        let pod = &pods[*at];
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
    };
    let (mut protected, others): (Vec<usize>, Vec<usize>) = lesser.drain(..).partition(violates);
    let count = protected.len();
    protected.extend(others);
    *lesser = protected;
    count
}
