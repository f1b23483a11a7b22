//! What plugins that rank nodes by resources have in common: which resources, and how much of each is used.

use crate::{
    devices::Devices,
    node_info::NodeInfo,
    resource::{Resource, is_scalar},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceWeight {
    pub name: String,
    pub weight: i64,
}

pub fn default_resources() -> Vec<ResourceWeight> {
    ["cpu", "memory"].into_iter().map(|name| ResourceWeight { name: name.to_owned(), weight: 1 }).collect()
}

/// One resource of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// With the pod that is placed.
    pub requested: i64,
    /// Without it.
    pub allocated: i64,
    pub allocatable: i64,
}

impl Usage {
    /// `None` for a resource that says nothing about the node: it has none, or the pod wants no such extended resource.
    /// Where no device plugin has it, the devices of the class behind it count.
    pub fn of(name: &str, wanted: &Resource, taken: &Resource, node: &NodeInfo, devices: &Devices) -> Option<Usage> {
        let wanted = wanted.of(name);
        if wanted == 0 && is_scalar(name) {
            return None;
        }
        let (allocatable, allocated) = match node.allocatable(name) {
            0 => devices.behind(name, node)?,
            allocatable => (allocatable, taken.of(name)),
        };
        Some(Usage { requested: allocated.saturating_add(wanted), allocated, allocatable })
    }
}
