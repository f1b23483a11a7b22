//! A port of the node can be held once.

use crate::{
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_info::NodeInfo,
    pod_facts::{HostPort, PodFacts},
    snapshot::Snapshot,
};

pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::POD_GONE
    }
    fn helps(&self, pod: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        match &change.subject {
            Subject::Pod(pair) => pair.old.as_ref().is_some_and(|gone| conflict(&gone.host_ports, &pod.host_ports)),
            _ => true,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        if cycle.pod.host_ports.is_empty() {
            return Prepared::Skip;
        }
        Prepared::Ask(Box::new(Wanted(&cycle.pod.host_ports)))
    }
}

struct Wanted<'a>(&'a [HostPort]);

impl Filter for Wanted<'_> {
    fn looks_at_pods(&self) -> bool {
        true
    }

    fn check(&self, node: &NodeInfo) -> Verdict {
        if conflict(&node.host_ports, self.0) {
            return Err(Rejection::resolvable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}

fn conflict(held: &[HostPort], wanted: &[HostPort]) -> bool {
    wanted.iter().any(|wanted| held.iter().any(|held| held.conflicts_with(wanted)))
}
