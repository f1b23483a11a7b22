//! A pod's requests must fit beside what the node's pods have been promised; which nodes are better is the strategy's word.

use super::resource_scores::{ResourceWeight, Usage, default_resources};
use crate::{
    change::{Change, Subject},
    devices::Devices,
    events::Events,
    framework::*,
    node_info::{NodeFacts, NodeInfo, Taken},
    pod_facts::PodFacts,
    resource::{Resource, is_extended},
    snapshot::Snapshot,
};
use std::borrow::Cow;

/// How a node is ranked by what is taken of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Strategy {
    /// Emptier nodes are better.
    LeastAllocated,
    /// Fuller nodes are better.
    MostAllocated,
    /// The score of a utilization (both in percent), by the points of a broken line.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

pub struct NodeResourcesFit {
    pub strategy: Strategy,
    pub resources: Vec<ResourceWeight>,
    pub ignored_resources: Vec<String>,
    /// What stands before the slash of resources that are not looked at.
    pub ignored_groups: Vec<String>,
}

impl Default for NodeResourcesFit {
    fn default() -> Self {
        Self {
            strategy: Strategy::LeastAllocated,
            resources: default_resources(),
            ignored_resources: Vec::new(),
            ignored_groups: Vec::new(),
        }
    }
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_ALLOCATABLE | Events::POD_GONE | Events::POD_SMALLER | Events::DEVICE_CLASS
    }
    fn helps(&self, pod: &PodFacts, change: &Change, snapshot: &Snapshot) -> bool {
        match &change.subject {
            Subject::Itself(_) => true,
            Subject::Pod(pair) => match (&pair.old, &pair.new) {
                (Some(old), Some(new)) => {
                    let wanted = &pod.request.exact;
                    shrinks_for(wanted, &old.request.exact, &new.request.exact)
                }
                (old, _) => old.is_some(),
            },
            Subject::Node(pair) => {
                let Some(new) = &pair.new else { return false };
                let devices = &snapshot.catalogue.devices;
                empty_node_fits(pod, new, devices)
                    && pair.old.as_ref().is_none_or(|old| {
                        let (was, is) = (&old.allocatable, &new.allocatable);
                        is.pods > was.pods
                            || shrinks_for(&pod.request.exact, is, was)
                            || pod.request.exact.scalar.keys().any(|name| is_from_devices(name, new, devices))
                    })
            }
            Subject::DeviceClass(_) => snapshot.catalogue.devices.backs_resources_of(pod),
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        let wanted = &cycle.pod.request.exact;
        let devices = &cycle.snapshot.catalogue.devices;
        Prepared::Ask(Box::new(Fits { plugin: self, wanted, devices, nothing: wanted.is_nothing() }))
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let devices = &cycle.snapshot.catalogue.devices;
        Some(Box::new(Ranked { plugin: self, wanted: &cycle.pod.request.nominal, devices }))
    }
}

/// Whether `after` has less than `before` of a resource that is wanted.
fn shrinks_for(wanted: &Resource, before: &Resource, after: &Resource) -> bool {
    let less = |name: &str| wanted.of(name) > 0 && before.of(name) > after.of(name);
    ["cpu", "memory", "ephemeral-storage"].into_iter().any(less) || wanted.scalar.keys().any(|name| less(name))
}

fn empty_node_fits(pod: &PodFacts, node: &NodeFacts, devices: &Devices) -> bool {
    let (wanted, has) = (&pod.request.exact, &node.allocatable);
    has.pods >= 1
        && wanted.milli_cpu <= has.milli_cpu
        && wanted.memory <= has.memory
        && wanted.ephemeral_storage <= has.ephemeral_storage
        && wanted.scalar.iter().all(|(name, amount)| *amount <= has.of(name) || is_from_devices(name, node, devices))
}

/// Whether a node has a resource by devices of a class, and not by a device plugin.
fn is_from_devices(name: &str, node: &NodeFacts, devices: &Devices) -> bool {
    node.allocatable.of(name) == 0 && devices.class_behind(name).is_some()
}

struct Fits<'a> {
    plugin: &'a NodeResourcesFit,
    wanted: &'a Resource,
    devices: &'a Devices,
    nothing: bool,
}

impl Filter for Fits<'_> {
    fn check(&self, node: &NodeInfo) -> Verdict {
        self.check_if_taken(node, &node.taken)
    }

    fn check_if_taken(&self, node: &NodeInfo, all: &Taken) -> Verdict {
        let (wanted, has, taken) = (self.wanted, &node.room, &all.requested);
        let fits = |wanted: i64, has: i64, taken: i64| wanted <= 0 || wanted <= has.saturating_sub(taken);
        if all.pods < has.pods
            && (self.nothing
                || (fits(wanted.milli_cpu, has.milli_cpu, taken.milli_cpu)
                    && fits(wanted.memory, has.memory, taken.memory)
                    && fits(wanted.ephemeral_storage, has.ephemeral_storage, taken.ephemeral_storage)
                    && wanted.scalar.is_empty()))
        {
            return Ok(());
        }
        self.explain(node, all)
    }
}

impl Fits<'_> {
    fn explain(&self, node: &NodeInfo, all: &Taken) -> Verdict {
        let (wanted, has, taken) = (self.wanted, &node.room, &all.requested);
        let lacks = |wanted: i64, has: i64, taken: i64| wanted > 0 && wanted > has.saturating_sub(taken);
        let plain = [
            ("Too many pods", all.pods >= has.pods, false),
            (
                "Insufficient cpu",
                lacks(wanted.milli_cpu, has.milli_cpu, taken.milli_cpu),
                wanted.milli_cpu > has.milli_cpu,
            ),
            ("Insufficient memory", lacks(wanted.memory, has.memory, taken.memory), wanted.memory > has.memory),
            (
                "Insufficient ephemeral-storage",
                lacks(wanted.ephemeral_storage, has.ephemeral_storage, taken.ephemeral_storage),
                wanted.ephemeral_storage > has.ephemeral_storage,
            ),
        ];
        let missing = || plain.iter().filter(|(_, lacking, _)| *lacking);
        let mut unresolvable = missing().any(|(.., never)| *never);
        let mut scalars: Vec<Cow<'static, str>> = Vec::new();
        for name in wanted.scalar.keys().filter(|name| !self.ignores(name)) {
            let (wanted, has, taken) = (wanted.of(name), node.facts.allocatable.of(name), taken.of(name));
            if lacks(wanted, has, taken) && !is_from_devices(name, &node.facts, self.devices) {
                scalars.push(format!("Insufficient {name}").into());
                unresolvable |= wanted > has;
            }
        }
        let mut plain = missing().map(|(reason, ..)| Cow::Borrowed(*reason));
        let reasons = match (plain.next(), plain.next()) {
            (None, _) if scalars.is_empty() => return Ok(()),
            // The usual way, without an allocation: preemption asks thousands of nodes.
            (Some(only), None) if scalars.is_empty() => Reasons::One(only),
            (first, second) => Reasons::Several(first.into_iter().chain(second).chain(plain).chain(scalars).collect()),
        };
        Err(Rejection { reasons, unresolvable })
    }

    fn ignores(&self, name: &str) -> bool {
        let group = name.split('/').next().unwrap_or_default();
        is_extended(name)
            && (self.plugin.ignored_resources.iter().any(|ignored| ignored == name)
                || self.plugin.ignored_groups.iter().any(|ignored| ignored == group))
    }
}

struct Ranked<'a> {
    plugin: &'a NodeResourcesFit,
    wanted: &'a Resource,
    devices: &'a Devices,
}

impl Score for Ranked<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let usages = self.plugin.resources.iter().filter_map(|resource| {
            let taken =
                if matches!(resource.name.as_str(), "cpu" | "memory") { &node.nominal } else { &node.taken.requested };
            Some((Usage::of(&resource.name, self.wanted, taken, node, self.devices)?, resource.weight))
        });
        self.plugin.strategy.score(usages)
    }
}

impl Strategy {
    fn score(&self, usages: impl Iterator<Item = (Usage, i64)>) -> i64 {
        let mut sum = 0i64;
        let mut weights = 0i64;
        for (usage, weight) in usages {
            let score = self.of(&usage);
            if matches!(self, Strategy::RequestedToCapacityRatio(_)) && score <= 0 {
                continue;
            }
            sum += score * weight;
            weights += weight;
        }
        match self {
            _ if weights == 0 => 0,
            Strategy::RequestedToCapacityRatio(_) => (sum as f64 / weights as f64).round() as i64,
            _ => sum / weights,
        }
    }

    fn of(&self, usage: &Usage) -> i64 {
        let Usage { requested, allocatable, .. } = *usage;
        match self {
            Strategy::LeastAllocated if requested > allocatable => 0,
            Strategy::LeastAllocated => scaled(allocatable - requested, allocatable),
            Strategy::MostAllocated => scaled(requested.min(allocatable), allocatable),
            Strategy::RequestedToCapacityRatio(points) if requested > allocatable => on_line(points, MAX_SCORE),
            Strategy::RequestedToCapacityRatio(points) => on_line(points, scaled(requested, allocatable)),
        }
    }
}

/// Part of a whole in percent; wide enough for bytes.
fn scaled(part: i64, whole: i64) -> i64 {
    match part.checked_mul(MAX_SCORE) {
        Some(product) => product / whole,
        None => i64::try_from(i128::from(part) * i128::from(MAX_SCORE) / i128::from(whole)).unwrap_or(MAX_SCORE),
    }
}

/// The value at `x` of a line through points in the order of their `x`; level before the first and after the last.
fn on_line(points: &[(i64, i64)], x: i64) -> i64 {
    let Some(at) = points.iter().position(|(utilization, _)| x <= *utilization) else {
        return points.last().map_or(0, |(_, score)| *score);
    };
    let (right, high) = points[at];
    if at == 0 {
        return high;
    }
    let (left, low) = points[at - 1];
    low + (high - low) * (x - left) / (right - left)
}
