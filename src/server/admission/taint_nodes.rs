//! A new node takes no pods until it was seen ready.

use mk8s_api::status::Status;
use serde_json::{Value, json};

use super::{Context, Plugin, Request, stored::items};

pub(super) struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

impl Plugin for TaintNodesByCondition {
    fn mutate(&self, request: &Request<'_>, node: &mut Value, _context: &Context<'_>) -> Result<(), Status> {
        if !request.creates("", "nodes") {
            return Ok(());
        }
        let mut taints = items(&node["spec"]["taints"]).to_vec();
        if !taints.iter().any(|taint| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule") {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
            node["spec"]["taints"] = Value::Array(taints);
        }
        Ok(())
    }
}
