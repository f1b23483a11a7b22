//! A node's taints keep away the pods that do not tolerate them.

use crate::{
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use k8s_openapi::api::core::v1::Toleration;
use mk8s_api::taints;

pub struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_TAINTS | Events::POD_TOLERATIONS
    }
    fn helps(&self, pod: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        match &change.subject {
            Subject::Node(pair) => {
                let kept_away =
                    |node: &crate::node_info::NodeFacts| taints::keep_away(node.taints(), pod.tolerations());
                let was = pair.old.as_ref().is_none_or(|node| kept_away(node));
                was && pair.new.as_ref().is_some_and(|node| !kept_away(node))
            }
            Subject::Itself(_) => true,
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        Prepared::Ask(Box::new(Tolerated(cycle.pod.tolerations())))
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, candidates: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        // Without taints all are the best.
        if candidates.iter().all(|node| !node.room.tainted) {
            return None;
        }
        Some(Box::new(Tolerated(cycle.pod.tolerations())))
    }
}

struct Tolerated<'a>(&'a [Toleration]);

impl Filter for Tolerated<'_> {
    fn check(&self, node: &NodeInfo) -> Verdict {
        if node.room.tainted && taints::keep_away(node.facts.taints(), self.0) {
            return Err(Rejection::unresolvable("node(s) had untolerated taint(s)"));
        }
        Ok(())
    }
}

impl Score for Tolerated<'_> {
    /// How many `PreferNoSchedule` taints the pod does not tolerate; normalising turns fewest into best.
    fn score(&self, node: &NodeInfo) -> i64 {
        let disliked = node.facts.taints().iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let count = disliked.filter(|taint| !taints::tolerated(taint, self.0)).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }
    fn normalize(&self, _: &[&NodeInfo], scores: &mut [i64]) {
        scale_to_max(scores, true);
    }
}
