//! A pod that names its node fits only there.

use crate::{events::Events, framework::*, node_info::NodeInfo};

pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        let named = cycle.pod.pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        match named.filter(|name| !name.is_empty()) {
            Some(name) => Prepared::Ask(Box::new(Named(name))),
            None => Prepared::Skip,
        }
    }
}

struct Named<'a>(&'a str);

impl Filter for Named<'_> {
    fn check(&self, node: &NodeInfo) -> Verdict {
        if node.name() == self.0 {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) didn't match the requested node name"))
    }
}
