//! A pod's runtime class brings its overhead and the nodes it can run on.

use mk8s_api::status::Status;
use serde_json::Value;

use super::{
    Context, Plugin, Request,
    pod_resources::read,
    stored::{get, items},
};

pub(super) struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        let Some(class) = class_of(request, pod, context)? else { return Ok(()) };
        let fixed = &class["overhead"]["podFixed"];
        if fixed.is_object() {
            let given = read(&pod["spec"]["overhead"]);
            if !given.is_empty() && given != read(fixed) {
                return Err(request.forbidden(
                    Some(pod),
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
                ));
            }
            pod["spec"]["overhead"] = fixed.clone();
        }
        for (key, value) in class["scheduling"]["nodeSelector"].as_object().into_iter().flatten() {
            let given = pod["spec"]["nodeSelector"].get(key).and_then(Value::as_str);
            let wanted = value.as_str().unwrap_or_default();
            if let Some(given) = given.filter(|given| *given != wanted) {
                let why = format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {given}"
                );
                return Err(request.forbidden(Some(pod), &why));
            }
            pod["spec"]["nodeSelector"][key] = value.clone();
        }
        let mut tolerations = items(&pod["spec"]["tolerations"]).to_vec();
        let more = items(&class["scheduling"]["tolerations"])
            .iter()
            .filter(|t| !tolerations.contains(t))
            .cloned()
            .collect::<Vec<_>>();
        if !more.is_empty() {
            tolerations.extend(more);
            pod["spec"]["tolerations"] = Value::Array(tolerations);
        }
        Ok(())
    }

    fn validate(&self, request: &Request<'_>, pod: &Value, context: &Context<'_>) -> Result<(), Status> {
        if !request.creates("", "pods") || pod["spec"]["overhead"].is_null() {
            return Ok(());
        }
        let class = class_of(request, pod, context)?.unwrap_or_default();
        let why = match &class["overhead"]["podFixed"] {
            Value::Null => "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            fixed if read(fixed) == read(&pod["spec"]["overhead"]) => return Ok(()),
            _ => "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        };
        Err(request.forbidden(Some(pod), why))
    }
}

fn class_of(request: &Request<'_>, pod: &Value, context: &Context<'_>) -> Result<Option<Value>, Status> {
    let name = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
    if !request.creates("", "pods") || name.is_empty() {
        return Ok(None);
    }
    let missing = || request.forbidden(Some(pod), &format!("pod rejected: RuntimeClass {name:?} not found"));
    get(context.view, "node.k8s.io", "runtimeclasses", "", name).map(Some).ok_or_else(missing)
}
