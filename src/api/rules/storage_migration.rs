//! StorageVersionMigration: which resource's objects are to be written anew, and how far that has come.

use serde_json::Value;

use super::at::{get, list, sub, text};
use super::check::{Errors, conditions, immutable, invalid_each, keep_metadata};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Cluster,
    has_status: true,
    prepare_status_update: keep_metadata,
    validate,
    validate_update: Some(|new, old, errors| {
        validate(new, errors);
        immutable(errors, get(new, "spec"), get(old, "spec"), &Path::new("spec"));
    }),
    validate_status_update,
    ..GENERIC
};

fn validate(migration: &Value, errors: &mut Errors) {
    let resource = sub(sub(migration, "spec"), "resource");
    let path = Path::new("spec").child("resource");
    match text(resource, "resource") {
        "" => errors.push(FieldError::required(&path.child("resource"), "resource is required to be set")),
        plural => joined(errors, &names::dns1035_label(plural), &path.child("resource"), plural),
    }
    let group = text(resource, "group");
    if !group.is_empty() {
        joined(errors, &names::dns1123_subdomain(group), &path.child("group"), group);
    }
}

fn joined(errors: &mut Errors, wrong: &[String], path: &Path, value: &str) {
    if !wrong.is_empty() {
        invalid_each(errors, vec![wrong.join(",")], || path.clone(), value);
    }
}

fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (status, path) = (sub(new, "status"), Path::new("status"));
    let (version, before) = (text(status, "resourceVersion"), text(sub(old, "status"), "resourceVersion"));
    let version_path = path.child("resourceVersion");
    if !version.is_empty()
        && let Err(why) = meta::compare_versions(version, version)
    {
        errors.push(FieldError::invalid(&version_path, version, why));
    }
    let path = path.child("conditions");
    conditions(errors, list(status, "conditions"), &path);
    if !before.is_empty() && before != version {
        errors.push(FieldError::invalid(&version_path, version, super::check::IMMUTABLE));
    }
    let mut refuse = |why: &str| {
        let conditions = get(status, "conditions").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&path, conditions, why));
    };
    if holds(new, "Succeeded") && holds(new, "Failed") {
        refuse("Both success and failed conditions cannot be true at the same time");
    }
    if holds(old, "Succeeded") && !holds(new, "Succeeded") {
        refuse("Success condition cannot be set to false once it is true");
    }
    if holds(old, "Failed") && !holds(new, "Failed") {
        refuse("Failed condition cannot be set to false once it is true");
    }
}

fn holds(migration: &Value, of: &str) -> bool {
    let first = list(sub(migration, "status"), "conditions").iter().find(|condition| text(condition, "type") == of);
    first.is_some_and(|condition| text(condition, "status") == "True")
}
