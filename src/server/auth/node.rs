//! The Node authorizer: an agent may read what the pods of its node need, and act on its own node.
//!
//! Pods are turned round into "which nodes need this object". Only the parts of a pod that cannot change once it is bound are
//! looked at, so a status update costs nothing here.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mk8s_api::select::FieldSelector;
use mk8s_store::{Entry, Event, EventKind, Store, View};
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    Attributes, Decision,
    follow::{Follow, Follower},
    rbac::rule::Rule,
};
use crate::bootstrap::rbac::node_rules;

const PODS: &[u8] = b"/registry/core/pods/";

pub struct NodeAuthorizer {
    state: Mutex<State>,
    rules: Vec<Rule>,
}

struct State {
    follower: Follower,
    graph: Graph,
}

/// Something a pod may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Referred {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    ResourceClaim,
}

/// Kind, namespace, name.
type Vertex = (Referred, String, String);

#[derive(Debug, Default)]
struct Graph {
    /// By key of the pod: the revision that created it, its node, what it needs.
    pods: HashMap<Vec<u8>, (u64, String, Vec<Vertex>)>,
    /// How many pods of which nodes need it.
    needed: HashMap<Vertex, HashMap<String, usize>>,
}

impl NodeAuthorizer {
    pub fn new(store: Store) -> NodeAuthorizer {
        NodeAuthorizer {
            state: Mutex::new(State { follower: Follower::new(store, PODS), graph: Graph::default() }),
            rules: node_rules(),
        }
    }

    /// `node`: the name in the asking user's certificate.
    pub fn authorize(&self, node: &str, a: &Attributes<'_>) -> Decision {
        let decided = match (a.is_resource, a.group, a.resource) {
            (true, "", "secrets") => self.read(node, Referred::Secret, a),
            (true, "", "configmaps") => self.read(node, Referred::ConfigMap, a),
            (true, "", "persistentvolumeclaims") if a.subresource == "status" => {
                self.update_status(node, Referred::Claim, a)
            }
            (true, "", "persistentvolumeclaims") => self.get(node, Referred::Claim, a),
            (true, "", "persistentvolumes") => self.get_volume(node, a),
            (true, "resource.k8s.io", "resourceclaims") => self.get(node, Referred::ResourceClaim, a),
            (true, "storage.k8s.io", "volumeattachments") => self.get_attachment(node, a),
            (true, "", "serviceaccounts") => self.service_account(node, a),
            (true, "coordination.k8s.io", "leases") => lease(node, a),
            (true, "storage.k8s.io", "csinodes") => csi_node(node, a),
            (true, "", "nodes") => own_node(node, a),
            (true, "", "pods") => self.pod(node, a),
            _ if self.rules.iter().any(|rule| rule.matches(a)) => Ok(()),
            _ => Err(String::new()),
        };
        match decided {
            Ok(()) => Decision::Allow,
            Err(reason) => Decision::NoOpinion(reason),
        }
    }

    fn related(&self, node: &str, kind: Referred, a: &Attributes<'_>) -> Result<(), String> {
        if a.name.is_empty() {
            return Err("No Object name found".into());
        }
        let vertex = (kind, a.namespace.to_string(), a.name.to_string());
        let mut state = self.state.lock();
        let State { follower, graph } = &mut *state;
        follower.catch_up(graph);
        let needs = |vertex: &Vertex| graph.needed.get(vertex).is_some_and(|nodes| nodes.contains_key(node));
        let through_claim = || kind == Referred::Secret && volume_secret(&follower.view(), graph, node, &vertex);
        match needs(&vertex) || through_claim() {
            true => Ok(()),
            false => Err(unrelated(node)),
        }
    }

    fn read(&self, node: &str, kind: Referred, a: &Attributes<'_>) -> Result<(), String> {
        match a {
            Attributes { verb, .. } if !["get", "list", "watch"].contains(verb) => {
                Err("can only read resources of this type".into())
            }
            Attributes { subresource: "", namespace: "", .. } => {
                Err("can only read namespaced object of this type".into())
            }
            Attributes { subresource: "", .. } => self.related(node, kind, a),
            _ => Err("cannot read subresource".into()),
        }
    }

    fn get(&self, node: &str, kind: Referred, a: &Attributes<'_>) -> Result<(), String> {
        get_only(a)?;
        self.related(node, kind, a)
    }

    fn update_status(&self, node: &str, kind: Referred, a: &Attributes<'_>) -> Result<(), String> {
        match a.verb {
            "update" | "patch" => self.related(node, kind, a),
            _ => Err("can only get/update/patch this type".into()),
        }
    }

    /// A volume is the node's when a claim of one of its pods is bound to it.
    fn get_volume(&self, node: &str, a: &Attributes<'_>) -> Result<(), String> {
        get_only(a)?;
        let view = self.state.lock().follower.view();
        let volume =
            stored(&view, &format!("/registry/core/persistentvolumes/{}", a.name)).ok_or_else(|| unrelated(node))?;
        let claim = &volume["spec"]["claimRef"];
        let (namespace, name) =
            (claim["namespace"].as_str().unwrap_or_default(), claim["name"].as_str().unwrap_or_default());
        self.related(node, Referred::Claim, &Attributes { namespace, name, ..*a })
    }

    fn get_attachment(&self, node: &str, a: &Attributes<'_>) -> Result<(), String> {
        get_only(a)?;
        let view = self.state.lock().follower.view();
        let attachment = stored(&view, &format!("/registry/storage.k8s.io/volumeattachments/{}", a.name));
        match attachment.is_some_and(|attachment| attachment["spec"]["nodeName"] == node) {
            true => Ok(()),
            false => Err(unrelated(node)),
        }
    }

    fn service_account(&self, node: &str, a: &Attributes<'_>) -> Result<(), String> {
        match (a.verb, a.subresource) {
            ("get", "") => self.read(node, Referred::ServiceAccount, a),
            ("create", _) if a.name.is_empty() => Err("can only create tokens for individual service accounts".into()),
            ("create", "token") => self.related(node, Referred::ServiceAccount, a),
            ("create", _) => Err("can only create token subresource of serviceaccount".into()),
            _ => Err("can only create tokens for individual service accounts".into()),
        }
    }

    fn pod(&self, node: &str, a: &Attributes<'_>) -> Result<(), String> {
        match (a.subresource, a.verb) {
            ("", "get") => self.get(node, Referred::Pod, a),
            ("", "list" | "watch") if selects_node(a, node) => Ok(()),
            ("", "list" | "watch") if !a.name.is_empty() => self.related(node, Referred::Pod, a),
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".into()),
            // Which pods these are is NodeRestriction's to check.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        }
    }
}

fn unrelated(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

fn get_only(a: &Attributes<'_>) -> Result<(), String> {
    match (a.verb, a.subresource) {
        ("get", "") => Ok(()),
        ("get", _) => Err("cannot get subresource".into()),
        _ => Err("can only get individual resources of this type".into()),
    }
}

fn selects_node(a: &Attributes<'_>, node: &str) -> bool {
    let selector = a.field_selector.and_then(|text| FieldSelector::parse(text).ok());
    selector.is_some_and(|selector| selector.exact("spec.nodeName") == Some(node))
}

fn own_node(node: &str, a: &Attributes<'_>) -> Result<(), String> {
    match (a.subresource, a.verb) {
        // Which node it is, NodeRestriction checks.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") if a.name == node || selects_name(a, node) => Ok(()),
        ("", "get" | "list" | "watch") if a.name.is_empty() => {
            Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            Err(format!("node '{node}' cannot read '{}', only its own Node object", a.name))
        }
        _ => Err(String::new()),
    }
}

/// A list with `metadata.name=X` names X, whether the caller filled the name or not.
fn selects_name(a: &Attributes<'_>, name: &str) -> bool {
    let selector = a.field_selector.and_then(|text| FieldSelector::parse(text).ok());
    a.name.is_empty() && selector.is_some_and(|selector| selector.exact("metadata.name") == Some(name))
}

fn lease(node: &str, a: &Attributes<'_>) -> Result<(), String> {
    match a {
        Attributes { verb, .. } if !["get", "create", "update", "patch", "delete"].contains(verb) => {
            Err("can only get, create, update, patch, or delete a node lease".into())
        }
        Attributes { namespace, .. } if *namespace != "kube-node-lease" => {
            Err(r#"can only access leases in the "kube-node-lease" system namespace"#.into())
        }
        Attributes { verb, name, .. } if *verb != "create" && *name != node => {
            Err("can only access node lease with the same name as the requesting node".into())
        }
        _ => Ok(()),
    }
}

fn csi_node(node: &str, a: &Attributes<'_>) -> Result<(), String> {
    match a {
        Attributes { verb, .. } if !["get", "create", "update", "patch", "delete"].contains(verb) => {
            Err("can only get, create, update, patch, or delete a CSINode".into())
        }
        Attributes { subresource, .. } if !subresource.is_empty() => {
            Err("cannot authorize CSINode subresources".into())
        }
        Attributes { verb, name, .. } if *verb != "create" && *name != node => {
            Err("can only access CSINode with the same name as the requesting node".into())
        }
        _ => Ok(()),
    }
}

fn stored(view: &View, key: &str) -> Option<Value> {
    serde_json::from_slice(&view.get(key.as_bytes())?.value).ok()
}

/// Whether a volume bound to a claim of one of the node's pods refers to the secret.
fn volume_secret(view: &View, graph: &Graph, node: &str, secret: &Vertex) -> bool {
    let claims: HashSet<(&str, &str)> = graph
        .needed
        .iter()
        .filter(|((kind, ..), nodes)| *kind == Referred::Claim && nodes.contains_key(node))
        .map(|((_, namespace, name), _)| (namespace.as_str(), name.as_str()))
        .collect();
    if claims.is_empty() {
        return false;
    }
    view.prefix(b"/registry/core/persistentvolumes/")
        .filter_map(|entry| serde_json::from_slice::<Value>(&entry.value).ok())
        .any(|volume| {
            let spec = &volume["spec"];
            let claim = (
                spec["claimRef"]["namespace"].as_str().unwrap_or_default(),
                spec["claimRef"]["name"].as_str().unwrap_or_default(),
            );
            let fields =
                ["controllerPublishSecretRef", "nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
            let refers = |reference: &Value| {
                reference["namespace"] == secret.1.as_str() && reference["name"] == secret.2.as_str()
            };
            claims.contains(&claim) && fields.iter().any(|field| refers(&spec["csi"][*field]))
        })
}

impl Follow for Graph {
    fn rebuild(&mut self, view: &View) {
        *self = Graph::default();
        view.prefix(PODS).for_each(|entry| self.put(entry));
    }

    fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Put => self.put(&event.entry),
            EventKind::Delete => self.remove(&event.entry.key),
        }
    }
}

impl Graph {
    fn put(&mut self, entry: &Arc<Entry>) {
        if self.pods.get(&entry.key[..]).is_some_and(|(created, ..)| *created == entry.created) {
            return;
        }
        self.remove(&entry.key);
        let Ok(pod) = serde_json::from_slice::<Value>(&entry.value) else { return };
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else { return };
        let needs = needs_of(&pod);
        for vertex in &needs {
            *self.needed.entry(vertex.clone()).or_default().entry(node.to_string()).or_default() += 1;
        }
        self.pods.insert(entry.key.to_vec(), (entry.created, node.to_string(), needs));
    }

    fn remove(&mut self, key: &[u8]) {
        let Some((_, node, needs)) = self.pods.remove(key) else { return };
        for vertex in needs {
            let Some(nodes) = self.needed.get_mut(&vertex) else { continue };
            if let Some(count) = nodes.get_mut(&node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&node);
                }
            }
            if nodes.is_empty() {
                self.needed.remove(&vertex);
            }
        }
    }
}

/// Everything a pod refers to, itself included.
fn needs_of(pod: &Value) -> Vec<Vertex> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let mut needs = HashSet::new();
    let mut add = |kind: Referred, name: &Value| {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            needs.insert((kind, namespace.to_string(), name.to_string()));
        }
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let spec = &pod["spec"];
    add(Referred::Pod, &Value::from(name));
    // A mirror pod stands for a file on the node; it grants nothing.
    if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return needs.into_iter().collect();
    }
    add(Referred::ServiceAccount, &spec["serviceAccountName"]);
    list(&spec["imagePullSecrets"]).iter().for_each(|secret| add(Referred::Secret, &secret["name"]));
    for container in
        ["containers", "initContainers", "ephemeralContainers"].iter().flat_map(|field| list(&spec[*field]))
    {
        for variable in list(&container["env"]) {
            add(Referred::Secret, &variable["valueFrom"]["secretKeyRef"]["name"]);
            add(Referred::ConfigMap, &variable["valueFrom"]["configMapKeyRef"]["name"]);
        }
        for source in list(&container["envFrom"]) {
            add(Referred::Secret, &source["secretRef"]["name"]);
            add(Referred::ConfigMap, &source["configMapRef"]["name"]);
        }
    }
    for volume in list(&spec["volumes"]) {
        add(Referred::Secret, &volume["secret"]["secretName"]);
        add(Referred::ConfigMap, &volume["configMap"]["name"]);
        add(Referred::Claim, &volume["persistentVolumeClaim"]["claimName"]);
        if volume.get("ephemeral").is_some_and(|ephemeral| !ephemeral.is_null()) {
            add(Referred::Claim, &Value::from(format!("{name}-{}", volume["name"].as_str().unwrap_or_default())));
        }
        for source in list(&volume["projected"]["sources"]) {
            add(Referred::Secret, &source["secret"]["name"]);
            add(Referred::ConfigMap, &source["configMap"]["name"]);
        }
        for driver in ["azureFile", "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos", "csi"] {
            add(Referred::Secret, &volume[driver]["secretRef"]["name"]);
            add(Referred::Secret, &volume[driver]["secretName"]);
            add(Referred::Secret, &volume[driver]["nodePublishSecretRef"]["name"]);
        }
    }
    for claim in list(&pod["status"]["resourceClaimStatuses"]) {
        add(Referred::ResourceClaim, &claim["resourceClaimName"]);
    }
    add(Referred::ResourceClaim, &pod["status"]["extendedResourceClaimStatus"]["resourceClaimName"]);
    list(&spec["resourceClaims"]).iter().for_each(|claim| add(Referred::ResourceClaim, &claim["resourceClaimName"]));
    needs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mk8s_store::{Expect, Op, Options, Stamped, Txn};
    use serde_json::json;

    use super::*;
    use crate::auth::User;

    async fn put(store: &Store, key: &str, object: Value) {
        let value = Stamped { bytes: Bytes::from(object.to_string()), stamp_at: None };
        let key = Bytes::from(key.to_string());
        store.commit(Txn { ops: vec![Op::Put { key, value, expect: Expect::Any }] }).await.expect("written");
    }

    fn pod(node: &str) -> Value {
        json!({"metadata": {"name": "web", "namespace": "a"}, "spec": {
            "nodeName": node, "serviceAccountName": "sa",
            "containers": [{"envFrom": [{"secretRef": {"name": "env"}}]}],
            "volumes": [{"configMap": {"name": "conf"}}, {"projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}}],
        }, "status": {"extendedResourceClaimStatus": {"resourceClaimName": "special"}}})
    }

    #[tokio::test]
    async fn nodes_reach_what_their_pods_need() {
        let store = Store::open(Options::default()).await.expect("a store in memory");
        put(&store, "/registry/core/pods/a/web", pod("one")).await;
        let authorizer = NodeAuthorizer::new(store.clone());
        let user = User::new("system:node:one", ["system:nodes"]);
        let allowed = |node: &str, verb: &str, resource: &str, subresource: &str, name: &str| {
            let attributes =
                Attributes { subresource, namespace: "a", name, ..Attributes::for_resource(&user, verb, "", resource) };
            authorizer.authorize(node, &attributes) == Decision::Allow
        };
        let cases = [
            ("one", "get", "secrets", "", "env", true),
            ("two", "get", "secrets", "", "env", false),
            ("one", "get", "secrets", "", "other", false),
            ("one", "update", "secrets", "", "env", false),
            ("one", "watch", "configmaps", "", "conf", true),
            ("one", "get", "configmaps", "", "kube-root-ca.crt", true),
            ("one", "create", "serviceaccounts", "token", "sa", true),
            ("two", "create", "serviceaccounts", "token", "sa", false),
            ("one", "get", "pods", "", "web", true),
            ("two", "get", "pods", "", "web", false),
            ("one", "patch", "pods", "status", "web", true),
            ("one", "list", "services", "", "", true),
        ];
        for (node, verb, resource, subresource, name, expected) in cases {
            assert_eq!(allowed(node, verb, resource, subresource, name), expected, "{node} {verb} {resource} {name}");
        }
        for (node, name, expected) in [("one", "special", true), ("two", "special", false), ("one", "other", false)] {
            let claims = Attributes::for_resource(&user, "get", "resource.k8s.io", "resourceclaims");
            let reached = authorizer.authorize(node, &Attributes { namespace: "a", name, ..claims }) == Decision::Allow;
            assert_eq!(reached, expected, "{node} {name}");
        }
        // Deleted and created anew for another node.
        let key = Bytes::from_static(b"/registry/core/pods/a/web");
        store.commit(Txn { ops: vec![Op::Delete { key, expect: Expect::Any }] }).await.expect("deleted");
        assert!(!allowed("one", "get", "secrets", "", "env"));
        put(&store, "/registry/core/pods/a/web", pod("two")).await;
        assert!(allowed("two", "get", "secrets", "", "env"));
        assert!(!allowed("one", "get", "secrets", "", "env"));
    }

    #[tokio::test]
    async fn nodes_see_themselves_only() {
        let store = Store::open(Options::default()).await.expect("a store in memory");
        let authorizer = NodeAuthorizer::new(store);
        let user = User::new("system:node:one", ["system:nodes"]);
        let base = Attributes::for_resource(&user, "list", "", "pods");
        let lease = Attributes {
            group: "coordination.k8s.io",
            resource: "leases",
            namespace: "kube-node-lease",
            verb: "update",
            ..base
        };
        let cases = [
            (Attributes { field_selector: Some("spec.nodeName=one"), ..base }, true),
            (Attributes { field_selector: Some("spec.nodeName=two"), ..base }, false),
            (base, false),
            (Attributes { resource: "nodes", name: "one", verb: "get", ..base }, true),
            (Attributes { resource: "nodes", name: "two", verb: "get", ..base }, false),
            (Attributes { resource: "nodes", field_selector: Some("metadata.name=one"), verb: "watch", ..base }, true),
            (Attributes { name: "one", ..lease }, true),
            (Attributes { name: "two", ..lease }, false),
            (Attributes { name: "one", namespace: "a", ..lease }, false),
            (Attributes { group: "apps", resource: "deployments", ..base }, false),
        ];
        for (attributes, expected) in cases {
            assert_eq!(authorizer.authorize("one", &attributes) == Decision::Allow, expected, "{attributes:?}");
        }
    }
}
