//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::at::{default_pointer, get_mut, int, items_mut, list, maybe_text, same, sub, text, texts};
use super::check::{Errors, invalid_each, label_selector};
use super::{GENERIC, Rules, Scope, admission_policies, client_config};
use crate::field::{FieldError, Path};
use crate::{meta, names};

pub(super) static MUTATING: Rules = Rules {
    default: |config| {
        default_hooks(config);
        for hook in items_mut(config, "webhooks") {
            default_pointer(hook, "reinvocationPolicy", "Never");
        }
    },
    ..VALIDATING
};

pub(super) static VALIDATING: Rules = Rules {
    scope: Scope::Cluster,
    known_finalizers: false,
    default: default_hooks,
    prepare_create: |config| meta::set(config, "generation", 1),
    prepare_update: |new, old| {
        if !same(sub(new, "webhooks"), sub(old, "webhooks")) {
            meta::set(new, "generation", meta::generation(old) + 1);
        }
    },
    validate: |config, errors| check_hooks(errors, config, &STRICT),
    validate_update: Some(|new, old, errors| check_hooks(errors, new, &Leniency::of(new, old))),
    warnings: reserved_name,
    ..GENERIC
};

/// Advice about a name that configurations from files have.
pub(super) fn reserved_name(config: &Value, _: Option<&Value>) -> Vec<String> {
    let reserved = meta::name(config).ends_with(STATIC);
    let why = || {
        format!(
            "metadata.name: names ending with {STATIC:?} are reserved for static manifest-based configurations and cannot be managed via the API"
        )
    };
    reserved.then(why).into_iter().collect()
}

/// Names of configurations that come from files.
const STATIC: &str = ".static.k8s.io";

const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MATCH_CONDITIONS: usize = 64;

fn default_hooks(config: &mut Value) {
    for hook in items_mut(config, "webhooks") {
        default_pointer(hook, "failurePolicy", "Fail");
        default_pointer(hook, "matchPolicy", "Equivalent");
        default_pointer(hook, "namespaceSelector", json!({}));
        default_pointer(hook, "objectSelector", json!({}));
        default_pointer(hook, "timeoutSeconds", 10);
        for rule in items_mut(hook, "rules") {
            default_pointer(rule, "scope", "*");
        }
        if let Some(config) = get_mut(hook, "clientConfig") {
            client_config::default_service(config);
        }
    }
}

/// What an update may keep because it stood there before.
struct Leniency {
    side_effects: bool,
    unknown_review_versions: bool,
    repeated_names: bool,
    match_conditions: bool,
}

const STRICT: Leniency =
    Leniency { side_effects: false, unknown_review_versions: false, repeated_names: false, match_conditions: false };

impl Leniency {
    fn of(new: &Value, old: &Value) -> Leniency {
        let (new, old) = (list(new, "webhooks"), list(old, "webhooks"));
        let mut names = BTreeSet::new();
        Leniency {
            side_effects: old.iter().any(|hook| !NO_SIDE_EFFECTS.contains(&text(hook, "sideEffects"))),
            unknown_review_versions: old.iter().any(|hook| {
                let mut versions = texts(hook, "admissionReviewVersions").peekable();
                versions.peek().is_some() && !versions.any(|version| REVIEW_VERSIONS.contains(&version))
            }),
            repeated_names: old.iter().any(|hook| !names.insert(text(hook, "name"))),
            match_conditions: new.len() == old.len()
                && new.iter().zip(old).all(|(new, old)| same(sub(new, "matchConditions"), sub(old, "matchConditions"))),
        }
    }
}

fn check_hooks(errors: &mut Errors, config: &Value, lenient: &Leniency) {
    let mut seen = BTreeSet::new();
    for (n, hook) in list(config, "webhooks").iter().enumerate() {
        let path = Path::new("webhooks").index(n);
        check_hook(errors, hook, lenient, &path);
        check_review_versions(errors, hook, lenient, &path.child("admissionReviewVersions"));
        let name = text(hook, "name");
        if !lenient.repeated_names && !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
}

fn check_hook(errors: &mut Errors, hook: &Value, lenient: &Leniency, path: &Path) {
    check_name(errors, text(hook, "name"), &path.child("name"));
    for (n, rule) in list(hook, "rules").iter().enumerate() {
        check_rule(errors, rule, &path.child("rules").index(n));
    }
    check_word(errors, hook, "failurePolicy", &["Fail", "Ignore"], path);
    check_word(errors, hook, "matchPolicy", &["Equivalent", "Exact"], path);
    let effects: &[&str] = if lenient.side_effects { &SIDE_EFFECTS } else { NO_SIDE_EFFECTS };
    if maybe_text(hook, "sideEffects").is_none() {
        let why = format!("must specify one of {}", effects.join(", "));
        errors.push(FieldError::required(&path.child("sideEffects"), why));
    }
    check_word(errors, hook, "sideEffects", effects, path);
    if let Some(seconds) = int(hook, "timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&path.child("timeoutSeconds"), seconds, why));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        label_selector(errors, sub(hook, selector), &path.child(selector));
    }
    check_word(errors, hook, "reinvocationPolicy", &["IfNeeded", "Never"], path);
    client_config::check(errors, sub(hook, "clientConfig"), &path.child("clientConfig"));
    if !lenient.match_conditions {
        check_conditions(errors, list(hook, "matchConditions"), false, &path.child("matchConditions"));
    }
}

fn check_word(errors: &mut Errors, hook: &Value, field: &'static str, allowed: &[&str], path: &Path) {
    if let Some(word) = maybe_text(hook, field).filter(|word| !allowed.contains(word)) {
        errors.push(FieldError::not_supported(&path.child(field), word, allowed));
    }
}

/// A name in somebody's domain.
fn check_name(errors: &mut Errors, name: &str, path: &Path) {
    let wrong = names::dns1123_subdomain(name);
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid(path, name, wrong.join(",")));
    } else if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name, why));
    }
}

fn check_review_versions(errors: &mut Errors, hook: &Value, lenient: &Leniency, path: &Path) {
    let versions: Vec<&str> = texts(hook, "admissionReviewVersions").collect();
    if versions.is_empty() {
        errors.push(FieldError::required(path, format!("must specify one of {}", REVIEW_VERSIONS.join(", "))));
        return;
    }
    for (n, version) in versions.iter().enumerate() {
        if versions[..n].contains(version) {
            errors.push(FieldError::invalid(&path.index(n), *version, "duplicate version"));
        } else {
            invalid_each(errors, names::dns1035_label(version), || path.index(n), version);
        }
    }
    if !lenient.unknown_review_versions && !versions.iter().any(|version| REVIEW_VERSIONS.contains(version)) {
        let why = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.push(FieldError::invalid(path, json!(versions), why));
    }
}

/// Operations and resources that a webhook is asked about.
pub(super) fn check_rule(errors: &mut Errors, rule: &Value, path: &Path) {
    let operations: Vec<&str> = texts(rule, "operations").collect();
    let at = path.child("operations");
    if operations.is_empty() {
        errors.push(FieldError::required(&at, ""));
    }
    if operations.len() > 1 && operations.contains(&"*") {
        errors.push(FieldError::invalid(
            &at,
            json!(operations),
            "if '*' is present, must not specify other operations",
        ));
    }
    for (n, operation) in operations.iter().enumerate().filter(|(_, operation)| !OPERATIONS.contains(operation)) {
        errors.push(FieldError::not_supported(&at.index(n), *operation, &OPERATIONS));
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (names, at): (Vec<&str>, Path) = (texts(rule, field).collect(), path.child(field));
        if names.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        if names.len() > 1 && names.contains(&"*") {
            let why = format!("if '*' is present, must not specify other {what}");
            errors.push(FieldError::invalid(&at, json!(names), why));
        }
        for (n, _) in names.iter().enumerate().filter(|(_, name)| field == "apiVersions" && name.is_empty()) {
            errors.push(FieldError::required(&at.index(n), ""));
        }
    }
    check_resources(errors, &texts(rule, "resources").collect::<Vec<_>>(), &path.child("resources"));
    check_word(errors, rule, "scope", &["*", "Cluster", "Namespaced"], path);
}

/// `pods`, `pods/*`, `*/scale`, `*`, `*/*`: what says the same as another may not stand beside it.
fn check_resources(errors: &mut Errors, resources: &[&str], path: &Path) {
    if resources.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let (mut all_of, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    let mut whole = false;
    for (n, name) in resources.iter().enumerate() {
        if name.is_empty() {
            errors.push(FieldError::required(&path.index(n), ""));
            continue;
        }
        let Some((resource, subresource)) = name.split_once('/') else {
            whole = *name != "*";
            continue;
        };
        let mut refuse = |covering: String| {
            let why = format!("if '{covering}' is present, must not specify {name}");
            errors.push(FieldError::invalid(&path.index(n), *name, why));
        };
        if all_of.contains(resource) {
            refuse(format!("{resource}/*"));
        }
        if everywhere.contains(subresource) {
            refuse(format!("*/{subresource}"));
        }
        if subresource == "*" {
            all_of.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(subresource);
        }
    }
    let mut refuse = |why: &str| errors.push(FieldError::invalid(path, json!(resources), why));
    if resources.len() > 1 && resources.contains(&"*/*") {
        refuse("if '*/*' is present, must not specify other resources");
    }
    if resources.contains(&"*") && whole {
        refuse("if '*' is present, must not specify other resources without subresources");
    }
}

/// `params`: whether the expressions may name some.
pub(super) fn check_conditions(errors: &mut Errors, conditions: &[Value], params: bool, path: &Path) {
    if conditions.len() > MATCH_CONDITIONS {
        errors.push(FieldError::too_many(path, conditions.len(), MATCH_CONDITIONS));
    }
    let mut seen = BTreeSet::new();
    for (n, condition) in conditions.iter().enumerate() {
        let path = path.index(n);
        let (expression, at) = (text(condition, "expression").trim(), path.child("expression"));
        if expression.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else {
            admission_policies::check_condition_expression(errors, expression, params, &at);
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
            continue;
        }
        invalid_each(errors, names::qualified_name(name), || path.child("name"), name);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
}
