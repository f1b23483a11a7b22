//! Roles, what they allow, and bindings, whose role stays.

use serde_json::Value;

use super::at::{default, get, has, items_mut, list, same, sub, sub_mut, text};
use super::check::{self, Errors, invalid_each, member, required};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::names::{self, NameRule};
use crate::select::LabelSelector;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) static ROLE: Rules = Rules {
    name: NameRule::PathSegment,
    scope: Scope::Namespaced,
    validate: |role, errors| check_rules(errors, role, true),
    ..GENERIC
};

pub(super) static CLUSTER_ROLE: Rules = Rules {
    name: NameRule::PathSegment,
    scope: Scope::Cluster,
    validate: |role, errors| {
        check_rules(errors, role, false);
        check_aggregation(errors, role);
    },
    ..GENERIC
};

pub(super) static ROLE_BINDING: Rules = Rules {
    name: NameRule::PathSegment,
    scope: Scope::Namespaced,
    default: default_binding,
    validate: |binding, errors| check_binding(errors, binding, true),
    validate_update: Some(|new, old, errors| {
        check_binding(errors, new, true);
        check_role_kept(errors, new, old);
    }),
    ..GENERIC
};

pub(super) static CLUSTER_ROLE_BINDING: Rules = Rules {
    name: NameRule::PathSegment,
    scope: Scope::Cluster,
    default: default_binding,
    validate: |binding, errors| check_binding(errors, binding, false),
    validate_update: Some(|new, old, errors| {
        check_binding(errors, new, false);
        check_role_kept(errors, new, old);
    }),
    ..GENERIC
};

fn default_binding(binding: &mut Value) {
    if let Some(role) = sub_mut(binding, "roleRef") {
        default(role, "apiGroup", GROUP);
    }
    for subject in items_mut(binding, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            default(subject, "apiGroup", GROUP);
        }
    }
}

fn check_rules(errors: &mut Errors, role: &Value, namespaced: bool) {
    for (n, rule) in list(role, "rules").iter().enumerate() {
        let path = Path::new("rules").index(n);
        if list(rule, "verbs").is_empty() {
            errors.push(FieldError::required(&path.child("verbs"), "verbs must contain at least one value"));
        }
        if list(rule, "nonResourceURLs").is_empty() {
            if list(rule, "apiGroups").is_empty() {
                errors.push(FieldError::required(
                    &path.child("apiGroups"),
                    "resource rules must supply at least one api group",
                ));
            }
            if list(rule, "resources").is_empty() {
                errors.push(FieldError::required(
                    &path.child("resources"),
                    "resource rules must supply at least one resource",
                ));
            }
            continue;
        }
        let mut refuse = |why: &str| {
            let urls = sub(rule, "nonResourceURLs").clone();
            errors.push(FieldError::invalid(&path.child("nonResourceURLs"), urls, why));
        };
        if namespaced {
            refuse("namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !list(rule, field).is_empty()) {
            refuse("rules cannot apply to both regular resources and non-resource URLs");
        }
    }
}

fn check_aggregation(errors: &mut Errors, role: &Value) {
    let Some(aggregation) = get(role, "aggregationRule") else { return };
    let path = Path::new("aggregationRule").child("clusterRoleSelectors");
    let selectors = list(aggregation, "clusterRoleSelectors");
    if selectors.is_empty() {
        errors.push(FieldError::required(
            &path,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        ));
    }
    for (n, selector) in selectors.iter().enumerate() {
        let before = errors.len();
        check::label_selector(errors, selector, &path.index(n));
        if errors.len() > before && LabelSelector::from_json(selector).is_err() {
            errors.push(FieldError::invalid(&path.index(n), Value::Null, "invalid label selector."));
        }
    }
}

fn check_binding(errors: &mut Errors, binding: &Value, namespaced: bool) {
    let (role, path) = (sub(binding, "roleRef"), Path::new("roleRef"));
    member(errors, text(role, "apiGroup"), &[GROUP], &path.child("apiGroup"));
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    member(errors, text(role, "kind"), kinds, &path.child("kind"));
    let name = text(role, "name");
    if required(errors, name, &path.child("name")) {
        invalid_each(errors, names::path_segment(name), || path.child("name"), name);
    }
    for (n, subject) in list(binding, "subjects").iter().enumerate() {
        check_subject(errors, subject, namespaced, &Path::new("subjects").index(n));
    }
}

fn check_subject(errors: &mut Errors, subject: &Value, namespaced: bool, path: &Path) {
    let (kind, name, group) = (text(subject, "kind"), text(subject, "name"), text(subject, "apiGroup"));
    required(errors, name, &path.child("name"));
    match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                invalid_each(errors, names::dns1123_subdomain(name), || path.child("name"), name);
            }
            member(errors, group, &[""], &path.child("apiGroup"));
            if !namespaced && !has(subject, "namespace") {
                errors.push(FieldError::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" => member(errors, group, &[GROUP], &path.child("apiGroup")),
        other => {
            errors.push(FieldError::not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]))
        }
    }
}

fn check_role_kept(errors: &mut Errors, new: &Value, old: &Value) {
    if !same(sub(new, "roleRef"), sub(old, "roleRef")) {
        let error = FieldError::invalid(&Path::new("roleRef"), sub(new, "roleRef").clone(), "cannot change roleRef");
        errors.push(error.with_shown("RoleRef"));
    }
}
