//! What extensions say they serve: their part of discovery and of OpenAPI, as they last said it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::index::Remote;

/// By the APIService's name.
#[derive(Default)]
pub(super) struct Found {
    pub(super) by_name: BTreeMap<String, Served>,
    /// Counts changes, for those who keep what they made of it.
    pub(super) generation: u64,
}

/// What one version of an extension serves.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Served {
    /// Its resources, in the form of aggregated discovery.
    pub(super) resources: Vec<Value>,
    /// The last attempt to learn this succeeded.
    pub(super) fresh: bool,
    /// Where its OpenAPI v3 document is, with the hash that tells versions of it apart.
    pub(super) openapi_v3: Option<String>,
    /// Its paths and definitions in OpenAPI v2.
    pub(super) openapi_v2: Option<(Map<String, Value>, Map<String, Value>)>,
}

impl Found {
    /// Takes note of what was learnt, or that nothing was.
    pub(super) fn note(&mut self, name: &str, learnt: Option<Served>) {
        let known = self.by_name.get(name);
        let now = match learnt {
            Some(served) => served,
            None => Served { fresh: false, ..known.cloned().unwrap_or_default() },
        };
        if known != Some(&now) {
            self.by_name.insert(name.to_string(), now);
            self.generation += 1;
        }
    }

    /// Forgets extensions that are no more.
    pub(super) fn keep_only(&mut self, names: &[&str]) {
        let before = self.by_name.len();
        self.by_name.retain(|name, _| names.contains(&name.as_str()));
        if self.by_name.len() != before {
            self.generation += 1;
        }
    }
}

/// The resources of a version in an aggregated discovery document; `None`: it is not in there.
pub(super) fn in_aggregated(document: &Value, remote: &Remote) -> Option<Vec<Value>> {
    let group = document["items"].as_array()?.iter().find(|item| item["metadata"]["name"] == remote.group.as_str())?;
    let version = group["versions"].as_array()?.iter().find(|one| one["version"] == remote.version.as_str())?;
    Some(version["resources"].as_array().cloned().unwrap_or_default())
}

/// The resources of an `APIResourceList`, in the form of aggregated discovery.
pub(super) fn of_resource_list(list: &Value) -> Vec<Value> {
    let mut made: Vec<Value> = Vec::new();
    let all = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let response_kind = |resource: &Value| {
        let text = |field: &str| resource[field].as_str().unwrap_or_default().to_string();
        json!({"group": text("group"), "version": text("version"), "kind": text("kind")})
    };
    for resource in all {
        let name = resource["name"].as_str().unwrap_or_default();
        if let Some((parent, subresource)) = name.split_once('/') {
            let entry = json!({"subresource": subresource, "responseKind": response_kind(resource), "verbs": resource["verbs"]});
            let known = made.iter_mut().find(|one| one["resource"] == parent);
            if let Some(subresources) = known.and_then(|one| mk8s_api::at::list_mut(one, "subresources")) {
                subresources.push(entry);
            }
            continue;
        }
        let mut entry = json!({
            "resource": name,
            "responseKind": response_kind(resource),
            "scope": if resource["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "singularResource": resource["singularName"],
            "verbs": resource["verbs"],
        });
        for field in ["shortNames", "categories"] {
            if let Some(names) = resource.get(field) {
                entry[field] = names.clone();
            }
        }
        made.push(entry);
    }
    made
}

/// A version's own paths and definitions in an OpenAPI v2 document.
pub(super) fn in_openapi_v2(document: Value, remote: &Remote) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let Value::Object(mut document) = document else { return None };
    let own = format!("{}/", remote.path());
    let of = |field: Option<Value>| match field {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let mut paths = of(document.remove("paths"));
    paths.retain(|path, _| path.starts_with(&own));
    Some((paths, of(document.remove("definitions"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_lists_become_aggregated() {
        let list = json!({"resources": [
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get"], "shortNames": ["th"]},
            {"name": "things/status", "namespaced": true, "kind": "Thing", "verbs": ["get", "update"]},
        ]});
        let expected = json!([{
            "resource": "things",
            "responseKind": {"group": "", "version": "", "kind": "Thing"},
            "scope": "Namespaced",
            "singularResource": "thing",
            "verbs": ["get"],
            "shortNames": ["th"],
            "subresources": [{"subresource": "status", "responseKind": {"group": "", "version": "", "kind": "Thing"}, "verbs": ["get", "update"]}],
        }]);
        assert_eq!(Value::Array(of_resource_list(&list)), expected);
    }

    #[test]
    fn what_was_known_goes_stale() {
        let mut found = Found::default();
        let served = Served { resources: vec![json!({"resource": "things"})], fresh: true, ..Served::default() };
        found.note("v1.g", Some(served.clone()));
        found.note("v1.g", Some(served.clone()));
        assert_eq!(found.generation, 1);
        found.note("v1.g", None);
        assert_eq!((found.generation, &found.by_name["v1.g"]), (2, &Served { fresh: false, ..served }));
        found.keep_only(&[]);
        assert!(found.by_name.is_empty());
    }
}
