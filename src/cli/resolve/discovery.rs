//! The types a server has: read from its (aggregated) discovery once a run, looked up by any of their names.

use crate::{failure::Failure, remote::Remote};
use anyhow::Result;
use serde_json::Value;
use std::sync::Arc;

/// One resource type of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
    pub(crate) subresources: Vec<String>,
}

impl Resource {
    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods`, `deployments.apps`.
    pub(crate) fn group_resource(&self) -> String {
        with_group(&self.plural, &self.group)
    }

    /// `pod`, `deployment.apps`: the front of `pod/x created`.
    pub(crate) fn label(&self) -> String {
        with_group(&self.kind.to_lowercase(), &self.group)
    }

    /// The path of the collection. `namespace` is left out for cluster-scoped types.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        match namespace.filter(|namespace| self.namespaced && !namespace.is_empty()) {
            Some(namespace) => format!("{root}/{}/namespaces/{namespace}/{}", self.version, self.plural),
            None => format!("{root}/{}/{}", self.version, self.plural),
        }
    }

    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|has| has == verb)
    }
}

fn with_group(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// The types of a server in its own order: earlier groups and versions are preferred.
#[derive(Debug, Default)]
pub(crate) struct Mapper {
    pub(crate) resources: Vec<Arc<Resource>>,
    /// Group versions in the server's order, also those that could not be read.
    pub(crate) group_versions: Vec<String>,
}

impl Mapper {
    pub(crate) async fn discover(remote: &Remote) -> Result<Mapper> {
        let (core, groups) = tokio::try_join!(remote.get_as("/api", AGGREGATED), remote.get_as("/apis", AGGREGATED))?;
        let mut mapper = Mapper::default();
        if core["kind"] == "APIGroupDiscoveryList" {
            mapper.add_aggregated(&core);
        } else {
            for version in core["versions"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                mapper.add_plain(remote, "", version, &format!("/api/{version}")).await;
            }
        }
        if groups["kind"] == "APIGroupDiscoveryList" {
            mapper.add_aggregated(&groups);
        } else {
            for group in groups["groups"].as_array().into_iter().flatten() {
                let name = group["name"].as_str().unwrap_or_default();
                let preferred = group["preferredVersion"]["version"].as_str().unwrap_or_default();
                let mut versions: Vec<&str> =
                    group["versions"].as_array().into_iter().flatten().filter_map(|v| v["version"].as_str()).collect();
                versions.sort_by_key(|version| *version != preferred);
                for version in versions {
                    mapper.add_plain(remote, name, version, &format!("/apis/{name}/{version}")).await;
                }
            }
        }
        Ok(mapper)
    }

    /// Adds an `APIGroupDiscoveryList`.
    pub(crate) fn add_aggregated(&mut self, list: &Value) {
        for group in array(&list["items"]) {
            let name = text(&group["metadata"]["name"]);
            for version in array(&group["versions"]) {
                let version_name = text(&version["version"]);
                self.group_versions.push(join(&name, &version_name));
                for resource in array(&version["resources"]) {
                    let kind = &resource["responseKind"];
                    self.resources.push(Arc::new(Resource {
                        group: name.clone(),
                        version: version_name.clone(),
                        kind: text(&kind["kind"]),
                        plural: text(&resource["resource"]),
                        singular: text(&resource["singularResource"]),
                        short_names: texts(&resource["shortNames"]),
                        categories: texts(&resource["categories"]),
                        namespaced: resource["scope"] == "Namespaced",
                        verbs: texts(&resource["verbs"]),
                        subresources: array(&resource["subresources"]).map(|sub| text(&sub["subresource"])).collect(),
                    }));
                }
            }
        }
    }

    /// A group whose server is away must not take the others with it.
    async fn add_plain(&mut self, remote: &Remote, group: &str, version: &str, path: &str) {
        self.group_versions.push(join(group, version));
        match remote.get(path).await {
            Ok(list) => self.add_list(group, version, &list),
            Err(error) => crate::errln!("W couldn't get resource list for {}: {error}", join(group, version)),
        }
    }

    /// Adds an `APIResourceList`.
    fn add_list(&mut self, group: &str, version: &str, list: &Value) {
        let all: Vec<&Value> = array(&list["resources"]).collect();
        for resource in &all {
            let plural = text(&resource["name"]);
            if plural.contains('/') {
                continue;
            }
            let prefix = format!("{plural}/");
            let subresources = all
                .iter()
                .filter_map(|other| other["name"].as_str()?.strip_prefix(&prefix).map(str::to_owned))
                .collect();
            self.resources.push(Arc::new(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(&resource["kind"]),
                singular: text(&resource["singularName"]),
                short_names: texts(&resource["shortNames"]),
                categories: texts(&resource["categories"]),
                namespaced: resource["namespaced"].as_bool().unwrap_or_default(),
                verbs: texts(&resource["verbs"]),
                subresources,
                plural,
            }));
        }
    }

    /// A type by what a user calls it: `pods`, `po`, `Pod`, `deployments.apps`, `deployments.v1.apps`.
    pub(crate) fn find(&self, argument: &str) -> Result<Arc<Resource>> {
        let lower = argument.to_lowercase();
        let (name, rest) = lower.split_once('.').unwrap_or((lower.as_str(), ""));
        let matching = |wanted: &dyn Fn(&Resource) -> bool| -> Option<Arc<Resource>> {
            let named = |test: &dyn Fn(&Resource) -> bool| {
                self.resources.iter().find(|resource| test(resource) && wanted(resource)).cloned()
            };
            named(&|resource| resource.plural == name)
                .or_else(|| named(&|resource| resource.singular == name || resource.kind.to_lowercase() == name))
                .or_else(|| named(&|resource| resource.short_names.iter().any(|short| short == name)))
        };
        let found = if rest.is_empty() {
            matching(&|_| true)
        } else {
            matching(&|resource| resource.group == rest)
                .or_else(|| matching(&|resource| format!("{}.{}", resource.version, resource.group) == rest))
                .or_else(|| matching(&|resource| resource.group.is_empty() && resource.version == rest))
                .or_else(|| matching(&|resource| !rest.is_empty() && resource.group.starts_with(rest)))
        };
        found.ok_or_else(|| Failure::NoResource(argument.to_owned()).into())
    }

    /// The types of a category such as `all`, each group in one version only.
    pub(crate) fn category(&self, name: &str) -> Vec<Arc<Resource>> {
        let mut found: Vec<Arc<Resource>> = Vec::new();
        for resource in &self.resources {
            let new = !found.iter().any(|other| other.group == resource.group && other.plural == resource.plural);
            if new && resource.categories.iter().any(|category| category == name) {
                found.push(resource.clone());
            }
        }
        found
    }

    /// The type of an object.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.resources
            .iter()
            .find(|resource| resource.kind == kind && resource.group == group && resource.version == version)
            .cloned()
    }
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    array(value).map(text).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn sample() -> Mapper {
        let resource = |plural: &str, kind: &str, short: &[&str], namespaced: bool, all: bool| {
            json!({"resource": plural, "singularResource": kind.to_lowercase(), "responseKind": {"kind": kind},
                "shortNames": short, "scope": if namespaced { "Namespaced" } else { "Cluster" },
                "categories": if all { vec!["all"] } else { vec![] }, "verbs": ["get", "list"]})
        };
        let mut mapper = Mapper::default();
        mapper.add_aggregated(&json!({"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [
            resource("pods", "Pod", &["po"], true, true), resource("nodes", "Node", &["no"], false, false),
            resource("events", "Event", &["ev"], true, false), resource("configmaps", "ConfigMap", &["cm"], true, false)]}]}]}));
        mapper.add_aggregated(&json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [resource("deployments", "Deployment", &["deploy"], true, true)]},
                {"version": "v1beta1", "resources": [resource("deployments", "Deployment", &["deploy"], true, true)]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [resource("events", "Event", &["ev"], true, false)]}]}]}));
        mapper
    }

    #[test]
    fn names_of_all_sorts_are_understood() {
        let mapper = sample();
        let cases = [
            ("pods", "/api/v1/pods"),
            ("po", "/api/v1/pods"),
            ("Pod", "/api/v1/pods"),
            ("pods.v1", "/api/v1/pods"),
            ("ev", "/api/v1/events"),
            ("events.events.k8s.io", "/apis/events.k8s.io/v1/events"),
            ("deploy", "/apis/apps/v1/deployments"),
            ("deployment.apps", "/apis/apps/v1/deployments"),
            ("deployments.v1beta1.apps", "/apis/apps/v1beta1/deployments"),
        ];
        for (argument, path) in cases {
            assert_eq!(mapper.find(argument).unwrap().path(None), path, "{argument}");
        }
        let message = mapper.find("Foo").unwrap_err().to_string();
        assert_eq!(message, "the server doesn't have a resource type \"Foo\"");
    }

    #[test]
    fn categories_take_one_version_of_each_group() {
        let names: Vec<String> = sample().category("all").iter().map(|r| r.group_resource()).collect();
        assert_eq!(names, ["pods", "deployments.apps"]);
    }

    #[test]
    fn paths_know_the_scope() {
        let mapper = sample();
        assert_eq!(mapper.find("po").unwrap().path(Some("x")), "/api/v1/namespaces/x/pods");
        assert_eq!(mapper.find("no").unwrap().path(Some("x")), "/api/v1/nodes");
    }
}
