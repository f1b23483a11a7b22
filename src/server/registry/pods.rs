//! What is done to pods beside the ordinary verbs: binding, ephemeral containers. Eviction has a file of its own.

use std::borrow::Cow;

use jiff::Timestamp;
use mk8s_api::{
    at, meta,
    status::{GroupResource, Status},
};
use mk8s_store::{Index, Term};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Registry, Stored, Warnings, update::Admitted};

/// Every node follows its own pods, and asks for them anew when it has lost touch.
pub const BY_NODE: Index = Index { prefix: b"/registry/core/pods/", term: node_of };

#[derive(Deserialize)]
struct RawPod<'a> {
    #[serde(borrow)]
    spec: Option<RawSpec<'a>>,
}

#[derive(Deserialize)]
struct RawSpec<'a> {
    #[serde(borrow, rename = "nodeName")]
    node_name: Option<Cow<'a, str>>,
}

/// Only the node, without decoding the rest.
fn node_of(pod: &[u8]) -> Option<Term> {
    let pod: RawPod<'_> = serde_json::from_slice(pod).ok()?;
    Some(Term::from(pod.spec?.node_name?))
}

impl Registry {
    /// `pods/binding`: the scheduler's word on where a pod runs.
    pub async fn bind(&self, call: &Call<'_>, binding: &Value, warnings: &mut Warnings) -> Result<Status, Status> {
        let node = binding["target"]["name"].as_str().unwrap_or_default();
        check_binding(call, binding, node)?;
        let now = meta::format_time(Timestamp::now());
        let pod = Call { subresource: "binding", ..*call };
        self.update_as(&pod, Admitted::Before, warnings, |old| {
            let wanted = meta::uid(binding);
            if !wanted.is_empty() && wanted != meta::uid(old) {
                let why = format!(
                    "Precondition failed: UID in precondition: {wanted}, UID in object meta: {}",
                    meta::uid(old)
                );
                return Err(Status::conflict(&pods_binding(), call.name, why));
            }
            assign(call.name, old, binding, node, &now).map_err(|why| Status::conflict(&pods_binding(), call.name, why))
        })
        .await?;
        Ok(Status { code: 201, ..Status::success(None) })
    }

    /// `pods/ephemeralcontainers`: only they change.
    pub async fn update_ephemeral_containers(
        &self,
        call: &Call<'_>,
        warnings: &mut Warnings,
        mut transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Stored, Status> {
        self.update_with(call, warnings, |old| {
            let asked = transform(old)?;
            Ok(with_ephemeral_containers(old, &asked))
        })
        .await
    }
}

/// The pod with the ephemeral containers that are asked for, and for the version that is asked for.
pub(super) fn with_ephemeral_containers(old: &Value, asked: &Value) -> Value {
    let mut new = old.clone();
    if let Some(spec) = at::sub_mut(&mut new, "spec") {
        at::keep(spec, at::sub(asked, "spec"), "ephemeralContainers");
    }
    meta::set(&mut new, "resourceVersion", meta::resource_version(asked));
    new
}

fn pods_binding() -> GroupResource {
    GroupResource::new("", "pods/binding")
}

fn check_binding(call: &Call<'_>, binding: &Value, node: &str) -> Result<(), Status> {
    let name = meta::name(binding);
    if !name.is_empty() && name != call.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        return Err(Status::failure(
            422,
            "Invalid",
            format!(
                "Binding \"{}\" is invalid: target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"",
                call.name
            ),
        ));
    }
    if node.is_empty() {
        return Err(Status::failure(
            422,
            "Invalid",
            format!("Binding \"{}\" is invalid: target.name: Required value", call.name),
        ));
    }
    Ok(())
}

/// The pod with its node, or why it cannot have it.
fn assign(name: &str, old: &Value, binding: &Value, node: &str, now: &str) -> Result<Value, String> {
    if meta::is_deleting(old) {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(current) = old["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return Err(format!("pod {name} is already assigned to node {current:?}"));
    }
    if old["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = old.clone();
    if let Some(spec) = at::sub_mut(&mut pod, "spec") {
        at::set(spec, "nodeName", node);
    }
    for field in ["annotations", "labels"] {
        let Some(added) = meta::metadata(binding).get(field).and_then(Value::as_object) else { continue };
        if let Some(known) = at::sub_mut(&mut pod, "metadata").and_then(|metadata| at::map_mut(metadata, field)) {
            known.extend(added.clone());
        }
    }
    set_condition(
        &mut pod,
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}),
    );
    Ok(pod)
}

/// Puts a condition in the place of the one of its type; the time of an unchanged status is kept.
pub(super) fn set_condition(pod: &mut Value, mut condition: Value) {
    let Some(conditions) = at::sub_mut(pod, "status").and_then(|status| at::list_mut(status, "conditions")) else {
        return;
    };
    match conditions.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(current) => {
            if current["status"] == condition["status"]
                && let Some(since) = at::get(current, "lastTransitionTime")
            {
                at::set(&mut condition, "lastTransitionTime", since.clone());
            }
            if let Some(generation) = at::get(current, "observedGeneration") {
                at::set(&mut condition, "observedGeneration", generation.clone());
            }
            *current = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let binding = json!({"metadata": {"annotations": {"a": "b"}}});
        let free = json!({"metadata": {"name": "p"}, "spec": {}, "status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}});
        let bound = assign("p", &free, &binding, "n", "T").expect("bound");
        assert_eq!(bound["spec"]["nodeName"], "n");
        assert_eq!(bound["metadata"]["annotations"]["a"], "b");
        assert_eq!(bound["status"]["conditions"].as_array().map(Vec::len), Some(1));
        assert_eq!(bound["status"]["conditions"][0]["lastTransitionTime"], "T");
        assert_eq!(assign("p", &bound, &binding, "m", "T"), Err("pod p is already assigned to node \"n\"".into()));
    }
}
