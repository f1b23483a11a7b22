//! The default profile: one small file a plugin, under Kubernetes' names.

mod balanced_allocation;
mod image_locality;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resources_fit;
mod taint_toleration;

use crate::{cycle::Profile, framework::Rejection};
use std::borrow::Cow;

/// The plugins of the default profile, with Kubernetes' order and weights.
pub fn default_profile() -> Profile {
    Profile {
        filters: vec![
            Box::new(node_unschedulable::NodeUnschedulable),
            Box::new(node_name::NodeName),
            Box::new(taint_toleration::TaintToleration),
            Box::new(node_affinity::NodeAffinity),
            Box::new(node_ports::NodePorts),
            Box::new(resources_fit::NodeResourcesFit),
        ],
        scores: vec![
            Box::new(taint_toleration::TaintToleration),
            Box::new(node_affinity::NodeAffinity),
            Box::new(resources_fit::NodeResourcesFit),
            Box::new(balanced_allocation::NodeResourcesBalancedAllocation),
            Box::new(image_locality::ImageLocality),
        ],
    }
}

fn reject(plugin: &'static str, reason: &'static str, unresolvable: bool) -> Result<(), Rejection> {
    Err(Rejection { plugin, reasons: vec![Cow::Borrowed(reason)], unresolvable })
}
