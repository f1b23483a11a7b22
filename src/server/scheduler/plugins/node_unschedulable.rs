//! A cordoned node takes only pods that tolerate being unschedulable.

use crate::{
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use k8s_openapi::api::core::v1::Taint;
use mk8s_api::taints;
use std::sync::LazyLock;

pub struct NodeUnschedulable;

static CORDONED: LazyLock<Taint> = LazyLock::new(|| Taint {
    key: "node.kubernetes.io/unschedulable".to_owned(),
    effect: "NoSchedule".to_owned(),
    ..Taint::default()
});

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_TAINTS | Events::POD_TOLERATIONS
    }
    fn helps(&self, _: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        match &change.subject {
            Subject::Node(pair) => {
                let was = pair.old.as_ref().is_none_or(|node| node.cordoned);
                was && pair.new.as_ref().is_some_and(|node| !node.cordoned)
            }
            Subject::Itself(_) => true,
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        if taints::tolerated(&CORDONED, cycle.pod.tolerations()) {
            return Prepared::Skip;
        }
        Prepared::Ask(Box::new(NotCordoned))
    }
}

struct NotCordoned;

impl Filter for NotCordoned {
    fn check(&self, node: &NodeInfo) -> Verdict {
        if node.room.cordoned {
            return Err(Rejection::unresolvable("node(s) were unschedulable"));
        }
        Ok(())
    }
}
