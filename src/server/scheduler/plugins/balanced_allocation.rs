//! Nodes whose CPU and memory would be used to the same degree are better: neither strands the other.

use crate::{framework::*, node_info::NodeInfo, pod_facts::PodFacts, snapshot::Snapshot};

pub(super) struct NodeResourcesBalancedAllocation;

impl Score for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
    fn weight(&self) -> i64 {
        1
    }
    fn score(&self, pod: &PodFacts, node: &NodeInfo, _: &Snapshot) -> i64 {
        let share = |wanted: i64, has: i64, taken: i64| {
            if has <= 0 { 1.0 } else { ((taken.saturating_add(wanted)) as f64 / has as f64).min(1.0) }
        };
        let (wanted, has, taken) = (&pod.request.exact, &node.allocatable, &node.requested);
        if wanted.milli_cpu == 0 && wanted.memory == 0 {
            return 0;
        }
        let cpu = share(wanted.milli_cpu, has.milli_cpu, taken.milli_cpu);
        let memory = share(wanted.memory, has.memory, taken.memory);
        let deviation = (cpu - memory).abs() / 2.0;
        ((1.0 - deviation) * MAX_SCORE as f64) as i64
    }
}
