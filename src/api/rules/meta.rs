//! What holds for the metadata of every kind: who fills which field, what may be in it, what may change.

use serde_json::{Map, Value};

use super::at::{flag, get, int, list, map, sub, text, texts};
use super::check::{Errors, annotations, immutable, invalid_each, labels, non_negative};
use super::{Rules, Scope};
use crate::field::{FieldError, Path, quote};
use crate::meta;
use crate::names::{self, NameRule};

/// Fills what the server owns when an object is created: a new uid and time, nothing of a deletion.
pub fn prepare_create(object: &mut Value, uid: &str, now: &str) {
    let Some(metadata) = meta::metadata_mut(object) else { return };
    for owned in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.remove(owned);
    }
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), now.into());
}

/// Makes a name of `generateName` when there is none. `random` is any five numbers.
pub fn generate_name(object: &mut Value, random: [u32; 5]) {
    if meta::name(object).is_empty() && !meta::generate_name(object).is_empty() {
        let name = names::generate(meta::generate_name(object), random);
        meta::set_name(object, &name);
    }
}

/// Takes over what an update may leave out, and undoes what it may not say.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    let old = meta::metadata(old);
    let Some(new) = meta::metadata_mut(new) else { return };
    new.remove("selfLink");
    for kept in ["generation", "creationTimestamp", "deletionTimestamp"] {
        match old.get(kept) {
            Some(value) if !value.is_null() => new.insert(kept.into(), value.clone()),
            _ if kept == "generation" => new.remove(kept),
            _ => None,
        };
    }
    for completed in ["uid", "deletionGracePeriodSeconds"] {
        let absent = new.get(completed).is_none_or(|value| value.is_null() || value.as_str() == Some(""));
        if let (true, Some(value)) = (absent, old.get(completed)) {
            new.insert(completed.into(), value.clone());
        }
    }
}

/// Whether the rest of the object differs from `old` in anything but metadata and status.
pub(super) fn desired_state_changed(new: &Value, old: &Value) -> bool {
    !super::at::same(sub(new, "spec"), sub(old, "spec"))
}

/// Raises `metadata.generation` by one.
pub(super) fn bump_generation(object: &mut Value) {
    let next = meta::generation(object) + 1;
    meta::set(object, "generation", next);
}

/// Advice about the name of a new object whose pods are named after it.
pub(super) fn name_in_pods(object: &Value, old: Option<&Value>) -> Vec<String> {
    name_advice(object, old, "this is used in Pod names and hostnames, which can result in surprising behavior")
}

/// Advice where the name of a new object is no DNS label.
pub(super) fn name_advice(object: &Value, old: Option<&Value>, why: &str) -> Vec<String> {
    let wrong = if old.is_none() { names::dns1123_label(meta::name(object)) } else { Vec::new() };
    let said = format!("metadata.name: {why}; a DNS label is recommended: [{}]", wrong.join(" "));
    (!wrong.is_empty()).then_some(said).into_iter().collect()
}

fn path() -> Path {
    Path::new("metadata")
}

/// The metadata of an object about to be created.
pub(crate) fn validate(object: &Value, rules: &Rules) -> Errors {
    let mut errors = Errors::new();
    let generate_name = meta::generate_name(object);
    if !generate_name.is_empty() {
        invalid_each(
            &mut errors,
            rules.name.check_prefix(generate_name),
            || path().child("generateName"),
            generate_name,
        );
    }
    check_name(&mut errors, object, rules.name);
    common(&mut errors, object, rules.scope);
    check_known_finalizers(&mut errors, object, rules);
    errors
}

/// Names without a domain are Kubernetes' own ones.
fn check_known_finalizers(errors: &mut Errors, object: &Value, rules: &Rules) {
    for (n, finalizer) in texts(sub(object, "metadata"), "finalizers").enumerate().filter(|_| rules.known_finalizers) {
        if !finalizer.contains('/') && !matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path().child("finalizers").index(n), finalizer, why));
        }
    }
}

fn check_name(errors: &mut Errors, object: &Value, rule: NameRule) {
    let name = meta::name(object);
    if name.is_empty() {
        errors.push(FieldError::required(&path().child("name"), "name or generateName is required"));
    } else {
        invalid_each(errors, rule.check(name), || path().child("name"), name);
        if rule == NameRule::Any {
            invalid_each(errors, names::path_segment(name), || path().child("name"), name);
        }
    }
}

fn common(errors: &mut Errors, object: &Value, scope: Scope) {
    let metadata = sub(object, "metadata");
    let namespace = text(metadata, "namespace");
    match scope {
        Scope::Namespaced if namespace.is_empty() => {
            errors.push(FieldError::required(&path().child("namespace"), ""));
        }
        Scope::Cluster if !namespace.is_empty() => {
            errors.push(FieldError::forbidden(&path().child("namespace"), "not allowed on this type"));
        }
        Scope::Namespaced => {
            invalid_each(errors, names::dns1123_label(namespace), || path().child("namespace"), namespace);
        }
        Scope::Cluster | Scope::Unknown => {}
    }
    non_negative(errors, int(metadata, "generation"), || path().child("generation"));
    labels(errors, map(metadata, "labels"), || path().child("labels"));
    annotations(errors, map(metadata, "annotations"), || path().child("annotations"));
    owner_references(errors, metadata);
    finalizers(errors, metadata);
    managed_fields(errors, metadata);
}

/// What is wrong with labels alone.
pub fn label_errors(given: &Map<String, Value>, path: impl Fn() -> Path) -> Vec<FieldError> {
    let mut errors = Errors::new();
    labels(&mut errors, given, path);
    errors
}

/// What is wrong with annotations alone.
pub fn annotation_errors(given: &Map<String, Value>, path: impl Fn() -> Path) -> Vec<FieldError> {
    let mut errors = Errors::new();
    annotations(&mut errors, given, path);
    errors
}

fn owner_references(errors: &mut Errors, metadata: &Value) {
    let mut controller: Option<String> = None;
    for owner in list(metadata, "ownerReferences") {
        let at = || path().child("ownerReferences");
        let api_version = text(owner, "apiVersion");
        let (group, version) = meta::group_version(api_version);
        if version.is_empty() {
            errors.push(FieldError::invalid(&at().child("apiVersion"), api_version, "version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                errors.push(FieldError::invalid(&at().child(field), "", "must not be empty"));
            }
        }
        if (group, version, text(owner, "kind")) == ("", "v1", "Event") {
            errors.push(FieldError::invalid(&at(), owner.clone(), "/v1, Kind=Event is disallowed from being an owner"));
        }
        if flag(owner, "controller") == Some(true) {
            let this = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            match &controller {
                Some(first) => errors.push(FieldError::invalid(
                    &at(),
                    sub(metadata, "ownerReferences").clone(),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                )),
                None => controller = Some(this),
            }
        }
    }
}

fn finalizers(errors: &mut Errors, metadata: &Value) {
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in texts(metadata, "finalizers") {
        invalid_each(errors, names::qualified_name(finalizer), || path().child("finalizers"), finalizer);
        orphan |= finalizer == "orphan";
        foreground |= finalizer == "foregroundDeletion";
    }
    if orphan && foreground {
        errors.push(FieldError::invalid(
            &path().child("finalizers"),
            sub(metadata, "finalizers").clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}

fn managed_fields(errors: &mut Errors, metadata: &Value) {
    for (n, entry) in list(metadata, "managedFields").iter().enumerate() {
        let at = || path().child("managedFields").index(n);
        let operation = text(entry, "operation");
        if operation != "Apply" && operation != "Update" {
            errors.push(FieldError::invalid(&at().child("operation"), operation, "must be `Apply` or `Update`"));
        }
        let fields_type = text(entry, "fieldsType");
        if !fields_type.is_empty() && fields_type != "FieldsV1" {
            errors.push(FieldError::invalid(&at().child("fieldsType"), fields_type, "must be `FieldsV1`"));
        }
        field_manager(errors, text(entry, "manager"), || at().child("manager"));
        if text(entry, "subresource").len() > 256 {
            errors.push(FieldError::too_long(&at().child("subresource"), 256));
        }
    }
}

fn field_manager(errors: &mut Errors, manager: &str, path: impl Fn() -> Path) {
    if manager.len() > 128 {
        errors.push(FieldError::too_long(&path(), 128));
    }
    for (at, c) in manager.char_indices() {
        if c.is_control() {
            errors.push(FieldError::invalid(
                &path(),
                manager,
                format!("invalid character U+{:04X} (at position {at})", c as u32),
            ));
        }
    }
}

/// The metadata of an object about to replace `old`. Whether a `resourceVersion` is needed is for the caller to know.
pub(super) fn validate_update(new: &Value, old: &Value, rules: &Rules) -> Errors {
    let mut errors = Errors::new();
    check_name(&mut errors, new, NameRule::PathSegment);
    common(&mut errors, new, rules.scope);
    check_known_finalizers(&mut errors, new, rules);
    let (new, old) = (sub(new, "metadata"), sub(old, "metadata"));
    if get(old, "deletionTimestamp").is_some() {
        let known: Vec<&str> = texts(old, "finalizers").collect();
        let mut added: Vec<&str> = texts(new, "finalizers").filter(|name| !known.contains(name)).collect();
        added.sort_unstable();
        added.dedup();
        if !added.is_empty() {
            let added: Vec<String> = added.into_iter().map(quote).collect();
            errors.push(FieldError::forbidden(
                &path().child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
    let generation = int(new, "generation").unwrap_or(0);
    if generation < int(old, "generation").unwrap_or(0) {
        errors.push(FieldError::invalid(&path().child("generation"), generation, "must not be decremented"));
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if get(new, field) != get(old, field) {
            immutable(&mut errors, get(new, field), get(old, field), &path().child(field));
        }
    }
    errors
}

/// Checks the options of a request: `dryRun`, `fieldManager`, `fieldValidation`; the errors are those of
/// `CreateOptions` and its like.
pub fn validate_options(dry_run: &[&str], manager: &str, field_validation: &str) -> Errors {
    let mut errors = Errors::new();
    field_manager(&mut errors, manager, || Path::new("fieldManager"));
    if dry_run.iter().any(|word| *word != "All") {
        errors.push(FieldError::not_supported(&Path::new("dryRun"), Value::from(dry_run.to_vec()), &["All"]));
    }
    if !["", "Ignore", "Strict", "Warn"].contains(&field_validation) {
        errors.push(FieldError::not_supported(
            &Path::new("fieldValidation"),
            field_validation,
            &["", "Ignore", "Strict", "Warn"],
        ));
    }
    errors
}
