//! An agent writes its own node, its lease, and the pods bound to it; nothing that would draw other pods to it.

use std::collections::BTreeSet;

use mk8s_api::{
    meta,
    status::{GroupResource, Status},
};
use serde_json::Value;

use super::{
    Context, Operation, Plugin, Request,
    service_account::MIRROR,
    stored::{get, items},
};

pub(super) struct NodeRestriction;

/// Labels of Kubernetes' own domains that an agent sets.
const OWN_LABELS: [&str; 15] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "node.kubernetes.io/windows-build",
    "kubernetes.io/instance-type",
];
/// Domains under which it may set any.
const OWN_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

impl Plugin for NodeRestriction {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        let Some(node) = request.user.node_name() else { return Ok(()) };
        let refused = match (request.group, request.resource) {
            ("", "pods") => pod(node, request, object, context)?,
            ("", "nodes") => own_node(node, request, object),
            ("", "persistentvolumeclaims") if request.subresource != "status" => {
                Some("may only update PVC status".to_string())
            }
            ("", "serviceaccounts") if request.subresource == "token" => token(node, request, object, context)?,
            ("coordination.k8s.io", "leases") => own_lease(node, request, object),
            ("storage.k8s.io", "csinodes") if request.name_of(Some(object)) != node => Some(format!(
                "can only access CSINode with the same name as the requesting node, requested {:?}",
                request.name_of(Some(object))
            )),
            _ => None,
        };
        refused.map_or(Ok(()), |why| Err(request.forbidden(Some(object), &why)))
    }
}

type Refusal = Option<String>;

fn pod(node: &str, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<Refusal, Status> {
    let bound_here = |pod: &Value| pod["spec"]["nodeName"] == node;
    let refusal = match (request.subresource, request.operation) {
        ("", Operation::Create) => mirror_pod(node, object, context)?,
        ("", Operation::Delete) => (!bound_here(&stored_pod(request, context)?))
            .then(|| format!("node {node:?} can only delete pods with spec.nodeName set to itself")),
        ("", operation) => Some(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            format!("{operation:?}").to_uppercase()
        )),
        ("status", Operation::Update) => {
            let old = request.old.cloned().unwrap_or_default();
            if !bound_here(&old) {
                Some(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"))
            } else if meta::labels(&old) != meta::labels(object) {
                Some(format!("node {node:?} cannot update labels through pod status"))
            } else {
                None
            }
        }
        ("eviction", Operation::Create) => (!bound_here(&stored_pod(request, context)?))
            .then(|| format!("node {node} can only evict pods with spec.nodeName set to itself")),
        (subresource, _) => {
            Some(format!("unexpected pod subresource {subresource:?}, only 'status' and 'eviction' are allowed"))
        }
    };
    Ok(refusal)
}

fn stored_pod(request: &Request<'_>, context: &Context<'_>) -> Result<Value, Status> {
    if let Some(old) = request.old {
        return Ok(old.clone());
    }
    get(context.view, "", "pods", request.namespace, request.name)
        .ok_or_else(|| Status::not_found(&GroupResource::new("", "pods"), request.name))
}

/// A pod an agent creates stands for a file on its node.
fn mirror_pod(node: &str, pod: &Value, context: &Context<'_>) -> Result<Refusal, Status> {
    if meta::annotation(pod, MIRROR).is_none() {
        return Ok(Some(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods")));
    }
    if pod["spec"]["nodeName"] != node {
        return Ok(Some(format!("node {node:?} can only create pods with spec.nodeName set to itself")));
    }
    let owners: Vec<_> = meta::owner_references(pod).collect();
    let refusal = match owners.as_slice() {
        [owner] if owner.api_version != "v1" || owner.kind != "Node" || owner.name != node => {
            format!("node {node:?} can only create pods with an owner reference set to itself")
        }
        [owner] if !owner.controller => {
            format!("node {node:?} can only create pods with a controller owner reference set to itself")
        }
        [owner] if owner.block_owner_deletion => {
            format!("node {node:?} must not set blockOwnerDeletion on an owner reference")
        }
        [owner] => {
            let stored = get(context.view, "", "nodes", "", node)
                .ok_or_else(|| Status::not_found(&GroupResource::new("", "nodes"), node))?;
            match meta::uid(&stored) {
                uid if uid == owner.uid => {
                    return Ok(reference_in(pod)
                        .map(|what| format!("node {node:?} can not create pods that reference {what}")));
                }
                uid => format!("node {node} UID mismatch: expected {} got {uid}", owner.uid),
            }
        }
        [] => format!("node {node:?} can only create pods with an owner reference set to itself"),
        _ => format!("node {node:?} can only create pods with a single owner reference set to itself"),
    };
    Ok(Some(refusal))
}

/// The first kind of object a pod refers to; a mirror pod may refer to none.
fn reference_in(pod: &Value) -> Option<&'static str> {
    let spec = &pod["spec"];
    if !spec["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        return Some("serviceaccounts");
    }
    if !items(&spec["imagePullSecrets"]).is_empty() {
        return Some("secrets");
    }
    let containers = items(&spec["containers"]).iter().chain(items(&spec["initContainers"]));
    for container in containers {
        let sources = items(&container["env"]).iter().map(|env| &env["valueFrom"]).chain(items(&container["envFrom"]));
        for source in sources {
            if source["secretKeyRef"].is_object() || source["secretRef"].is_object() {
                return Some("secrets");
            }
            if source["configMapKeyRef"].is_object() || source["configMapRef"].is_object() {
                return Some("configmaps");
            }
        }
    }
    let volumes = items(&spec["volumes"]);
    let sources = volumes.iter().chain(volumes.iter().flat_map(|volume| items(&volume["projected"]["sources"])));
    for source in sources {
        for (field, what) in [
            ("secret", "secrets"),
            ("configMap", "configmaps"),
            ("persistentVolumeClaim", "persistentvolumeclaims"),
            ("serviceAccountToken", "serviceaccounts"),
            ("clusterTrustBundle", "clustertrustbundles"),
        ] {
            if source[field].is_object() {
                return Some(what);
            }
        }
    }
    None
}

fn own_node(node: &str, request: &Request<'_>, object: &Value) -> Refusal {
    let asked = request.name_of(Some(object));
    if asked != node {
        return Some(format!("node {node:?} is not allowed to modify node {asked:?}"));
    }
    let old = match request.operation {
        Operation::Create => {
            let forbidden = forbidden_labels(&Value::Null, object);
            return (!forbidden.is_empty()).then(|| {
                format!("node {node:?} is not allowed to set the following labels: {}", forbidden.join(", "))
            });
        }
        Operation::Update => request.old?,
        _ => return None,
    };
    let same_list = |path: [&str; 2]| items(&old[path[0]][path[1]]) == items(&object[path[0]][path[1]]);
    if !same_list(["spec", "taints"]) {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    if !same_list(["metadata", "ownerReferences"]) {
        return Some(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let forbidden = forbidden_labels(old, object);
    (!forbidden.is_empty()).then(|| format!("is not allowed to modify labels: {}", forbidden.join(", ")))
}

/// The labels that differ and are not an agent's to set, sorted.
fn forbidden_labels(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (meta::labels(old), meta::labels(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    keys.into_iter().filter(|key| !may_set(key)).cloned().collect()
}

fn may_set(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let under = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if under("node-restriction.kubernetes.io") {
        return false;
    }
    let kubernetes = under("kubernetes.io") || under("k8s.io");
    !kubernetes || OWN_LABELS.contains(&label) || OWN_LABEL_DOMAINS.into_iter().any(under)
}

fn own_lease(node: &str, request: &Request<'_>, object: &Value) -> Refusal {
    if request.namespace != "kube-node-lease" {
        return Some(r#"can only access leases in the "kube-node-lease" system namespace"#.to_string());
    }
    (request.name_of(Some(object)) != node)
        .then(|| "can only access node lease with the same name as the requesting node".to_string())
}

/// A token an agent asks for belongs to a pod that runs there.
fn token(node: &str, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<Refusal, Status> {
    let reference = &object["spec"]["boundObjectRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    if text("apiVersion") != "v1" || text("kind") != "Pod" || text("name").is_empty() {
        return Ok(Some("node requested token not bound to a pod".to_string()));
    }
    if text("uid").is_empty() {
        return Ok(Some("node requested token with a pod binding without a uid".to_string()));
    }
    let missing = || Status::not_found(&GroupResource::new("", "pods"), text("name"));
    let pod = get(context.view, "", "pods", request.namespace, text("name")).ok_or_else(missing)?;
    if meta::uid(&pod) != text("uid") {
        return Ok(Some(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        )));
    }
    if pod["spec"]["nodeName"] != node {
        return Ok(Some("node requested token bound to a pod scheduled on a different node".to_string()));
    }
    Ok(unmounted_audience(&pod, &object["spec"]["audiences"]))
}

fn unmounted_audience(pod: &Value, audiences: &Value) -> Refusal {
    let asked = match items(audiences) {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Some("node may only request 0 or 1 audiences".to_string()),
    };
    let sources = items(&pod["spec"]["volumes"]).iter().flat_map(|volume| items(&volume["projected"]["sources"]));
    let mut tokens = sources.map(|source| &source["serviceAccountToken"]).filter(|token| token.is_object());
    let mounted = tokens.any(|token| token["audience"].as_str().unwrap_or_default() == asked);
    (!mounted).then(|| format!("audience {asked:?} not found in pod spec volume"))
}
