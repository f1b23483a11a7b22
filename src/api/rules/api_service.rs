//! APIService: a version of a group, and who serves it.

use serde_json::{Value, json};

use super::at::{flag, get, int, keep, list, set, sub, text};
use super::check::{Errors, invalid_each, keep_metadata, member};
use super::{GENERIC, Rules, Scope, client_config};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names::{self, NameRule};

pub(super) static RULES: Rules = Rules {
    name: NameRule::PathSegment,
    scope: Scope::Cluster,
    known_finalizers: false,
    default: |service| {
        if let Some(spec) = super::at::get_mut(service, "spec") {
            client_config::default_service(spec);
        }
    },
    prepare_create: |service| {
        let status = if get(sub(service, "spec"), "service").is_none() {
            json!({"conditions": [local_condition(meta::metadata(service).get("creationTimestamp"))]})
        } else {
            json!({})
        };
        set(service, "status", status);
    },
    prepare_update: |new, old| keep(new, old, "status"),
    prepare_status_update: keep_metadata,
    validate: check,
    validate_status_update: |new, _, errors| {
        for (n, condition) in list(sub(new, "status"), "conditions").iter().enumerate() {
            let path = Path::new("status").child("conditions").index(n).child("status");
            member(errors, text(condition, "status"), &["True", "False", "Unknown"], &path);
        }
    },
    ..GENERIC
};

/// The condition of what this server serves itself.
fn local_condition(since: Option<&Value>) -> Value {
    json!({
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
        "lastTransitionTime": since,
    })
}

fn check(service: &Value, errors: &mut Errors) {
    let spec = sub(service, "spec");
    let path = Path::new("spec");
    let (group, version) = (text(spec, "group"), text(spec, "version"));
    let required = format!("{version}.{group}");
    let name = meta::name(service);
    if names::path_segment(name).is_empty() && name != required {
        let why = format!("must be `spec.version+\".\"+spec.group`: {}", crate::field::quote(&required));
        errors.push(FieldError::invalid(&Path::new("metadata").child("name"), name, why));
    }
    if group.is_empty() && version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(&path.child("group"), why));
    }
    if !group.is_empty() {
        invalid_each(errors, names::dns1123_subdomain(group), || path.child("group"), group);
    }
    invalid_each(errors, names::dns1035_label(version), || path.child("version"), version);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = int(spec, field).unwrap_or(0);
        if !(1..=most).contains(&priority) {
            let why = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(&path.child(field), priority, why));
        }
    }
    check_backend(errors, spec, &path);
}

fn check_backend(errors: &mut Errors, spec: &Value, path: &Path) {
    let bundle = text(spec, "caBundle");
    let insecure = flag(spec, "insecureSkipTLSVerify") == Some(true);
    let Some(backend) = get(spec, "service") else {
        if !bundle.is_empty() {
            let bytes = bundle.trim_end_matches('=').len() * 3 / 4;
            let why = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(&path.child("caBundle"), format!("{bytes} bytes"), why));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(&path.child("insecureSkipTLSVerify"), true, why));
        }
        return;
    };
    let at = path.child("service");
    for field in ["namespace", "name"] {
        if text(backend, field).is_empty() {
            errors.push(FieldError::required(&at.child(field), ""));
        }
    }
    client_config::check_port(errors, int(backend, "port").unwrap_or(0), &at.child("port"));
    if insecure && !bundle.is_empty() {
        let why = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(&path.child("insecureSkipTLSVerify"), true, why));
    }
}
