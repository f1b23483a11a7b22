//! A pod that names its node fits only there.

use super::reject;
use crate::{events::Events, framework::*, node_info::NodeInfo, pod_facts::PodFacts};

pub(super) struct NodeName;

impl Filter for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED
    }
    fn filter(&self, pod: &PodFacts, node: &NodeInfo) -> Result<(), Rejection> {
        match pod.pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) {
            Some(name) if name != node.name => {
                reject(Filter::name(self), "node(s) didn't match the requested node name", true)
            }
            _ => Ok(()),
        }
    }
}
