//! `nodeSelector` and node affinity: where a pod must go, and where it would rather go.

use crate::{
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_choice::{self, RequiredNodes},
    node_info::{NodeFacts, NodeInfo},
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, NodeSelector, PreferredSchedulingTerm};

/// With the affinity that a profile adds to every pod's.
#[derive(Default)]
pub struct NodeAffinity {
    pub added: Option<Affinity>,
}

impl NodeAffinity {
    fn enforced(&self) -> Option<&NodeSelector> {
        self.added.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()
    }
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_LABELS
    }
    fn helps(&self, pod: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        let Subject::Node(pair) = &change.subject else { return false };
        let takes = |node: &NodeFacts| node.node.as_ref().is_some_and(|node| pod.required_nodes.allow(node));
        let enforced = |node: &NodeFacts| {
            let node = node.node.as_ref();
            self.enforced().is_none_or(|selector| node.is_some_and(|node| node_choice::selects(selector, node)))
        };
        let Some(new) = &pair.new else { return false };
        enforced(new) && takes(new) && pair.old.as_ref().is_none_or(|old| !takes(old) || !enforced(old))
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        let required = &cycle.pod.required_nodes;
        let enforced = self.enforced();
        if required.is_any() && enforced.is_none() {
            return Prepared::Skip;
        }
        let filter = Box::new(Required { required, enforced });
        match required.names() {
            None => Prepared::Ask(filter),
            Some(names) if names.is_empty() => Prepared::Reject(Rejection::unresolvable("pod affinity terms conflict")),
            Some(names) => Prepared::AskOnly(names, filter),
        }
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let affinity = cycle.pod.pod.spec.as_ref()?.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let of = |affinity: Option<&'a Affinity>| {
            affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref())
        };
        let (own, added) = (of(affinity), of(self.added.as_ref()));
        if own.is_none() && added.is_none() {
            return None;
        }
        Some(Box::new(Preferred([own.unwrap_or_default(), added.unwrap_or_default()])))
    }
}

struct Required<'a> {
    required: &'a RequiredNodes,
    enforced: Option<&'a NodeSelector>,
}

impl Filter for Required<'_> {
    fn check(&self, node: &NodeInfo) -> Verdict {
        let Some(node) = node.facts.node.as_ref() else { return Ok(()) };
        if self.enforced.is_some_and(|selector| !node_choice::selects(selector, node)) {
            return Err(Rejection::unresolvable("node(s) didn't match scheduler-enforced node affinity"));
        }
        if !self.required.allow(node) {
            return Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"));
        }
        Ok(())
    }
}

struct Preferred<'a>([&'a [PreferredSchedulingTerm]; 2]);

impl Score for Preferred<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let Some(node) = node.facts.node.as_ref() else { return 0 };
        self.0.iter().map(|terms| node_choice::preference(terms, node)).sum()
    }
    fn normalize(&self, _: &[&NodeInfo], scores: &mut [i64]) {
        scale_to_max(scores, false);
    }
}
