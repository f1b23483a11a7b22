//! One scheduling cycle: which node takes the pod, or why none can. Pure.

use crate::{
    events::Events,
    framework::{Filter, Rejection, Score},
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// The plugins of a profile, in the order in which they are asked.
pub struct Profile {
    pub filters: Vec<Box<dyn Filter>>,
    pub scores: Vec<Box<dyn Score>>,
}

/// Why no node took a pod. `Display` is the message of its `FailedScheduling` event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FitError {
    pub node_count: usize,
    reasons: BTreeMap<Cow<'static, str>, usize>,
    unresolvable: usize,
    /// Which changes can make the pod fit.
    pub helped_by: Events,
}

impl FitError {
    fn add(&mut self, rejection: Rejection, helped_by: Events) {
        for reason in rejection.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
        self.unresolvable += usize::from(rejection.unresolvable);
        self.helped_by = self.helped_by | helped_by;
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.node_count == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let joined = |counts: Vec<(usize, &str)>| {
            let mut lines: Vec<String> = counts.iter().map(|(count, why)| format!("{count} {why}")).collect();
            lines.sort();
            lines.join(", ")
        };
        let reasons = joined(self.reasons.iter().map(|(why, count)| (*count, &**why)).collect());
        let all = self.node_count;
        let mut preemption = Vec::new();
        if self.unresolvable < all {
            preemption.push((all - self.unresolvable, "No preemption victims found for incoming pod"));
        }
        if self.unresolvable > 0 {
            preemption.push((self.unresolvable, "Preemption is not helpful for scheduling"));
        }
        let preemption = joined(preemption);
        write!(
            f,
            "0/{all} nodes are available: {reasons}. no new claims to deallocate, preemption: 0/{all} nodes are available: {preemption}."
        )
    }
}

/// The best node for the pod. `tie_break` picks among equals: any number.
pub fn schedule(profile: &Profile, pod: &PodFacts, snapshot: &Snapshot, tie_break: u64) -> Result<String, FitError> {
    let mut error = FitError { helped_by: Events::NODE_ADDED | Events::POD_CHANGED, ..FitError::default() };
    let mut candidates = Vec::new();
    for node in snapshot.nodes() {
        error.node_count += 1;
        match first_rejection(profile, pod, node) {
            None => candidates.push(node),
            Some((rejection, helped_by)) => error.add(rejection, helped_by),
        }
    }
    match candidates.as_slice() {
        [] => Err(error),
        [only] => Ok(only.name.clone()),
        several => Ok(best(profile, pod, several, snapshot, tie_break).name.clone()),
    }
}

fn first_rejection(profile: &Profile, pod: &PodFacts, node: &NodeInfo) -> Option<(Rejection, Events)> {
    profile.filters.iter().find_map(|plugin| {
        let rejection = plugin.filter(pod, node).err()?;
        Some((rejection, plugin.events()))
    })
}

fn best<'a>(
    profile: &Profile,
    pod: &PodFacts,
    candidates: &[&'a NodeInfo],
    snapshot: &Snapshot,
    tie_break: u64,
) -> &'a NodeInfo {
    let mut totals = vec![0i64; candidates.len()];
    for plugin in &profile.scores {
        let mut scores: Vec<i64> = candidates.iter().map(|node| plugin.score(pod, node, snapshot)).collect();
        plugin.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    let highest = totals.iter().copied().max().unwrap_or(0);
    let equals: Vec<&NodeInfo> =
        candidates.iter().zip(&totals).filter(|(_, total)| **total == highest).map(|(node, _)| *node).collect();
    let at = usize::try_from(tie_break % equals.len() as u64).expect("a remainder of a length fits");
    equals[at]
}
