//! One policy rule: what it matches, what it covers, how it is written in messages.

use std::collections::{BTreeMap, BTreeSet};

use mk8s_api::field::quote;
use serde::{Deserialize, Serialize};

use crate::auth::Attributes;

/// `rbac.authorization.k8s.io/v1 PolicyRule`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub verbs: Vec<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn has(set: &[String], element: &str) -> bool {
    set.iter().any(|e| e == element)
}

fn has_or_star(set: &[String], element: &str) -> bool {
    set.iter().any(|e| e == "*" || e == element)
}

impl Rule {
    /// Whether this rule allows the request.
    pub fn matches(&self, a: &Attributes<'_>) -> bool {
        if !has_or_star(&self.verbs, a.verb) {
            return false;
        }
        if !a.is_resource {
            return self.non_resource_urls.iter().any(|url| url_covers(url, a.path));
        }
        has_or_star(&self.api_groups, a.group)
            && self.resources.iter().any(|resource| resource_matches(resource, a.resource, a.subresource))
            && (self.resource_names.is_empty() || has(&self.resource_names, a.name))
    }

    /// Splits into rules of one verb and one resource (and name), or one verb and one URL.
    pub fn break_down(&self) -> Vec<Rule> {
        let names: Vec<Vec<String>> = match self.resource_names.as_slice() {
            [] => vec![Vec::new()],
            names => names.iter().map(|name| vec![name.clone()]).collect(),
        };
        let mut simple = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    simple.extend(names.iter().map(|names| Rule {
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        verbs: vec![verb.clone()],
                        resource_names: names.clone(),
                        ..Rule::default()
                    }));
                }
            }
        }
        for url in &self.non_resource_urls {
            simple.extend(self.verbs.iter().map(|verb| Rule {
                non_resource_urls: vec![url.clone()],
                verbs: vec![verb.clone()],
                ..Rule::default()
            }));
        }
        simple
    }

    /// Whether all that `simple` (see [`Rule::break_down`]) allows, this rule allows too.
    fn covers(&self, simple: &Rule) -> bool {
        simple.verbs.iter().all(|verb| has_or_star(&self.verbs, verb))
            && simple.api_groups.iter().all(|group| has_or_star(&self.api_groups, group))
            && simple.resources.iter().all(|resource| self.covers_resource(resource))
            && simple.non_resource_urls.iter().all(|url| self.non_resource_urls.iter().any(|own| url_covers(own, url)))
            && (self.resource_names.is_empty()
                || !simple.resource_names.is_empty()
                    && simple.resource_names.iter().all(|name| has(&self.resource_names, name)))
    }

    fn covers_resource(&self, resource: &str) -> bool {
        let subresource = resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
        has_or_star(&self.resources, resource) || subresource.is_some_and(|any| has(&self.resources, &any))
    }

    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`
    fn compact(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> = parts
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        format!("{{{}}}", shown.join(", "))
    }
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match (rule.split_once('/'), subresource) {
        (None, "") => rule == resource,
        (Some((of, sub)), subresource) if !subresource.is_empty() => {
            sub == subresource && (of == "*" || of == resource)
        }
        _ => false,
    }
}

fn url_covers(owner: &str, path: &str) -> bool {
    owner == path || owner.ends_with('*') && path.starts_with(owner.trim_end_matches('*'))
}

/// A list as Go's `%q` prints it: `["a" "b"]`.
pub fn quoted(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|text| quote(text)).collect::<Vec<_>>().join(" "))
}

/// What `wanted` allows and `held` does not, in simple rules.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted.iter().flat_map(Rule::break_down).filter(|simple| !held.iter().any(|own| own.covers(simple))).collect()
}

/// One line a rule, those of one resource put together, sorted: how the escalation message lists them.
pub fn describe(simple: &[Rule]) -> String {
    type Resource<'a> = [&'a [String]; 3];
    let mut by_resource: BTreeMap<Resource<'_>, Rule> = BTreeMap::new();
    let mut lines = BTreeSet::new();
    for rule in simple {
        if !rule.non_resource_urls.is_empty() {
            lines.insert(rule.compact());
            continue;
        }
        let key = [rule.api_groups.as_slice(), rule.resources.as_slice(), rule.resource_names.as_slice()];
        by_resource
            .entry(key)
            .and_modify(|known| known.verbs.extend(rule.verbs.iter().cloned()))
            .or_insert_with(|| rule.clone());
    }
    lines.extend(by_resource.values().map(Rule::compact));
    lines.into_iter().collect::<Vec<_>>().join("\n")
}
