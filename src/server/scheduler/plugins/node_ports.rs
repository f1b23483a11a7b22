//! A port of the node can be held once.

use super::reject;
use crate::{events::Events, framework::*, node_info::NodeInfo, pod_facts::PodFacts};

pub(super) struct NodePorts;

impl Filter for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::POD_GONE
    }
    fn filter(&self, pod: &PodFacts, node: &NodeInfo) -> Result<(), Rejection> {
        let taken = pod.host_ports.iter().any(|wanted| node.host_ports.iter().any(|held| held.conflicts_with(wanted)));
        if taken {
            return reject(self.name(), "node(s) didn't have free ports for the requested pod ports", false);
        }
        Ok(())
    }
}
