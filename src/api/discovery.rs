//! Discovery: which groups, versions and resources there are, plain and aggregated.
//!
//! All documents are functions of `&[Kind]`; groups appear in the order of their first kind, versions likewise, and the first
//! version of a group is the one it prefers.

use serde_json::{Value, json};

use crate::kinds::{Kind, Subresource, Verb, api_version};

/// The parameters that ask for the aggregated documents, in an `Accept` header.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `/api`: the versions of the core group, and where the server is reached.
pub fn api_versions(kinds: &[Kind], server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": versions(kinds, ""),
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server_address }],
    })
}

/// `/apis`: all named groups.
pub fn api_group_list(kinds: &[Kind]) -> Value {
    let groups: Vec<Value> = groups(kinds).into_iter().map(|group| api_group_entry(kinds, group)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`: one group; `None` when no kind is in it.
pub fn api_group(kinds: &[Kind], group: &str) -> Option<Value> {
    if group.is_empty() || versions(kinds, group).is_empty() {
        return None;
    }
    let mut entry = api_group_entry(kinds, group);
    entry["kind"] = json!("APIGroup");
    entry["apiVersion"] = json!("v1");
    Some(entry)
}

/// `/api/v1` and `/apis/GROUP/VERSION`: the resources; `None` when there are none.
pub fn api_resource_list(kinds: &[Kind], group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in of(kinds, group, version) {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    if resources.is_empty() {
        return None;
    }
    let mut list = json!({
        "kind": "APIResourceList",
        "groupVersion": api_version(group, version),
        "resources": resources,
    });
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    Some(list)
}

/// `/api` for clients that ask for [`AGGREGATED`]: the core group.
pub fn aggregated_core(kinds: &[Kind]) -> Value {
    aggregated(kinds, &[""])
}

/// `/apis` for clients that ask for [`AGGREGATED`]: all named groups.
pub fn aggregated_groups(kinds: &[Kind]) -> Value {
    aggregated(kinds, &groups(kinds))
}

fn aggregated(kinds: &[Kind], groups: &[&str]) -> Value {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = versions(kinds, group)
                .into_iter()
                .map(|version| {
                    let resources: Vec<Value> = of(kinds, group, version).map(aggregated_resource).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

/// The named groups, in order.
pub fn groups(kinds: &[Kind]) -> Vec<&str> {
    let mut groups = Vec::new();
    for kind in kinds.iter().filter(|kind| !kind.group.is_empty()) {
        if !groups.contains(&&*kind.group) {
            groups.push(&*kind.group);
        }
    }
    groups
}

/// The versions of a group, the preferred one first.
pub fn versions<'a>(kinds: &'a [Kind], group: &str) -> Vec<&'a str> {
    let mut versions = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.group == group) {
        if !versions.contains(&&*kind.version) {
            versions.push(&*kind.version);
        }
    }
    versions
}

fn of<'a>(kinds: &'a [Kind], group: &str, version: &str) -> impl Iterator<Item = &'a Kind> {
    kinds.iter().filter(move |kind| kind.group == group && kind.version == version)
}

fn api_group_entry(kinds: &[Kind], group: &str) -> Value {
    let versions: Vec<Value> = versions(kinds, group)
        .into_iter()
        .map(|version| json!({ "groupVersion": api_version(group, version), "version": version }))
        .collect();
    json!({ "name": group, "preferredVersion": versions.first(), "versions": versions })
}

fn words(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

fn resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": words(&kind.verbs),
    });
    names(&mut entry, kind);
    if let Some(hash) = &kind.storage_version_hash {
        entry["storageVersionHash"] = json!(hash);
    }
    entry
}

fn names(entry: &mut Value, kind: &Kind) {
    for (key, names) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !names.is_empty() {
            entry[key] = json!(names);
        }
    }
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", kind.plural, sub.name),
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": sub.kind,
        "verbs": words(&sub.verbs),
    });
    if (&sub.group, &sub.version) != (&kind.group, &kind.version) {
        entry["group"] = json!(sub.group);
        entry["version"] = json!(sub.version);
    }
    entry
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": { "group": "", "version": "", "kind": kind.kind },
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": words(&kind.verbs),
    });
    names(&mut entry, kind);
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|sub| {
            let same = (&sub.group, &sub.version) == (&kind.group, &kind.version);
            let (group, version) = if same { ("", "") } else { (&*sub.group, &*sub.version) };
            json!({
                "subresource": sub.name,
                "responseKind": { "group": group, "version": version, "kind": sub.kind },
                "verbs": words(&sub.verbs),
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = Value::Array(subresources);
    }
    entry
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::kinds::builtin;
    use serde_json::Map;

    /// Discovery documents by path without the leading slash, for a comparison with another server.
    fn all(kinds: &[Kind]) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("api".into(), api_versions(kinds, "10.10.10.10:8050"));
        all.insert("apis".into(), api_group_list(kinds));
        all.insert("aggregated_v2".into(), aggregated_groups(kinds));
        all.insert("api/v1".into(), api_resource_list(kinds, "", "v1").expect("core resources"));
        for group in groups(kinds) {
            all.insert(format!("apis/{group}"), api_group(kinds, group).expect("a group"));
            for version in versions(kinds, group) {
                let list = api_resource_list(kinds, group, version).expect("a version with resources");
                all.insert(format!("apis/{group}/{version}"), list);
            }
        }
        all
    }

    #[test]
    fn autoscaling() {
        expect![[r#"
            {
              "apiVersion": "v1",
              "kind": "APIGroup",
              "name": "autoscaling",
              "preferredVersion": {
                "groupVersion": "autoscaling/v2",
                "version": "v2"
              },
              "versions": [
                {
                  "groupVersion": "autoscaling/v2",
                  "version": "v2"
                },
                {
                  "groupVersion": "autoscaling/v1",
                  "version": "v1"
                },
                {
                  "groupVersion": "autoscaling/v2beta2",
                  "version": "v2beta2"
                }
              ]
            }"#]]
        .assert_eq(&format!("{:#}", api_group(builtin(), "autoscaling").expect("a group")));
        assert!(api_group(builtin(), "nope").is_none() && api_resource_list(builtin(), "apps", "v2").is_none());
    }

    #[test]
    fn groups_in_order() {
        expect!["apiregistration.k8s.io apps events.k8s.io authentication.k8s.io authorization.k8s.io autoscaling batch certificates.k8s.io networking.k8s.io policy rbac.authorization.k8s.io storage.k8s.io admissionregistration.k8s.io apiextensions.k8s.io scheduling.k8s.io coordination.k8s.io node.k8s.io discovery.k8s.io resource.k8s.io flowcontrol.apiserver.k8s.io storagemigration.k8s.io metrics.k8s.io"].assert_eq(&groups(builtin()).join(" "));
    }

    #[test]
    fn deployments() {
        let apps = api_resource_list(builtin(), "apps", "v1").expect("resources");
        let scale = apps["resources"].as_array().into_iter().flatten().find(|one| one["name"] == "deployments/scale");
        expect![[r#"{"group":"autoscaling","kind":"Scale","name":"deployments/scale","namespaced":true,"singularName":"","verbs":["get","patch","update"],"version":"v1"}"#]].assert_eq(&scale.map(ToString::to_string).unwrap_or_default());
        let mut all = aggregated_groups(builtin());
        let deployments = all["items"][1]["versions"][0]["resources"][2].take();
        expect![[r#"{"categories":["all"],"resource":"deployments","responseKind":{"group":"","kind":"Deployment","version":""},"scope":"Namespaced","shortNames":["deploy"],"singularResource":"deployment","subresources":[{"responseKind":{"group":"autoscaling","kind":"Scale","version":"v1"},"subresource":"scale","verbs":["get","patch","update"]},{"responseKind":{"group":"","kind":"Deployment","version":""},"subresource":"status","verbs":["get","patch","update"]}],"verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}"#]].assert_eq(&deployments.to_string());
    }

    /// Writes all documents where the environment asks for them.
    #[test]
    fn documents() {
        let all = all(builtin());
        assert_eq!(all.len(), 50);
        if let Ok(path) = std::env::var("MK8S_DISCOVERY_OUT") {
            std::fs::write(path, Value::Object(all).to_string()).expect("a writable path");
        }
    }
}
