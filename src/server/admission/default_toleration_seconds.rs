//! Pods stay five minutes on a node that is lost, unless they say otherwise.

use mk8s_api::status::Status;
use serde_json::{Value, json};

use super::{Context, Operation, Plugin, Request, stored::items};

pub(super) struct DefaultTolerationSeconds;

const SECONDS: u32 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

impl Plugin for DefaultTolerationSeconds {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value, _context: &Context<'_>) -> Result<(), Status> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if !request.whole("", "pods") || !written {
            return Ok(());
        }
        let mut tolerations = items(&pod["spec"]["tolerations"]).to_vec();
        let text = |toleration: &Value, field: &str| toleration[field].as_str().unwrap_or_default().to_string();
        for taint in TAINTS {
            let tolerated = |t: &Value| {
                ["", taint].contains(&text(t, "key").as_str())
                    && ["", "NoExecute"].contains(&text(t, "effect").as_str())
            };
            if !tolerations.iter().any(tolerated) {
                tolerations.push(
                    json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}),
                );
            }
        }
        pod["spec"]["tolerations"] = Value::Array(tolerations);
        Ok(())
    }
}
