//! ResourceQuota: amounts by name, and scopes that stay.

use serde_json::{Value, json};

use super::at::{has, list, map, sub, text, texts};
use super::check::{Errors, IMMUTABLE};
use super::{GENERIC, Rules, Scope, resources};
use crate::field::{FieldError, Path};

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    has_status: true,
    validate,
    validate_status_update: |new, _, errors| {
        for field in ["hard", "used"] {
            check_amounts(errors, sub(new, "status"), field, &Path::new("status").child(field));
        }
    },
    validate_update: Some(|new, old, errors| {
        validate(new, errors);
        let scopes = |quota| {
            let mut scopes: Vec<&str> = texts(sub(quota, "spec"), "scopes").collect();
            scopes.sort_unstable();
            scopes.dedup();
            scopes
        };
        if scopes(new) != scopes(old) {
            errors.push(FieldError::invalid(
                &Path::new("spec").child("scopes"),
                sub(sub(new, "spec"), "scopes").clone(),
                IMMUTABLE,
            ));
        }
    }),
    ..GENERIC
};

fn validate(quota: &Value, errors: &mut Errors) {
    let spec = sub(quota, "spec");
    check_amounts(errors, spec, "hard", &Path::new("spec").child("hard"));
    check_scopes(errors, spec, &Path::new("spec").child("scopes"));
    if has(spec, "scopeSelector") {
        check_selector(errors, spec, &Path::new("spec").child("scopeSelector").child("matchExpressions"));
    }
}

fn check_amounts(errors: &mut Errors, of: &Value, field: &str, path: &Path) {
    for (name, amount) in map(of, field) {
        let at = || path.key(name.as_str());
        resources::resource_name(errors, name, at);
        if !name.contains('/') && !is_counted(name) {
            errors.push(FieldError::invalid(&at(), name.as_str(), "must be a standard resource for quota"));
        }
        resources::quantity_value(errors, name, amount, at);
    }
}

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
const CONFLICTING: [(&str, &str); 2] = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];

/// Resources of quotas that are named without a group.
fn is_counted(name: &str) -> bool {
    resources::is_standard(name) && name != "storage"
}

/// Whether a scope says something about a resource.
fn applies(scope: &str, resource: &str) -> bool {
    let computes = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            resource == "pods" || computes.contains(&resource)
        }
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

/// How many of the quota's resources a scope says nothing about.
fn without_meaning(scope: &str, spec: &Value) -> usize {
    map(spec, "hard").keys().filter(|name| is_counted(name) && !applies(scope, name)).count()
}

fn check_scopes(errors: &mut Errors, spec: &Value, path: &Path) {
    let scopes: Vec<&str> = list(spec, "scopes").iter().map(|scope| scope.as_str().unwrap_or("")).collect();
    let mut refuse = |why: &str| errors.push(FieldError::invalid(path, scopes.clone(), why));
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            refuse("unsupported scope");
        }
        for _ in 0..without_meaning(scope, spec) {
            refuse("unsupported scope applied to resource");
        }
    }
    for (one, other) in CONFLICTING {
        if scopes.contains(&one) && scopes.contains(&other) {
            refuse("conflicting scopes");
        }
    }
}

fn check_selector(errors: &mut Errors, spec: &Value, path: &Path) {
    let expressions = list(sub(spec, "scopeSelector"), "matchExpressions");
    for expression in expressions {
        let (scope, operator) = (text(expression, "scopeName"), text(expression, "operator"));
        let values = list(expression, "values");
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(&path.child("scopeName"), scope, "unsupported scope"));
        }
        for _ in 0..without_meaning(scope, spec) {
            let why = "unsupported scope applied to resource";
            errors.push(FieldError::invalid(path, in_go(expressions), why));
        }
        let mut refuse = |why: &str| errors.push(FieldError::invalid(&path.child("operator"), operator, why));
        let valued = matches!(scope, "PriorityClass" | "VolumeAttributesClass") || !SCOPES.contains(&scope);
        if !valued && operator != "Exists" {
            refuse(ONLY_EXISTS);
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                &path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::invalid(
                &path.child("values"),
                values.to_vec(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => refuse("not a valid selector operator"),
        }
    }
    let named = |scope: &str| expressions.iter().any(|expression| text(expression, "scopeName") == scope);
    for _ in CONFLICTING.iter().filter(|(one, other)| named(one) && named(other)) {
        let scopes = sub(spec, "scopes").clone();
        errors.push(FieldError::invalid(path, scopes, "conflicting scopes"));
    }
}

const ONLY_EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

/// A selector as upstream's messages show one: with the names of its fields in Go.
fn in_go(expressions: &[Value]) -> Value {
    let shown = |expression: &Value| {
        json!({
            "ScopeName": text(expression, "scopeName"),
            "Operator": text(expression, "operator"),
            "Values": sub(expression, "values"),
        })
    };
    json!({"MatchExpressions": expressions.iter().map(shown).collect::<Value>()})
}
