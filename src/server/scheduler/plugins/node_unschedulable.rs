//! A cordoned node takes only pods that tolerate being unschedulable.

use super::{reject, taint_toleration::tolerates};
use crate::{events::Events, framework::*, node_info::NodeInfo, pod_facts::PodFacts};
use k8s_openapi::api::core::v1::Taint;

pub(super) struct NodeUnschedulable;

impl Filter for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_TAINTS
    }
    fn filter(&self, pod: &PodFacts, node: &NodeInfo) -> Result<(), Rejection> {
        let cordoned =
            node.node.as_ref().and_then(|n| n.spec.as_ref()).and_then(|s| s.unschedulable).unwrap_or(false);
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if cordoned && !pod.tolerations.iter().any(|t| tolerates(t, &taint)) {
            return reject(self.name(), "node(s) were unschedulable", true);
        }
        Ok(())
    }
}
