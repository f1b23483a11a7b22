//! A pod carries the zone and the region of its node as labels, for whoever sees pods and not nodes.

use mk8s_api::{at, status::Status};
use serde_json::Value;

use super::{Context, Operation, Plugin, Request, stored};
use crate::registry::labels;

pub(super) struct PodTopologyLabels;

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

impl Plugin for PodTopologyLabels {
    /// The labels of a binding become those of its pod.
    fn mutate(&self, request: &Request<'_>, object: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        let Some(node) = node_of(request, object).filter(|node| !node.is_empty()) else { return Ok(()) };
        let Some(entry) = stored::entry(context.view, "", "nodes", "", node) else { return Ok(()) };
        let mut known = labels(&entry.value);
        for label in LABELS {
            let Some(value) = known.remove(label) else { continue };
            if let Some(own) = at::sub_mut(object, "metadata").and_then(|metadata| at::map_mut(metadata, "labels")) {
                own.insert(label.to_owned(), value.into());
            }
        }
        Ok(())
    }
}

/// The node of a new pod that has one, or of a pod that is being given one.
fn node_of<'o>(request: &Request<'_>, object: &'o Value) -> Option<&'o str> {
    if request.operation != Operation::Create || !request.is("", "pods") {
        return None;
    }
    match request.subresource {
        "" => object["spec"]["nodeName"].as_str(),
        "binding" if object["target"]["kind"] == "Node" => object["target"]["name"].as_str(),
        _ => None,
    }
}
