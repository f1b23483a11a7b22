//! One scheduling cycle: which node takes the pod, or why none can. Pure.

use crate::{
    fit_error::{Diagnosis, FitError},
    framework::{Cycle, Filter, Prepared, Rejection, Verdict},
    node_info::{NodeInfo, Slot},
    preemption::{self, Preemption},
    profile::Profile,
    snapshot::Snapshot,
};
use std::sync::Arc;

/// What is left to chance, as numbers that the caller draws.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chance {
    /// Picks among equals.
    pub tie_break: u64,
    /// Where preemption begins to look.
    pub offset: usize,
}

/// How a cycle ended.
pub enum Outcome {
    /// The pod goes to this node.
    Node(Slot),
    /// No node can take it; with what preemption can do about it.
    Unschedulable { error: FitError, preemption: Preemption },
}

/// The filters of a cycle, each with its plugin's number.
pub struct Filters<'a> {
    filters: Vec<(usize, Box<dyn Filter + 'a>)>,
    look_at_pods: bool,
}

impl<'a> Filters<'a> {
    fn new(filters: Vec<(usize, Box<dyn Filter + 'a>)>) -> Self {
        let look_at_pods = filters.iter().any(|(_, filter)| filter.looks_at_pods());
        Self { filters, look_at_pods }
    }

    /// Whether any of them does; without, a [`NodeInfo::sum`] is all that they need.
    pub fn look_at_pods(&self) -> bool {
        self.look_at_pods
    }

    /// What the first plugin says that rejects.
    fn check_each(&self, node: &NodeInfo) -> Result<(), (usize, Rejection)> {
        for (plugin, filter) in &self.filters {
            filter.check(node).map_err(|rejection| (*plugin, rejection))?;
        }
        Ok(())
    }

    /// As `check_each`; and once more with the more important pods that wait for room on this node, because they may
    /// come or not.
    pub fn check(&mut self, cycle: Cycle<'_>, node: &NodeInfo) -> Result<(), (usize, Rejection)> {
        self.check_each(node)?;
        if !node.nominated {
            return Ok(());
        }
        let waiting = cycle.snapshot.nominations().on_node(node.name()).iter();
        let kept = waiting.filter(|pod| pod.priority >= cycle.pod.priority && pod.uid != cycle.pod.uid);
        if !self.look_at_pods {
            let mut with = node.sum();
            kept.for_each(|pod| with.take(&pod.request.exact));
            return self.check_each(&with);
        }
        let mut with = node.clone();
        let mut added = Vec::new();
        for pod in kept {
            with.add(pod.clone());
            self.suppose(pod, node, 1);
            added.push(pod);
        }
        let verdict = self.check_each(&with);
        for pod in added {
            self.suppose(pod, node, -1);
        }
        verdict
    }

    pub fn fits(&mut self, cycle: Cycle<'_>, node: &NodeInfo) -> Verdict {
        self.check(cycle, node).map_err(|(_, rejection)| rejection)
    }

    pub fn suppose(&mut self, pod: &Arc<crate::pod_facts::PodFacts>, node: &NodeInfo, by: i64) {
        self.filters.iter_mut().for_each(|(_, filter)| filter.suppose(pod, node, by));
    }

    pub fn forget(&mut self) {
        self.filters.iter_mut().for_each(|(_, filter)| filter.forget());
    }
}

/// Places one pod. `start` is where the search begins among the nodes, and moves on by those looked at.
pub fn schedule(profile: &Profile, cycle: Cycle<'_>, start: &mut usize, chance: Chance) -> Outcome {
    let mut diagnosis = Diagnosis { node_count: cycle.snapshot.node_count(), ..Diagnosis::default() };
    if diagnosis.node_count == 0 {
        return unschedulable(diagnosis, Preemption::None);
    }
    let mut only: Option<Vec<String>> = None;
    let mut filters = match prepare(profile, cycle, &mut only, &mut diagnosis) {
        Ok(filters) => filters,
        Err(message) => {
            diagnosis.before = Some(message);
            let preemption = preemption::impossible(profile, cycle.pod, diagnosis.node_count);
            return unschedulable(diagnosis, preemption);
        }
    };
    if let Some(node) = nominated(cycle, &mut filters) {
        return Outcome::Node(node);
    }
    let feasible = feasible(profile, cycle, &mut filters, only.as_deref(), start, &mut diagnosis);
    match feasible.as_slice() {
        [] => {
            let preemption = preemption::preempt(profile, cycle, &mut filters, &diagnosis, chance.offset);
            unschedulable(diagnosis, preemption)
        }
        [only] => Outcome::Node(only.slot),
        several => Outcome::Node(best(profile, cycle, several, chance.tie_break).slot),
    }
}

fn unschedulable(diagnosis: Diagnosis, preemption: Preemption) -> Outcome {
    let error = FitError { diagnosis, preemption: preemption.message().to_owned() };
    Outcome::Unschedulable { error, preemption }
}

fn prepare<'a>(
    profile: &'a Profile,
    cycle: Cycle<'a>,
    only: &mut Option<Vec<String>>,
    diagnosis: &mut Diagnosis,
) -> Result<Filters<'a>, String> {
    let mut filters: Vec<(usize, Box<dyn Filter + 'a>)> = Vec::with_capacity(profile.filters.len());
    for at in &profile.filters {
        let plugin = &profile.plugins[*at];
        match plugin.filter(cycle) {
            Prepared::Skip => {}
            Prepared::Ask(filter) => filters.push((*at, filter)),
            Prepared::AskOnly(names, filter) => {
                diagnosis.plugins.insert(*at);
                diagnosis.absent = Some((0, format!("node(s) didn't satisfy plugin(s) [{}]", plugin.name())));
                filters.push((*at, filter));
                *only = Some(names);
            }
            Prepared::Reject(rejection) => {
                diagnosis.plugins.insert(*at);
                let reasons: Vec<&str> = rejection.reasons.as_slice().iter().map(AsRef::as_ref).collect();
                return Err(reasons.join(", "));
            }
        }
    }
    Ok(Filters::new(filters))
}

/// The node that room was made on for this pod, when it takes the pod now.
fn nominated(cycle: Cycle<'_>, filters: &mut Filters<'_>) -> Option<Slot> {
    let name = cycle.snapshot.nominations().node_of(&cycle.pod.uid).or(cycle.pod.nominated_node())?;
    let node = cycle.snapshot.node(name)?;
    filters.check(cycle, node).ok().map(|()| node.slot)
}

fn feasible<'a>(
    profile: &Profile,
    cycle: Cycle<'a>,
    filters: &mut Filters<'_>,
    only: Option<&[String]>,
    start: &mut usize,
    diagnosis: &mut Diagnosis,
) -> Vec<&'a NodeInfo> {
    let snapshot: &'a Snapshot = cycle.snapshot;
    let named: Vec<Slot>;
    let nodes = match only {
        None => snapshot.order(),
        Some(names) => {
            named = names.iter().filter_map(|name| snapshot.node(name)).map(|node| node.slot).collect();
            if let Some((absent, _)) = &mut diagnosis.absent {
                *absent = snapshot.node_count() - named.len();
            }
            &named
        }
    };
    let wanted = profile.feasible_wanted(nodes.len());
    let mut found = Vec::with_capacity(wanted.min(nodes.len()));
    let mut looked_at = 0;
    for step in 0..nodes.len() {
        if found.len() == wanted {
            break;
        }
        looked_at += 1;
        let node = snapshot.at(nodes[(*start + step) % nodes.len()]);
        match filters.check(cycle, node) {
            Ok(()) => found.push(node),
            Err((plugin, rejection)) => {
                diagnosis.plugins.insert(plugin);
                if diagnosis.rejected.is_empty() {
                    diagnosis.rejected.reserve(nodes.len() - step);
                }
                diagnosis.rejected.push((node.slot, rejection));
            }
        }
    }
    *start = (*start + looked_at) % snapshot.node_count();
    found
}

fn best<'a>(profile: &'a Profile, cycle: Cycle<'a>, candidates: &[&'a NodeInfo], tie_break: u64) -> &'a NodeInfo {
    let mut totals = vec![0i64; candidates.len()];
    let mut scores = Vec::with_capacity(candidates.len());
    for (at, weight) in &profile.scores {
        let Some(plugin) = profile.plugins[*at].score(cycle, candidates) else { continue };
        scores.clear();
        scores.extend(candidates.iter().map(|node| plugin.score(node)));
        plugin.normalize(candidates, &mut scores);
        for (total, score) in totals.iter_mut().zip(&scores) {
            *total += score * weight;
        }
    }
    let highest = totals.iter().copied().max().unwrap_or(0);
    let equals = totals.iter().filter(|total| **total == highest).count();
    let pick = usize::try_from(tie_break % equals.max(1) as u64).unwrap_or(0);
    let mut best = candidates.iter().zip(&totals).filter(|(_, total)| **total == highest);
    best.nth(pick).map(|(node, _)| *node).expect("the highest total is one of the totals")
}
