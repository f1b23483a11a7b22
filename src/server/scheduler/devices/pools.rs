//! The pools of devices that can be reached from a node: the newest generation of their slices, and whether it is whole.

use super::{
    Devices,
    counters::Counters,
    offered::{Place, Slice},
};
use crate::{node_choice::selects, node_info::NodeInfo};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId {
    pub driver: String,
    pub pool: String,
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.driver, self.pool)
    }
}

/// A pool as far as a node can reach it.
#[derive(Debug)]
pub struct Pool<'d> {
    pub id: &'d PoolId,
    /// Its driver is still writing its slices.
    pub incomplete: bool,
    /// A device or a set of counters is in it twice, or a device consumes counters that are not there.
    pub invalid: bool,
    /// Those with devices, by their names.
    pub slices: Vec<&'d Slice>,
    /// Those that the node cannot reach: their devices may consume the same counters.
    pub elsewhere: Vec<&'d Slice>,
    /// By the names of sets.
    pub counters: HashMap<&'d str, &'d Counters>,
}

impl<'d> Pool<'d> {
    pub fn usable(&self) -> bool {
        !self.incomplete && !self.invalid
    }

    fn unusable(id: &'d PoolId, incomplete: bool) -> Self {
        let (slices, elsewhere) = (Vec::new(), Vec::new());
        Self { id, incomplete, invalid: !incomplete, slices, elsewhere, counters: HashMap::new() }
    }

    /// Whether a device of it has to be made ready before a pod is bound: others go first.
    fn has_binding_conditions(&self) -> bool {
        let mut devices = self.slices.iter().flat_map(|slice| &slice.devices);
        devices.any(|device| device.device.binding_conditions.is_some())
    }
}

impl Place<'_> {
    pub fn reaches(&self, node: &NodeInfo) -> bool {
        match (self.node_name, self.all_nodes, self.selector) {
            (Some(name), ..) => name == node.name(),
            (_, true, _) => true,
            (_, _, Some(selector)) => node.facts.node.as_ref().is_some_and(|node| selects(selector, node)),
            _ => false,
        }
    }
}

fn has_devices_for(slice: &Slice, node: &NodeInfo) -> bool {
    match slice.place() {
        Some(place) => place.reaches(node),
        None => slice.devices.iter().any(|device| device.place().reaches(node)),
    }
}

fn generation(slice: &Slice) -> i64 {
    slice.slice.spec.pool.generation
}

/// Adds a slice to those of its pool, of which only the newest generation counts.
fn add<'d>(newest: &mut Vec<&'d Slice>, slice: &'d Slice) {
    match newest.first().map(|first| generation(first)) {
        Some(known) if generation(slice) < known => {}
        Some(known) if generation(slice) == known => newest.push(slice),
        _ => *newest = vec![slice],
    }
}

impl Devices {
    /// The pools that have devices for the node, by their names; those with devices that have to be made ready go last.
    /// A pool's counters belong to it wherever they can be reached from.
    pub fn pools(&self, node: &NodeInfo) -> Vec<Pool<'_>> {
        let of = |name: &str| self.by_node.get(name).into_iter().flatten().filter_map(|slice| self.slices.get(slice));
        let mut pools: BTreeMap<&PoolId, Vec<&Slice>> = BTreeMap::new();
        let slices = of(node.name()).chain(of("")).map(|slice| &**slice);
        for slice in slices.filter(|slice| slice.counters.is_empty() && has_devices_for(slice, node)) {
            add(pools.entry(&slice.pool).or_default(), slice);
        }
        for (id, slices) in &mut pools {
            let counters = self.by_counted_pool.get(*id).into_iter().flatten();
            counters.filter_map(|name| self.slices.get(name)).for_each(|slice| add(slices, slice));
        }
        let mut pools: Vec<Pool<'_>> = pools.into_iter().filter_map(|(id, slices)| self.pool(id, slices)).collect();
        pools.sort_by_key(Pool::has_binding_conditions);
        pools
    }

    /// `None` when the slices are those of a generation that is being replaced.
    fn pool<'d>(&'d self, id: &'d PoolId, mut slices: Vec<&'d Slice>) -> Option<Pool<'d>> {
        let newest = &slices.first()?.slice.spec.pool;
        let wanted = usize::try_from(newest.resource_slice_count).unwrap_or(0);
        let mut elsewhere = Vec::new();
        if slices.len() != wanted {
            // Others may be those of other nodes.
            let names = self.by_pool.get(id).into_iter().flatten();
            let all: Vec<&Slice> = names.filter_map(|name| self.slices.get(name)).map(|slice| &**slice).collect();
            if all.iter().any(|slice| generation(slice) > newest.generation) {
                return None;
            }
            let known: HashSet<&str> = slices.iter().map(|slice| slice.name.as_str()).collect();
            elsewhere = all;
            elsewhere.retain(|slice| generation(slice) == newest.generation && !known.contains(slice.name.as_str()));
        }
        if slices.len() + elsewhere.len() != wanted {
            return Some(Pool::unusable(id, true));
        }
        slices.sort_by_key(|slice| &slice.name);
        Some(valid(id, slices, elsewhere).unwrap_or_else(|| Pool::unusable(id, false)))
    }
}

fn valid<'d>(id: &'d PoolId, all: Vec<&'d Slice>, elsewhere: Vec<&'d Slice>) -> Option<Pool<'d>> {
    let (slices, counted): (Vec<_>, Vec<_>) = all.into_iter().partition(|slice| slice.counters.is_empty());
    let mut names = HashSet::new();
    let mut devices = slices.iter().flat_map(|slice| &slice.devices);
    if !devices.all(|device| names.insert(&device.id.device)) {
        return None;
    }
    let mut counters = HashMap::new();
    for set in counted.iter().flat_map(|slice| &slice.counters) {
        if counters.insert(set.set.as_str(), set).is_some() {
            return None;
        }
    }
    let pool = Pool { id, incomplete: false, invalid: false, slices, elsewhere, counters };
    let slices = pool.slices.iter().chain(&pool.elsewhere).filter(|slice| slice.consumes);
    let mut consumed = slices.flat_map(|slice| &slice.devices).flat_map(|device| &device.consumes);
    let is_there = |consumed: &Counters| {
        let set = pool.counters.get(consumed.set.as_str());
        set.is_some_and(|set| consumed.amounts.keys().all(|name| set.amounts.contains_key(name)))
    };
    consumed.all(is_there).then_some(pool)
}
