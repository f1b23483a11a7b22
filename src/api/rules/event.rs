//! Event, in the words of the core group and of `events.k8s.io`.
//!
//! Both are one kind with other names for the same fields: `regarding` is `involvedObject`, `note` is `message`.
//! The core group is lenient, since old clients write there; the newer one asks for a whole event that then stays.

use serde_json::Value;

use super::at::{get, has, int, sub, text};
use super::check::{Errors, immutable, immutable_struct, invalid_each};
use super::{GENERIC, Rules, Scope, Selectable};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names::{self, NameRule};

fn involved(event: &Value) -> &Value {
    get(event, "involvedObject").unwrap_or(sub(event, "regarding"))
}

fn reporter(event: &Value) -> &str {
    match text(event, "reportingComponent") {
        "" => text(event, "reportingController"),
        name => name,
    }
}

const SELECTABLE: &[Selectable] = &[
    ("involvedObject.kind", |event| text(involved(event), "kind").to_string()),
    ("involvedObject.namespace", |event| text(involved(event), "namespace").to_string()),
    ("involvedObject.name", |event| text(involved(event), "name").to_string()),
    ("involvedObject.uid", |event| text(involved(event), "uid").to_string()),
    ("involvedObject.apiVersion", |event| text(involved(event), "apiVersion").to_string()),
    ("involvedObject.resourceVersion", |event| text(involved(event), "resourceVersion").to_string()),
    ("involvedObject.fieldPath", |event| text(involved(event), "fieldPath").to_string()),
    ("regarding.kind", |event| text(involved(event), "kind").to_string()),
    ("regarding.namespace", |event| text(involved(event), "namespace").to_string()),
    ("regarding.name", |event| text(involved(event), "name").to_string()),
    ("regarding.uid", |event| text(involved(event), "uid").to_string()),
    ("regarding.apiVersion", |event| text(involved(event), "apiVersion").to_string()),
    ("regarding.resourceVersion", |event| text(involved(event), "resourceVersion").to_string()),
    ("regarding.fieldPath", |event| text(involved(event), "fieldPath").to_string()),
    ("reason", |event| text(event, "reason").to_string()),
    ("reportingComponent", |event| reporter(event).to_string()),
    ("reportingController", |event| reporter(event).to_string()),
    ("source", |event| {
        let source = get(event, "source").unwrap_or(sub(event, "deprecatedSource"));
        match text(source, "component") {
            "" => reporter(event).to_string(),
            component => component.to_string(),
        }
    }),
    ("type", |event| text(event, "type").to_string()),
];

pub(super) static CORE: Rules = Rules {
    name: NameRule::Any,
    scope: Scope::Namespaced,
    validate: |event, errors| validate(event, "reportingComponent", "message", errors),
    selectable: SELECTABLE,
    ..GENERIC
};

pub(super) static EVENTS: Rules = Rules {
    name: NameRule::Subdomain,
    scope: Scope::Namespaced,
    validate: validate_whole,
    validate_update: Some(validate_whole_update),
    selectable: SELECTABLE,
    ..GENERIC
};

fn validate(event: &Value, reporter_field: &'static str, note_field: &str, errors: &mut Errors) {
    let namespace = meta::namespace(event);
    let about = text(involved(event), "namespace");
    let mut mismatch = || {
        errors.push(FieldError::invalid(
            &Path::new("involvedObject").child("namespace"),
            about,
            "does not match event.namespace",
        ));
    };
    if !has(event, "eventTime") {
        let fits = if about.is_empty() { matches!(namespace, "" | "default") } else { about == namespace };
        if !fits {
            mismatch();
        }
    } else {
        if about.is_empty() && !matches!(namespace, "default" | "kube-system") {
            mismatch();
        }
        let reporter = reporter(event);
        let reporter_path = || Path::new(reporter_field);
        if reporter.is_empty() {
            errors.push(FieldError::required(&reporter_path(), ""));
        }
        invalid_each(errors, names::qualified_name(reporter), reporter_path, reporter);
        for field in ["reportingInstance", "action", "reason"] {
            let value = text(event, field);
            if value.is_empty() {
                errors.push(FieldError::required(&Path::new(field), ""));
            }
            if value.len() > 128 {
                errors.push(FieldError::invalid(&Path::new(field), "", "can have at most 128 characters"));
            }
        }
        if text(event, note_field).len() > 1024 {
            errors.push(FieldError::invalid(&Path::new("message"), "", "can have at most 1024 characters"));
        }
    }
    invalid_each(errors, names::dns1123_subdomain(namespace), || Path::new("namespace"), namespace);
}

fn validate_whole(event: &Value, errors: &mut Errors) {
    validate(event, "reportingController", "note", errors);
    check_series(errors, event);
    if !has(event, "eventTime") {
        errors.push(FieldError::required(&Path::new("eventTime"), ""));
    }
    let kind = text(event, "type");
    if kind != "Normal" && kind != "Warning" {
        errors.push(FieldError::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
    }
    for (field, name) in [("deprecatedFirstTimestamp", "firstTimestamp"), ("deprecatedLastTimestamp", "lastTimestamp")]
    {
        if has(event, field) {
            errors.push(FieldError::invalid(&Path::new(name), "", "needs to be unset"));
        }
    }
    if int(event, "deprecatedCount").unwrap_or(0) != 0 {
        errors.push(FieldError::invalid(&Path::new("count"), "", "needs to be unset"));
    }
    let source = sub(event, "deprecatedSource");
    if !text(source, "component").is_empty() || !text(source, "host").is_empty() {
        errors.push(FieldError::invalid(&Path::new("source"), "", "needs to be unset"));
    }
}

fn check_series(errors: &mut Errors, event: &Value) {
    let Some(series) = get(event, "series") else { return };
    if int(series, "count").unwrap_or(0) < 2 {
        errors.push(FieldError::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    if !has(series, "lastObservedTime") {
        errors.push(FieldError::required(&Path::new("series.lastObservedTime"), ""));
    }
}

fn validate_whole_update(new: &Value, old: &Value, errors: &mut Errors) {
    validate(new, "reportingController", "note", errors);
    if get(new, "series") != get(old, "series") {
        check_series(errors, new);
    }
    for (field, name) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        let (now, before) = (get(new, field), get(old, field));
        let empty = Value::from("");
        match field {
            "regarding" | "related" => immutable_struct(errors, now, before, "ObjectReference", &Path::new(name)),
            "deprecatedSource" => immutable_struct(errors, now, before, "EventSource", &Path::new(name)),
            _ if before.is_some_and(Value::is_string) && !field.ends_with("Time") => {
                immutable(errors, now.or(Some(&empty)), before, &Path::new(name));
            }
            _ => immutable(errors, now, before, &Path::new(name)),
        }
    }
}
