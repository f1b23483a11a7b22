//! Who is granted what: roles resolved and bindings turned round, so that a request is answered by looking up its user and
//! its groups.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mk8s_api::select::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use super::rule::Rule;
use crate::auth::{Attributes, SERVICE_ACCOUNT_PREFIX, User};

/// One of the four kinds, decoded.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub roles: HashMap<(String, String), Arc<[Rule]>>,
    pub cluster_roles: HashMap<String, ClusterRole>,
    /// By namespace (empty: cluster role binding) and name.
    pub bindings: HashMap<(String, String), Binding>,
}

#[derive(Debug)]
pub(super) struct ClusterRole {
    rules: Arc<[Rule]>,
    labels: Value,
    /// With these, the rules are those of the roles selected, and not its own.
    aggregates: Option<Vec<LabelSelector>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Binding {
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

#[derive(Debug, Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

impl ClusterRole {
    pub(super) fn new(object: &Value) -> ClusterRole {
        let selectors = object["aggregationRule"]["clusterRoleSelectors"].as_array();
        ClusterRole {
            rules: rules_of(object),
            labels: object["metadata"]["labels"].clone(),
            aggregates: selectors.map(|list| list.iter().filter_map(|s| LabelSelector::from_json(s).ok()).collect()),
        }
    }
}

/// The rules of a role; those that cannot be read grant nothing.
pub(super) fn rules_of(object: &Value) -> Arc<[Rule]> {
    let rules = object["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    rules.iter().filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

/// A role given to a subject.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    /// What is granted, or which role is missing.
    rules: Result<Arc<[Rule]>, Arc<str>>,
    /// `ClusterRoleBinding "b" of ClusterRole "r" to Group "g"`
    source: Arc<str>,
}

#[derive(Debug, Default)]
struct Subjects {
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

impl Subjects {
    fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Grant> {
        let own = self.users.get(&user.name).into_iter();
        own.chain(user.groups.iter().filter_map(|group| self.groups.get(group))).flatten()
    }
}

/// The compiled form.
#[derive(Debug, Default)]
pub(super) struct Index {
    cluster: Subjects,
    namespaces: HashMap<String, Subjects>,
}

impl Index {
    pub(super) fn compile(stored: &Stored) -> Index {
        let mut index = Index::default();
        let mut resolved = HashMap::new();
        let mut bindings: Vec<_> = stored.bindings.iter().collect();
        bindings.sort_by_key(|(key, _)| *key);
        for ((namespace, name), binding) in bindings {
            let rules = rules_for(stored, &mut resolved, namespace, &binding.role_ref);
            let subjects = match namespace.as_str() {
                "" => &mut index.cluster,
                namespace => index.namespaces.entry(namespace.to_string()).or_default(),
            };
            for subject in binding.subjects.iter().flatten() {
                let grant = Grant { rules: rules.clone(), source: source(namespace, name, binding, subject) };
                match subject.kind.as_str() {
                    "User" => subjects.users.entry(subject.name.clone()).or_default().push(grant),
                    "Group" => subjects.groups.entry(subject.name.clone()).or_default().push(grant),
                    "ServiceAccount" => {
                        let of = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
                        subjects
                            .users
                            .entry(format!("{SERVICE_ACCOUNT_PREFIX}{of}:{}", subject.name))
                            .or_default()
                            .push(grant);
                    }
                    _ => {}
                }
            }
        }
        index
    }

    /// Everything granted to `user` cluster-wide and, when one is named, in `namespace`.
    fn grants<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Grant> + use<'a> {
        let local = (!namespace.is_empty()).then(|| self.namespaces.get(namespace)).flatten();
        self.cluster.of(user).chain(local.into_iter().flat_map(move |subjects| subjects.of(user)))
    }

    /// What allows the request, if anything does.
    pub(super) fn allowing<'a>(&'a self, a: &Attributes<'a>) -> Option<&'a str> {
        let allows = |grant: &&Grant| grant.rules.as_ref().is_ok_and(|rules| rules.iter().any(|rule| rule.matches(a)));
        self.grants(a.user, a.namespace).find(allows).map(|grant| &*grant.source)
    }

    /// Roles that the user's bindings name and that do not exist.
    pub(super) fn missing_roles(&self, user: &User, namespace: &str) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for why in self.grants(user, namespace).filter_map(|grant| grant.rules.as_ref().err()) {
            if !missing.iter().any(|known| **known == **why) {
                missing.push(why.to_string());
            }
        }
        missing
    }

    pub(super) fn rules(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.grants(user, namespace)
            .filter_map(|grant| grant.rules.as_ref().ok())
            .flat_map(|rules| rules.iter().cloned())
            .collect()
    }
}

fn source(namespace: &str, name: &str, binding: &Binding, subject: &Subject) -> Arc<str> {
    let (kind, name) = match namespace {
        "" => ("ClusterRoleBinding", name.to_string()),
        namespace => ("RoleBinding", format!("{name}/{namespace}")),
    };
    let of = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
    let who = match subject.kind.as_str() {
        "ServiceAccount" => format!("{}/{of}", subject.name),
        _ => subject.name.clone(),
    };
    let role = &binding.role_ref;
    format!("{kind} {name:?} of {} {:?} to {} {who:?}", role.kind, role.name, subject.kind).into()
}

type Resolved = HashMap<String, Arc<[Rule]>>;

fn rules_for(
    stored: &Stored,
    resolved: &mut Resolved,
    namespace: &str,
    role: &RoleRef,
) -> Result<Arc<[Rule]>, Arc<str>> {
    let missing = |kind: &str| format!("{kind}.rbac.authorization.k8s.io {:?} not found", role.name).into();
    match role.kind.as_str() {
        "Role" => stored.roles.get(&(namespace.to_string(), role.name.clone())).cloned().ok_or_else(|| missing("role")),
        "ClusterRole" => {
            if let Some(known) = resolved.get(&role.name) {
                return Ok(known.clone());
            }
            let rules = cluster_role_rules(stored, &role.name).ok_or_else(|| missing("clusterrole"))?;
            resolved.insert(role.name.clone(), rules.clone());
            Ok(rules)
        }
        kind => Err(format!("unsupported role reference kind: {kind:?}").into()),
    }
}

/// The rules of a cluster role, aggregation followed; `None` when there is no such role.
pub(super) fn cluster_role_rules(stored: &Stored, name: &str) -> Option<Arc<[Rule]>> {
    let role = stored.cluster_roles.get(name)?;
    if role.aggregates.is_none() {
        return Some(role.rules.clone());
    }
    let mut rules: Vec<Rule> = Vec::new();
    let mut visited = HashSet::from([name]);
    let mut open = vec![role];
    while let Some(role) = open.pop() {
        let Some(selectors) = &role.aggregates else {
            rules.extend(role.rules.iter().filter(|rule| !rules.contains(rule)).cloned().collect::<Vec<_>>());
            continue;
        };
        let labels = |role: &ClusterRole| role.labels.as_object().cloned().unwrap_or_default();
        let mut selected: Vec<_> = stored
            .cluster_roles
            .iter()
            .filter(|(_, role)| selectors.iter().any(|selector| selector.matches(&labels(role))))
            .collect();
        selected.sort_by_key(|(name, _)| *name);
        open.extend(selected.into_iter().filter(|(name, _)| visited.insert(name.as_str())).map(|(_, role)| role));
    }
    Some(rules.into())
}
