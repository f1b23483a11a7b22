//! A pod's requests must fit beside what the node's pods have been promised; emptier nodes are better (LeastAllocated).

use crate::{events::Events, framework::*, node_info::NodeInfo, pod_facts::PodFacts, snapshot::Snapshot};
use std::borrow::Cow;

pub(super) struct NodeResourcesFit;

impl Filter for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_ALLOCATABLE | Events::POD_GONE
    }
    fn filter(&self, pod: &PodFacts, node: &NodeInfo) -> Result<(), Rejection> {
        let (wanted, has, taken) = (&pod.request.exact, &node.allocatable, &node.requested);
        let mut reasons: Vec<Cow<'static, str>> = Vec::new();
        let mut unresolvable = false;
        let mut check = |wanted: i64, has: i64, taken: i64, reason: Cow<'static, str>| {
            if wanted > 0 && wanted > has.saturating_sub(taken) {
                reasons.push(reason);
                unresolvable |= wanted > has;
            }
        };
        check(1, has.pods, node.pod_count(), "Too many pods".into());
        check(wanted.milli_cpu, has.milli_cpu, taken.milli_cpu, "Insufficient cpu".into());
        check(wanted.memory, has.memory, taken.memory, "Insufficient memory".into());
        check(
            wanted.ephemeral_storage,
            has.ephemeral_storage,
            taken.ephemeral_storage,
            "Insufficient ephemeral-storage".into(),
        );
        for (name, amount) in &wanted.scalar {
            let of = |map: &std::collections::BTreeMap<String, i64>| map.get(name).copied().unwrap_or(0);
            check(*amount, of(&has.scalar), of(&taken.scalar), format!("Insufficient {name}").into());
        }
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Rejection { plugin: Filter::name(self), reasons, unresolvable })
    }
}

impl Score for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn weight(&self) -> i64 {
        1
    }
    fn score(&self, pod: &PodFacts, node: &NodeInfo, _: &Snapshot) -> i64 {
        let free = |wanted: i64, has: i64, taken: i64| {
            let left = has.saturating_sub(taken).saturating_sub(wanted);
            if has <= 0 || left < 0 { 0 } else { left.saturating_mul(MAX_SCORE) / has }
        };
        let (wanted, has, taken) = (&pod.request.nominal, &node.allocatable, &node.nominal);
        (free(wanted.milli_cpu, has.milli_cpu, taken.milli_cpu) + free(wanted.memory, has.memory, taken.memory)) / 2
    }
}
