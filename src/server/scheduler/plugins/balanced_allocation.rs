//! Nodes whose resources would be used evenly are better: one that has memory left but no CPU serves nobody. What counts
//! is whether the pod makes the node more even than it is.

use super::resource_scores::{ResourceWeight, Usage, default_resources};
use crate::{devices::Devices, framework::*, node_info::NodeInfo, resource::Resource};

pub struct NodeResourcesBalancedAllocation {
    pub resources: Vec<ResourceWeight>,
}

impl Default for NodeResourcesBalancedAllocation {
    fn default() -> Self {
        Self { resources: default_resources() }
    }
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let wanted = &cycle.pod.request.exact;
        // A pod that asks for nothing changes no balance.
        if self.resources.iter().all(|resource| wanted.of(&resource.name) == 0) {
            return None;
        }
        let devices = &cycle.snapshot.catalogue.devices;
        Some(Box::new(Evenness { resources: &self.resources, wanted, devices }))
    }
}

struct Evenness<'a> {
    resources: &'a [ResourceWeight],
    wanted: &'a Resource,
    devices: &'a Devices,
}

impl Score for Evenness<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let usages = || {
            let names = self.resources.iter().map(|resource| resource.name.as_str());
            names.filter_map(|name| Usage::of(name, self.wanted, &node.taken.requested, node, self.devices))
        };
        let with = evenness(usages().map(|usage| fraction(usage.requested, usage.allocatable)));
        let without = evenness(usages().map(|usage| fraction(usage.allocated, usage.allocatable)));
        MAX_SCORE / 2 + (MAX_SCORE / 2 + with - without) / 2
    }
}

fn fraction(part: i64, whole: i64) -> f64 {
    (part as f64 / whole as f64).min(1.0)
}

/// 100 less the standard deviation in percent.
fn evenness(fractions: impl Iterator<Item = f64> + Clone) -> i64 {
    let count = fractions.clone().count();
    let deviation = match count {
        0 | 1 => 0.0,
        2 => {
            let mut both = fractions;
            let (first, second) = (both.next().unwrap_or(0.0), both.next().unwrap_or(0.0));
            ((first - second) / 2.0).abs()
        }
        _ => {
            let mean = fractions.clone().sum::<f64>() / count as f64;
            (fractions.map(|fraction| (fraction - mean).powi(2)).sum::<f64>() / count as f64).sqrt()
        }
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}
