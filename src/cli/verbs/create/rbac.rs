//! `create role`, `clusterrole`, `rolebinding`, `clusterrolebinding`.

use super::Generate;
use crate::{failure::Failure, resolve::discovery::Mapper, session::Session, verbs::expose::parse_labels};
use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is done to resources. Others are possible, and worth a warning.
const RESOURCE_VERBS: [&str; 14] = [
    "*",
    "get",
    "delete",
    "list",
    "create",
    "update",
    "patch",
    "watch",
    "proxy",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
];

/// What is done to paths that are no resources.
const PATH_VERBS: [&str; 8] = ["*", "get", "post", "put", "delete", "patch", "head", "options"];

/// Verbs that make sense for some resources (by group and plural) only.
const SPECIAL: [(&str, &[(&str, &str)]); 4] = [
    ("use", &[("policy", "podsecuritypolicies"), ("extensions", "podsecuritypolicies")]),
    ("bind", &[("rbac.authorization.k8s.io", "roles"), ("rbac.authorization.k8s.io", "clusterroles")]),
    ("escalate", &[("rbac.authorization.k8s.io", "roles"), ("rbac.authorization.k8s.io", "clusterroles")]),
    ("impersonate", &[("", "users"), ("", "serviceaccounts"), ("", "groups"), ("authentication.k8s.io", "userextras")]),
];

/// What a rule is made of.
#[derive(clap::Args, Debug)]
pub(crate) struct RuleFlags {
    /// Verbs that apply to the resources.
    #[arg(long, value_delimiter = ',')]
    verb: Vec<String>,
    /// Resources, as resource[.group][/subresource].
    #[arg(long, value_delimiter = ',')]
    resource: Vec<String>,
    /// Names the rule is restricted to.
    #[arg(long, value_delimiter = ',')]
    resource_name: Vec<String>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Role {
    name: String,
    #[command(flatten)]
    rule: RuleFlags,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ClusterRole {
    name: String,
    #[command(flatten)]
    rule: RuleFlags,
    /// Partial URLs the rule is about.
    #[arg(long = "non-resource-url", value_delimiter = ',')]
    non_resource_url: Vec<String>,
    /// Labels of the cluster roles to aggregate.
    #[arg(long)]
    aggregation_rule: Option<String>,
}

impl RuleFlags {
    fn verbs(&self) -> Result<Vec<String>> {
        let mut verbs: Vec<String> = Vec::new();
        for verb in &self.verb {
            if verb == "*" {
                return Ok(vec!["*".to_owned()]);
            }
            if !verbs.contains(verb) {
                verbs.push(verb.clone());
            }
        }
        if verbs.is_empty() {
            bail!("at least one verb must be specified");
        }
        Ok(verbs)
    }

    fn warn(&self) -> Result<()> {
        for verb in self.verbs()?.iter().filter(|verb| !RESOURCE_VERBS.contains(&verb.as_str())) {
            crate::errln!("Warning: '{verb}' is not a standard resource verb");
        }
        Ok(())
    }

    /// One rule for each API group, by their names.
    fn rules(&self, mapper: Option<&Mapper>) -> Result<Vec<Value>> {
        let verbs = self.verbs()?;
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for text in &self.resource {
            let (name, subresource) =
                text.split_once('/').map_or((text.as_str(), None), |(name, sub)| (name, Some(sub)));
            if name.is_empty() {
                bail!("resource must be specified if apiGroup/subresource specified");
            }
            if name == "*" {
                groups = BTreeMap::from([(String::new(), vec!["*".to_owned()])]);
                break;
            }
            let asked = || {
                name.split_once('.')
                    .map_or((name.to_owned(), String::new()), |(name, group)| (name.to_owned(), group.to_owned()))
            };
            let found = mapper.map(|mapper| mapper.find(name));
            let (plural, group) = match &found {
                Some(Ok(found)) => (found.plural.clone(), found.group.clone()),
                _ => asked(),
            };
            if !may(&verbs, &group, &plural)? {
                // Only what special verbs are meant for may be unknown to the server.
                found.transpose().map_err(|error| Failure::Worded(error.to_string()))?;
            }
            let resource = subresource.map_or(plural.clone(), |sub| format!("{plural}/{sub}"));
            let resources = groups.entry(group).or_default();
            if !resources.contains(&resource) {
                resources.push(resource);
            }
        }
        let rules = groups.into_iter().map(|(group, resources)| {
            let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
            if !self.resource_name.is_empty() {
                rule["resourceNames"] = self.resource_name.clone().into();
            }
            rule
        });
        Ok(rules.collect())
    }
}

/// Whether a special verb is among these; then it must be one for this resource.
fn may(verbs: &[String], group: &str, plural: &str) -> Result<bool> {
    let mut special = false;
    for verb in verbs {
        let Some((_, resources)) = SPECIAL.iter().find(|(name, _)| name == verb) else { continue };
        if !resources.contains(&(group, plural)) {
            bail!("can not perform '{verb}' on '{plural}' in group '{group}'");
        }
        special = true;
    }
    Ok(special)
}

impl Role {
    /// The role; the server says which group a resource is of.
    pub(crate) async fn resolved(&self, cx: &Session) -> Result<Value> {
        self.rule.warn()?;
        if self.rule.resource.is_empty() {
            bail!("at least one resource must be specified");
        }
        self.object(Some(cx.mapper().await?))
    }

    fn object(&self, mapper: Option<&Mapper>) -> Result<Value> {
        Ok(
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": self.name}, "rules": self.rule.rules(mapper)?}),
        )
    }
}

impl ClusterRole {
    /// The cluster role; the server says which group a resource is of.
    pub(crate) async fn resolved(&self, cx: &Session) -> Result<Value> {
        let mapper = if self.rule.resource.is_empty() { None } else { Some(cx.mapper().await?) };
        self.object(mapper)
    }

    fn object(&self, mapper: Option<&Mapper>) -> Result<Value> {
        let head = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": self.name}});
        let mut object = head;
        if let Some(text) = &self.aggregation_rule {
            if !(self.rule.verb.is_empty() && self.rule.resource.is_empty() && self.non_resource_url.is_empty()) {
                bail!("aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames");
            }
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": parse_labels(text)?}]});
            object["rules"] = Value::Null;
            return Ok(object);
        }
        let verbs = self.rule.verbs()?;
        if self.rule.resource.is_empty() && self.non_resource_url.is_empty() {
            bail!("one of resource or nonResourceURL must be specified");
        }
        if !self.rule.resource.is_empty() {
            self.rule.warn()?;
        }
        let mut rules = self.rule.rules(mapper)?;
        if !self.non_resource_url.is_empty() {
            if let Some(verb) = verbs.iter().find(|verb| !PATH_VERBS.contains(&verb.as_str())) {
                bail!("invalid verb: '{verb}' for nonResourceURL");
            }
            for url in self.non_resource_url.iter().filter(|url| *url != "*") {
                if !url.starts_with('/') {
                    bail!("nonResourceURL should start with /");
                }
                if url[..url.len() - 1].contains('*') {
                    bail!("nonResourceURL only supports wildcard matches when '*' is at the end");
                }
            }
            rules.push(json!({"nonResourceURLs": self.non_resource_url, "verbs": verbs}));
        }
        object["rules"] = rules.into();
        Ok(object)
    }
}

/// Who a binding is for.
#[derive(clap::Args, Debug)]
pub(super) struct Subjects {
    /// Users to bind. `--user` is also a global flag, which wins on the command line; its values are moved here.
    #[arg(skip)]
    users: Vec<String>,
    /// Groups to bind; may be repeated.
    #[arg(long, value_delimiter = ',')]
    group: Vec<String>,
    /// Service accounts to bind, as <namespace>:<name>.
    #[arg(long, value_delimiter = ',')]
    serviceaccount: Vec<String>,
}

impl Subjects {
    pub(super) fn set_users(&mut self, users: Vec<String>) {
        self.users = users;
    }

    fn list(&self) -> Result<Vec<Value>> {
        let api = "rbac.authorization.k8s.io";
        let mut subjects: Vec<Value> = Vec::new();
        subjects.extend(self.users.iter().map(|name| json!({"apiGroup": api, "kind": "User", "name": name})));
        subjects.extend(self.group.iter().map(|name| json!({"apiGroup": api, "kind": "Group", "name": name})));
        for text in &self.serviceaccount {
            let (namespace, name) = text
                .split_once(':')
                .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
                .ok_or_else(|| anyhow!("serviceaccount must be <namespace>:<name>"))?;
            subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
        }
        Ok(subjects)
    }
}

fn binding(kind: &str, name: &str, role_kind: &str, role: &str, subjects: &Subjects) -> Result<Value> {
    let mut object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}});
    let subjects = subjects.list()?;
    if !subjects.is_empty() {
        object["subjects"] = subjects.into();
    }
    Ok(object)
}

#[derive(clap::Args, Debug)]
pub(crate) struct RoleBinding {
    name: String,
    /// The cluster role to reference.
    #[arg(long)]
    clusterrole: Option<String>,
    /// The role to reference.
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    pub(super) subjects: Subjects,
}

impl Generate for RoleBinding {
    fn generate(&self) -> Result<Value> {
        match (&self.clusterrole, &self.role) {
            (Some(role), None) => binding("RoleBinding", &self.name, "ClusterRole", role, &self.subjects),
            (None, Some(role)) => binding("RoleBinding", &self.name, "Role", role, &self.subjects),
            _ => bail!("exactly one of clusterrole or role must be specified"),
        }
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct ClusterRoleBinding {
    name: String,
    /// The cluster role to reference.
    #[arg(long)]
    clusterrole: String,
    #[command(flatten)]
    pub(super) subjects: Subjects,
}

impl Generate for ClusterRoleBinding {
    const NAMESPACED: bool = false;

    fn generate(&self) -> Result<Value> {
        binding("ClusterRoleBinding", &self.name, "ClusterRole", &self.clusterrole, &self.subjects)
    }
}
