//! One scheduling cycle: which node takes the pod, or why none can. Pure.

use crate::{
    fit_error::{Diagnosis, FitError},
    framework::{Cycle, Filter, Prepared, Rejection},
    metrics::{Metrics, Point},
    node_info::{NodeInfo, Nominated, Slot, Taken},
    preemption::{self, Preemption},
    profile::Profile,
    snapshot::Snapshot,
};
use jiff::Timestamp;
use std::{sync::Arc, time::Instant};

/// What a cycle cannot know by itself: what is left to chance, as numbers that the caller draws, and the time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chance {
    /// As in objects.
    pub time: Timestamp,
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
    /// Where room is kept for the pod of the cycle itself.
    own_room: Option<Slot>,
}

impl<'a> Filters<'a> {
    fn new(cycle: Cycle<'_>, filters: Vec<(usize, Box<dyn Filter + 'a>)>) -> Self {
        let look_at_pods = filters.iter().any(|(_, filter)| filter.looks_at_pods());
        let own_room = cycle.snapshot.nominations().node_of(&cycle.pod.uid);
        let own_room = own_room.and_then(|node| cycle.snapshot.node(node)).map(|node| node.slot);
        Self { filters, look_at_pods, own_room }
    }

    /// Whether any of them does; without, they need to know no more of pods than what they take.
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

    /// The more important pods that wait for room on a node.
    fn kept<'s>(&self, cycle: Cycle<'s>, slot: Slot) -> impl Iterator<Item = &'s Nominated> + use<'s, 'a> {
        let own = self.own_room == Some(slot);
        let (priority, uid) = (cycle.pod.priority, &cycle.pod.uid);
        let nominated = cycle.snapshot.at(slot).nominated().iter();
        nominated.filter(move |kept| kept.held.priority >= priority && !(own && kept.pod.uid == *uid))
    }

    /// Whether the node takes the pod with the more important pods that wait for room on it, and without: they may come or
    /// not.
    pub fn check(&mut self, cycle: Cycle<'_>, node: &NodeInfo) -> Result<(), (usize, Rejection)> {
        if !self.look_at_pods {
            return self.check_if_taken(cycle, node, &node.taken);
        }
        if self.kept(cycle, node.slot).next().is_some() {
            let mut with = node.clone();
            let kept: Vec<&Nominated> = self.kept(cycle, node.slot).collect();
            for Nominated { pod, .. } in &kept {
                with.add(pod.clone());
                self.suppose(pod, node, 1);
            }
            let verdict = self.check_each(&with);
            kept.iter().for_each(|kept| self.suppose(&kept.pod, node, -1));
            verdict?;
        }
        self.check_each(node)
    }

    /// As `check`, for filters that do not look at pods, if this were taken of the node.
    pub fn check_if_taken(&self, cycle: Cycle<'_>, node: &NodeInfo, taken: &Taken) -> Result<(), (usize, Rejection)> {
        let each = |taken: &Taken| {
            let mut filters = self.filters.iter();
            filters.try_for_each(|(plugin, filter)| {
                filter.check_if_taken(node, taken).map_err(|rejection| (*plugin, rejection))
            })
        };
        let place = cycle.snapshot.at(node.slot);
        if place.is_nominated() {
            let mut with = taken.clone();
            match place.kept_from(cycle.pod.priority).filter(|_| self.own_room != Some(node.slot)) {
                Some(all) => with.with(all),
                None => self.kept(cycle, node.slot).for_each(|kept| with.add(&kept.held.request)),
            }
            if with.pods > taken.pods {
                each(&with)?;
            }
        }
        each(taken)
    }

    pub fn suppose(&mut self, pod: &Arc<crate::pod_facts::PodFacts>, node: &NodeInfo, by: i64) {
        self.filters.iter_mut().for_each(|(_, filter)| filter.suppose(pod, node, by));
    }

    pub fn forget(&mut self) {
        self.filters.iter_mut().for_each(|(_, filter)| filter.forget());
    }
}

/// Places one pod. `start` is where the search begins among the nodes, and moves on by those looked at. `timed`: the
/// plugins of this cycle are timed, filters and scores on one node.
pub fn schedule(
    profile: &Profile,
    cycle: Cycle<'_>,
    start: &mut usize,
    chance: Chance,
    timed: Option<&Metrics>,
) -> Outcome {
    let mut diagnosis = Diagnosis { node_count: cycle.snapshot.node_count(), ..Diagnosis::default() };
    if diagnosis.node_count == 0 {
        return unschedulable(diagnosis, Preemption::None);
    }
    let mut only: Option<Vec<String>> = None;
    let mut filters = match prepare(profile, cycle, &mut only, &mut diagnosis, timed) {
        Ok(filters) => filters,
        Err(message) => {
            diagnosis.before = Some(message);
            let preemption = preemption::impossible(profile, cycle.pod, diagnosis.node_count);
            return unschedulable(diagnosis, preemption);
        }
    };
    if let Some(timed) = timed {
        time_filters(profile, cycle, &filters, *start, timed);
    }
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
        several => Outcome::Node(best(profile, cycle, several, chance.tie_break, timed).slot),
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
    timed: Option<&Metrics>,
) -> Result<Filters<'a>, String> {
    let mut filters: Vec<(usize, Box<dyn Filter + 'a>)> = Vec::with_capacity(profile.filters.len());
    for at in &profile.filters {
        let plugin = &profile.plugins[*at];
        let begun = timed.map(|_| Instant::now());
        let prepared = plugin.filter(cycle);
        if let (Some(timed), Some(begun)) = (timed, begun) {
            let accepts = !matches!(prepared, Prepared::Reject(_));
            timed.plugin(plugin.name(), Point::PreFilter, accepts, begun.elapsed());
        }
        match prepared {
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
    Ok(Filters::new(cycle, filters))
}

/// Asks each filter about one node, beside the search.
fn time_filters(profile: &Profile, cycle: Cycle<'_>, filters: &Filters<'_>, start: usize, timed: &Metrics) {
    let order = cycle.snapshot.order();
    let node = cycle.snapshot.at(order[start % order.len()]);
    for (plugin, filter) in &filters.filters {
        let begun = Instant::now();
        let accepts = filter.check(node).is_ok();
        timed.plugin(profile.plugins[*plugin].name(), Point::Filter, accepts, begun.elapsed());
    }
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

fn best<'a>(
    profile: &'a Profile,
    cycle: Cycle<'a>,
    candidates: &[&'a NodeInfo],
    tie_break: u64,
    timed: Option<&Metrics>,
) -> &'a NodeInfo {
    let mut totals = vec![0i64; candidates.len()];
    let mut scores = Vec::with_capacity(candidates.len());
    for (at, weight) in &profile.scores {
        let begun = timed.map(|_| Instant::now());
        let Some(plugin) = profile.plugins[*at].score(cycle, candidates) else { continue };
        if let (Some(timed), Some(begun)) = (timed, begun) {
            let name = profile.plugins[*at].name();
            timed.plugin(name, Point::PreScore, true, begun.elapsed());
            let begun = Instant::now();
            // Only for the time that it takes.
            std::hint::black_box(plugin.score(candidates[0]));
            timed.plugin(name, Point::Score, true, begun.elapsed());
        }
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
