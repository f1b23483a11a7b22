//! The rules of CustomResourceDefinitions: defaults, what the server owns, what may be said and what may change.
//!
//! Reading order: this file (a definition as any other kind), `spec` (all but schemas), `schema` (what a schema may say),
//! `shape` (what makes it structural), `defaults` (what defaults must be).
//!
//! The words and field paths are those of upstream's internal version, in which what all versions have in common stands
//! above them: `spec.validation.openAPIV3Schema`, not `spec.versions[0].schema.openAPIV3Schema`.

mod defaults;
mod schema;
mod shape;
mod spec;

use serde_json::{Value, json};

use crate::{
    at::{self, default_pointer, flag, get_mut, list, sub, text, texts},
    field::{FieldError, Path},
    meta,
    rules::{GENERIC, Generation, Rules, Scope},
};

use shape::violations;
use spec::Requirements;

type Errors = Vec<FieldError>;

pub(crate) static RULES: Rules = Rules {
    scope: Scope::Cluster,
    known_finalizers: false,
    generation: Generation::Spec,
    has_status: true,
    default,
    prepare_create,
    prepare_update,
    validate,
    validate_update: Some(validate_update),
    validate_status_update,
    warnings,
    ..GENERIC
};

fn default(definition: &mut Value) {
    if let Some(spec) = get_mut(definition, "spec") {
        if let Some(names) = get_mut(spec, "names") {
            let kind = text(names, "kind").to_owned();
            at::default(names, "singular", kind.to_lowercase());
            if !kind.is_empty() {
                at::default(names, "listKind", format!("{kind}List"));
            }
        }
        default_pointer(spec, "conversion", json!({"strategy": "None"}));
        let webhook = get_mut(spec, "conversion").and_then(|conversion| get_mut(conversion, "webhook"));
        let service = webhook.and_then(|webhook| get_mut(webhook, "clientConfig"));
        if let Some(service) = service.and_then(|config| get_mut(config, "service")) {
            default_pointer(service, "port", 443);
        }
    }
    if list(sub(definition, "status"), "storedVersions").is_empty() {
        remember_storage(definition);
    }
}

fn storage_version(definition: &Value) -> Option<&str> {
    let versions = list(sub(definition, "spec"), "versions");
    versions.iter().find(|version| flag(version, "storage") == Some(true)).map(|version| text(version, "name"))
}

/// The storage version is one in which objects are stored.
fn remember_storage(definition: &mut Value) {
    let Some(storage) = storage_version(definition).map(str::to_owned) else { return };
    let Some(stored) = at::sub_mut(definition, "status").and_then(|status| at::list_mut(status, "storedVersions"))
    else {
        return;
    };
    if !stored.iter().any(|known| *known == *storage) {
        stored.push(storage.into());
    }
}

fn prepare_create(definition: &mut Value) {
    // Go writes null for no conditions, at which `kubectl wait` right after the creation gives up; at a list it waits.
    let status = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": []});
    at::set(definition, "status", status);
    remember_storage(definition);
}

fn prepare_update(definition: &mut Value, _: &Value) {
    remember_storage(definition);
}

fn validate(definition: &Value, errors: &mut Errors) {
    let wanted = format!("{}.{}", text(names_of(definition), "plural"), text(sub(definition, "spec"), "group"));
    let name = meta::name(definition);
    if name != wanted {
        let path = Path::new("metadata").child("name");
        errors.push(FieldError::invalid(&path, name, "must be spec.names.plural+\".\"+spec.group"));
    }
    all(definition, None, &Requirements::all(), errors);
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    all(new, Some(old), &Requirements::of_update(new, old), errors);
}

fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    let path = Path::new("status").child("acceptedNames");
    spec::validate_names(sub(sub(new, "status"), "acceptedNames"), &path, errors);
}

fn names_of(definition: &Value) -> &Value {
    sub(sub(definition, "spec"), "names")
}

fn all(new: &Value, old: Option<&Value>, requirements: &Requirements, errors: &mut Errors) {
    spec::validate(sub(new, "spec"), old.map(|old| sub(old, "spec")), requirements, errors);
    validate_status_update(new, new, errors);
    validate_stored_versions(new, errors);
    validate_approval(new, old, errors);
    let keeps = |definition: &Value| flag(sub(definition, "spec"), "preserveUnknownFields") == Some(true);
    if keeps(new) && !old.is_some_and(keeps) {
        let path = Path::new("spec").child("preserveUnknownFields");
        let detail =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(&path, true, detail));
    }
}

fn validate_stored_versions(definition: &Value, errors: &mut Errors) {
    let path = Path::new("status").child("storedVersions");
    let status = sub(definition, "status");
    let stored: Vec<&str> = texts(status, "storedVersions").collect();
    let shown = || Value::from(stored.clone());
    if stored.is_empty() {
        errors.push(FieldError::invalid(&path, shown(), "must have at least one stored version"));
        return;
    }
    let versions = list(sub(definition, "spec"), "versions");
    for version in versions.iter().filter(|version| flag(version, "storage") == Some(true)) {
        let name = text(version, "name");
        if !stored.contains(&name) {
            errors.push(FieldError::invalid(&path, shown(), format!("must have the storage version {name}")));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| text(version, "name") == *name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(&path.index(index), *name, detail));
        }
    }
}

const APPROVAL: &str = "api-approved.kubernetes.io";

/// What a group of the Kubernetes community says about its review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Approval {
    Invalid,
    Missing,
    Approved,
    Bypassed,
}

fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether the definition was approved, and the words for it.
fn approval(definition: &Value) -> (Approval, String) {
    let said = meta::annotation(definition, APPROVAL).unwrap_or_default();
    let is_url = said
        .split_once("://")
        .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.split('/').next().unwrap_or_default().is_empty());
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    match said {
        "" => (Approval::Missing, format!("protected groups must have approval annotation \"{APPROVAL}\", {SEE}")),
        said if said.starts_with("unapproved") => {
            (Approval::Bypassed, format!("not approved: {}", crate::field::quote(said)))
        }
        said if is_url => (Approval::Approved, format!("approved in {said}")),
        _ => {
            let text = format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", {SEE}"
            );
            (Approval::Invalid, text)
        }
    }
}

/// What keeps the schemas of a definition from being structural: the reason and the words of a condition.
pub fn non_structural(definition: &Value) -> Option<(&'static str, String)> {
    let spec = sub(definition, "spec");
    let mut errors = Errors::new();
    if flag(spec, "preserveUnknownFields") == Some(true) {
        errors.push(FieldError::invalid(&Path::new("spec").child("preserveUnknownFields"), true, "must be false"));
    }
    for (index, version) in list(spec, "versions").iter().enumerate() {
        let Some(schema) = at::get(sub(version, "schema"), "openAPIV3Schema") else { continue };
        let path = Path::new("spec").child("versions").index(index).child("schema").child("openAPIV3Schema");
        match violations(schema, &path) {
            Ok(found) => errors.extend(found),
            Err(error) => {
                let name = text(version, "name");
                let message = format!("failed to check validation schema for version {name}: {error}");
                return Some(("StructuralError", message));
            }
        }
    }
    (!errors.is_empty()).then(|| ("Violations", crate::field::aggregate(&errors)))
}

/// Whether a group of the Kubernetes community was reviewed, the reason and the words of a condition.
pub fn approval_condition(definition: &Value) -> Option<(bool, &'static str, String)> {
    if !is_protected(text(sub(definition, "spec"), "group")) {
        return None;
    }
    let (state, message) = approval(definition);
    Some(match state {
        Approval::Invalid => (false, "InvalidAnnotation", message),
        Approval::Missing => (false, "MissingAnnotation", message),
        Approval::Approved => (true, "ApprovedAnnotation", message),
        Approval::Bypassed => (false, "UnapprovedAnnotation", message),
    })
}

fn validate_approval(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    if !is_protected(text(sub(new, "spec"), "group")) {
        return;
    }
    let (state, reason) = approval(new);
    if old.is_some_and(|old| approval(old).0 == state) {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(APPROVAL);
    match state {
        Approval::Missing => errors.push(FieldError::required(&path, reason)),
        Approval::Invalid => {
            let said = meta::annotation(new, APPROVAL).unwrap_or_default();
            errors.push(FieldError::invalid(&path, said, reason));
        }
        Approval::Approved | Approval::Bypassed => {}
    }
}

/// Advice about formats that nobody knows, as far as they are new.
fn warnings(definition: &Value, old: Option<&Value>) -> Vec<String> {
    let formats = |definition: &Value| {
        let mut found = Vec::new();
        for version in list(sub(definition, "spec"), "versions") {
            schema::unknown_formats(sub(sub(version, "schema"), "openAPIV3Schema"), &mut found);
        }
        found
    };
    let before = old.map(formats).unwrap_or_default();
    let new = formats(definition).into_iter().filter(|format| !before.contains(format));
    new.map(|format| format!("unrecognized format {}", crate::field::quote(&format))).collect()
}
