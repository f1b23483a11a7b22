//! `api-resources`: the types a server has.

use crate::{
    printers::{ordered, tabs, yaml::to_yaml},
    resolve::discovery::{Mapper, Resource},
    session::Session,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(clap::Args, Debug)]
pub(crate) struct ApiResources {
    #[arg(hide = true)]
    args: Vec<String>,
    /// Limit to resources in the specified API group.
    #[arg(long, value_name = "GROUP")]
    api_group: Option<String>,
    /// Only types inside namespaces, or only types outside of them.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: Option<bool>,
    /// Limit to resources that support the specified verbs.
    #[arg(long, value_name = "VERB", value_delimiter = ',')]
    verbs: Vec<String>,
    /// Limit to resources that belong to the specified categories.
    #[arg(long, value_name = "CATEGORY", value_delimiter = ',')]
    categories: Vec<String>,
    /// Sort by name or kind.
    #[arg(long, value_name = "FIELD", default_value = "", hide_default_value = true)]
    sort_by: String,
    /// Use the cached list of resources if available; accepted for compatibility.
    #[arg(long)]
    cached: bool,
    /// Do not print headers.
    #[arg(long)]
    no_headers: bool,
    /// Output format: wide, name, json, yaml.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    output: String,
}

impl ApiResources {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if !self.args.is_empty() {
            bail!(
                "unexpected arguments: [{}]\nSee 'kubectl api-resources -h' for help and examples",
                self.args.join(" ")
            );
        }
        if !matches!(self.output.as_str(), "" | "wide" | "name" | "json" | "yaml") {
            bail!(
                "unable to match a printer suitable for the output format {:?}, allowed formats are: json,name,wide,yaml",
                self.output
            );
        }
        if !matches!(self.sort_by.as_str(), "" | "name" | "kind") {
            bail!("--sort-by accepts only name or kind");
        }
        let mut resources = preferred(cx.mapper().await?);
        resources.retain(|resource| self.is_wanted(resource));
        match self.sort_by.as_str() {
            "name" => resources.sort_by(|a, b| a.plural.cmp(&b.plural)),
            "kind" => resources.sort_by(|a, b| (&a.kind, &a.plural).cmp(&(&b.kind, &b.plural))),
            _ => resources.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural))),
        }
        crate::say::out(format_args!("{}", self.text(&resources)));
        Ok(())
    }

    fn is_wanted(&self, resource: &Resource) -> bool {
        !resource.verbs.is_empty()
            && self.api_group.as_ref().is_none_or(|group| *group == resource.group)
            && self.namespaced.is_none_or(|namespaced| namespaced == resource.namespaced)
            && self.verbs.iter().all(|verb| resource.can(verb))
            && self.categories.iter().all(|category| resource.categories.contains(category))
    }

    fn text(&self, resources: &[Arc<Resource>]) -> String {
        let document = || {
            let list: Vec<Value> = resources.iter().map(|resource| document(resource)).collect();
            let list = if list.is_empty() { Value::Null } else { list.into() };
            json!({"apiVersion": "v1", "groupVersion": "", "kind": "APIResourceList", "resources": list})
        };
        match self.output.as_str() {
            "json" => return ordered::to_json(&document(), ORDER, "    "),
            "yaml" => return to_yaml(&document()),
            "name" => return resources.iter().map(|resource| format!("{}\n", resource.group_resource())).collect(),
            _ => {}
        }
        let wide = self.output == "wide";
        let mut lines = String::new();
        if !self.no_headers {
            lines.push_str("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
            lines.push_str(if wide { "\tVERBS\tCATEGORIES\n" } else { "\n" });
        }
        for resource in resources {
            let Resource { plural, namespaced, kind, .. } = &**resource;
            let short = resource.short_names.join(",");
            lines.push_str(&format!("{plural}\t{short}\t{}\t{namespaced}\t{kind}", resource.api_version()));
            if wide {
                lines.push_str(&format!("\t{}\t{}", resource.verbs.join(","), resource.categories.join(",")));
            }
            lines.push('\n');
        }
        tabs::align(&lines, 6, 3)
    }
}

/// The fields of an APIResource as upstream's JSON has them.
const ORDER: &[&str] = &[
    "name",
    "singularName",
    "namespaced",
    "group",
    "version",
    "kind",
    "verbs",
    "shortNames",
    "categories",
    "apiVersion",
    "groupVersion",
    "resources",
];

/// Every type once, in the version the server prefers.
fn preferred(mapper: &Mapper) -> Vec<Arc<Resource>> {
    let mut found: Vec<Arc<Resource>> = Vec::new();
    for resource in &mapper.resources {
        if !found.iter().any(|other| (&other.group, &other.plural) == (&resource.group, &resource.plural)) {
            found.push(resource.clone());
        }
    }
    found
}

/// An APIResource.
fn document(resource: &Resource) -> Value {
    let mut document = json!({"name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs, "version": resource.version});
    let optional = [
        ("group", !resource.group.is_empty(), json!(resource.group)),
        ("shortNames", !resource.short_names.is_empty(), json!(resource.short_names)),
        ("categories", !resource.categories.is_empty(), json!(resource.categories)),
    ];
    for (field, given, value) in optional {
        if given {
            document[field] = value;
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::discovery::tests::sample;
    use clap::Parser;
    use expect_test::{Expect, expect};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        verb: ApiResources,
    }

    fn check(text: &str, expected: &Expect) {
        let line = Line::parse_from(text.split(' '));
        let mut resources = preferred(&sample());
        resources.retain(|resource| line.verb.is_wanted(resource));
        expected.assert_eq(&line.verb.text(&resources));
    }

    #[test]
    fn types_are_shown_once() {
        check(
            "api-resources",
            &expect![[r#"
            NAME          SHORTNAMES   APIVERSION         NAMESPACED   KIND
            pods          po           v1                 true         Pod
            nodes         no           v1                 false        Node
            events        ev           v1                 true         Event
            configmaps    cm           v1                 true         ConfigMap
            deployments   deploy       apps/v1            true         Deployment
            events        ev           events.k8s.io/v1   true         Event
        "#]],
        );
        check(
            "api-resources -o name --categories=all",
            &expect![[r#"
            pods
            deployments.apps
        "#]],
        );
        check(
            "api-resources --namespaced=false --no-headers -o wide",
            &expect![[r#"
            nodes   no    v1    false   Node   get,list   
        "#]],
        );
        check(
            "api-resources --api-group= --verbs=get,watch -o yaml",
            &expect![[r#"
            apiVersion: v1
            groupVersion: ""
            kind: APIResourceList
            resources: null
        "#]],
        );
    }
}
