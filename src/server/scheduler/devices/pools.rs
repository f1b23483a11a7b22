//! The pools of devices that can be reached from a node: the newest generation of their slices, and whether it is whole.

use super::{Devices, Slice};
use crate::{node_choice::selects, node_info::NodeInfo};
use k8s_openapi::api::resource::v1::ResourceSliceSpec;
use std::{
    collections::{BTreeMap, HashSet},
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
    /// A device is in it twice.
    pub invalid: bool,
    pub slices: Vec<&'d Slice>,
}

impl Pool<'_> {
    pub fn usable(&self) -> bool {
        !self.incomplete && !self.invalid
    }
}

/// Slices that need more than one device per claim and one place per slice are nobody's.
fn is_plain(spec: &ResourceSliceSpec) -> bool {
    spec.per_device_node_selection.is_none() && spec.shared_counters.as_ref().is_none_or(Vec::is_empty)
}

fn reaches(spec: &ResourceSliceSpec, node: &NodeInfo) -> bool {
    match (&spec.node_name, spec.all_nodes, &spec.node_selector) {
        (Some(name), ..) if !name.is_empty() => name == node.name(),
        (_, Some(true), _) => true,
        (_, _, Some(selector)) => node.facts.node.as_ref().is_some_and(|node| selects(selector, node)),
        _ => false,
    }
}

impl Devices {
    /// The pools that have devices for the node, by their names.
    pub fn pools(&self, node: &NodeInfo) -> Vec<Pool<'_>> {
        let of = |name: &str| self.by_node.get(name).into_iter().flatten().filter_map(|slice| self.slices.get(slice));
        let mut pools: BTreeMap<&PoolId, Vec<&Slice>> = BTreeMap::new();
        for slice in of(node.name()).chain(of("")) {
            let spec = &slice.slice.spec;
            if !is_plain(spec) || !reaches(spec, node) {
                continue;
            }
            let newest = pools.entry(&slice.pool).or_default();
            match newest.first().map(|first| first.slice.spec.pool.generation) {
                Some(known) if spec.pool.generation < known => {}
                Some(known) if spec.pool.generation == known => newest.push(slice),
                _ => *newest = vec![slice],
            }
        }
        pools.into_iter().filter_map(|(id, slices)| self.pool(id, slices)).collect()
    }

    /// `None` when the slices are those of a generation that is being replaced.
    fn pool<'d>(&'d self, id: &'d PoolId, slices: Vec<&'d Slice>) -> Option<Pool<'d>> {
        let newest = &slices.first()?.slice.spec.pool;
        let wanted = usize::try_from(newest.resource_slice_count).unwrap_or(0);
        let mut count = slices.len();
        if count != wanted {
            // Others may be those of other nodes.
            let names = self.by_pool.get(id).into_iter().flatten();
            let generations: Vec<i64> =
                names.filter_map(|name| self.slices.get(name)).map(|slice| slice.slice.spec.pool.generation).collect();
            if generations.iter().any(|generation| *generation > newest.generation) {
                return None;
            }
            count = generations.iter().filter(|generation| **generation == newest.generation).count();
        }
        if count != wanted {
            return Some(Pool { id, incomplete: true, invalid: false, slices: Vec::new() });
        }
        let mut names = HashSet::new();
        let mut devices = slices.iter().flat_map(|slice| &slice.devices);
        let invalid = !devices.all(|device| names.insert(&device.id.device));
        Some(Pool { id, incomplete: false, invalid, slices })
    }
}
