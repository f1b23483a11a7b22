//! Namespace: its finalizers, its phase and the label that repeats its name.

use serde_json::{Value, json};

use super::at::{get_mut, keep, list, map_mut, set, sub, sub_mut, text, texts};
use super::check::{Errors, invalid_each};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names::{self, NameRule};

const FINALIZER: &str = "kubernetes";

pub(super) static RULES: Rules = Rules {
    name: NameRule::Label,
    scope: Scope::Cluster,
    has_status: true,
    default: set_defaults,
    prepare_create,
    prepare_update,
    validate,
    validate_update: Some(|_, _, _| {}),
    validate_status_update,
    selectable: &[
        ("name", |namespace| meta::name(namespace).to_string()),
        ("status.phase", |namespace| text(sub(namespace, "status"), "phase").to_string()),
    ],
    ..GENERIC
};

fn set_defaults(namespace: &mut Value) {
    let name = meta::name(namespace).to_string();
    let metadata = namespace.get_mut("metadata").filter(|_| !name.is_empty());
    if let Some(labels) = metadata.and_then(|metadata| map_mut(metadata, "labels")) {
        labels.insert("kubernetes.io/metadata.name".into(), Value::String(name));
    }
    if let Some(status) = sub_mut(namespace, "status") {
        super::at::default(status, "phase", "Active");
    }
}

fn prepare_create(namespace: &mut Value) {
    set(namespace, "status", json!({"phase": "Active"}));
    if let Some(spec) = sub_mut(namespace, "spec") {
        let mut finalizers = list(spec, "finalizers").to_vec();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        set(spec, "finalizers", finalizers);
    }
}

/// `spec.finalizers` changes only through the `finalize` subresource.
fn prepare_update(new: &mut Value, old: &Value) {
    let Some(_) = sub_mut(new, "spec") else { return };
    if let Some(spec) = get_mut(new, "spec") {
        keep(spec, sub(old, "spec"), "finalizers");
    }
}

fn validate(namespace: &Value, errors: &mut Errors) {
    for finalizer in texts(sub(namespace, "spec"), "finalizers") {
        check_finalizer(errors, finalizer, || Path::new("spec").child("finalizers"));
    }
}

fn check_finalizer(errors: &mut Errors, finalizer: &str, path: impl Fn() -> Path) {
    invalid_each(errors, names::qualified_name(finalizer), &path, finalizer);
    const STANDARD: [&str; 3] = [FINALIZER, "foregroundDeletion", "orphan"];
    if !finalizer.contains('/') && !STANDARD.contains(&finalizer) {
        errors.push(FieldError::invalid(
            &path(),
            finalizer,
            "name is neither a standard finalizer name nor is it fully qualified",
        ));
    }
}

fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    let phase = text(sub(new, "status"), "phase");
    let path = || Path::new("status").child("Phase");
    match meta::is_deleting(new) {
        false if phase != "Active" => {
            errors.push(FieldError::invalid(&path(), phase, "may only be 'Active' if `deletionTimestamp` is empty"))
        }
        true if phase != "Terminating" => errors.push(FieldError::invalid(
            &path(),
            phase,
            "may only be 'Terminating' if `deletionTimestamp` is not empty",
        )),
        _ => {}
    }
}

/// What is wrong with the finalizers that the `finalize` subresource writes.
pub fn validate_finalize(namespace: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = super::meta::validate_update(namespace, old, &RULES);
    for (n, finalizer) in texts(sub(namespace, "spec"), "finalizers").enumerate() {
        check_finalizer(&mut errors, finalizer, || Path::new("spec").child("finalizers").index(n));
    }
    errors
}
