//! What an autoscaler goes by: sources of metrics and the targets that it holds them at.

use serde_json::Value;

use super::at::{get, has, int, sub, text};
use super::check::{Errors, invalid_each, member, required};
use super::{FieldError, Path, Quantity, names, resources};

const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

/// The sources, in the order in which they are looked at: only the first one given is.
const SOURCES: &[(&str, &str)] = &[
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

/// Which versions a reference may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Whatever it says.
    Any,
    /// One that can be read.
    Good,
    /// One of a group.
    Grouped,
}

impl Version {
    fn wrong(self, version: &str) -> Option<String> {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match self {
            Version::Any => None,
            _ if version.matches('/').count() > 1 => Some(format!("unexpected GroupVersion string: {version}")),
            Version::Grouped if group.is_empty() => Some("apiVersion must specify API group".to_owned()),
            Version::Good | Version::Grouped => None,
        }
    }
}

/// `of_objects`: the versions that described objects may have.
pub(super) fn check(errors: &mut Errors, metrics: &[Value], of_objects: Version, path: &Path) {
    for (n, metric) in metrics.iter().enumerate() {
        check_metric(errors, metric, of_objects, &path.index(n));
    }
}

/// Only what is not measured at pods can say that there is need for the first one.
pub(super) fn check_zero(errors: &mut Errors, metrics: &[Value], min: Option<i64>, path: &Path) {
    if min == Some(0) && !metrics.iter().any(|metric| matches!(text(metric, "type"), "Object" | "External")) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden(path, why));
    }
}

/// Whether a described object names a version that cannot be read.
pub(super) fn has_bad_version(metrics: &[Value]) -> bool {
    let described = |metric| sub(sub(metric, "object"), "describedObject");
    metrics.iter().any(|metric| Version::Good.wrong(text(described(metric), "apiVersion")).is_some())
}

/// An object by kind, name and version.
pub(super) fn check_reference(errors: &mut Errors, reference: &Value, versions: Version, path: &Path) {
    for field in ["kind", "name"] {
        let name = text(reference, field);
        if required(errors, name, &path.child(field)) {
            invalid_each(errors, names::path_segment(name), || path.child(field), name);
        }
    }
    let version = text(reference, "apiVersion");
    if let Some(why) = versions.wrong(version) {
        errors.push(FieldError::invalid(&path.child("apiVersion"), version, why));
    }
}

fn check_metric(errors: &mut Errors, metric: &Value, of_objects: Version, path: &Path) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), "must specify a metric source type"));
    }
    member(errors, kind, TYPES, &path.child("type"));
    let given: Vec<&str> = SOURCES.iter().map(|(field, _)| *field).filter(|field| has(metric, field)).collect();
    if let Some(first) = given.first() {
        check_source(errors, first, sub(metric, first), of_objects, &path.child((*first).to_owned()));
    }
    let wanted = SOURCES.iter().find(|(_, of)| *of == kind).map(|(field, _)| *field);
    match wanted {
        None => member(errors, kind, TYPES, &path.child("type")),
        Some(wanted) if !has(metric, wanted) => {
            let why = "must populate information for the given metric source";
            errors.push(FieldError::required(&path.child(wanted), why));
        }
        Some(_) => {}
    }
    if given.len() > 1 || wanted.is_none() && given.is_empty() {
        for field in SOURCES.iter().map(|(field, _)| *field) {
            if given.contains(&field) && Some(field) != wanted {
                errors.push(FieldError::forbidden(&path.child(field), "must populate the given metric source only"));
            }
        }
    }
}

fn check_source(errors: &mut Errors, kind: &str, source: &Value, of_objects: Version, path: &Path) {
    let (target, target_path) = (sub(source, "target"), path.child("target"));
    match kind {
        "resource" => {
            if text(source, "name").is_empty() {
                errors.push(FieldError::required(&path.child("name"), "must specify a resource name"));
            }
        }
        "containerResource" => {
            match text(source, "name") {
                "" => errors.push(FieldError::required(&path.child("name"), "must specify a resource name")),
                name => resources::container_resource_name(errors, name, || path.child("name")),
            }
            match text(source, "container") {
                "" => errors.push(FieldError::required(&path.child("container"), "must specify a container")),
                name => invalid_each(errors, names::dns1123_label(name), || path.child("container"), name),
            }
        }
        _ => {
            if kind == "object" {
                let described = sub(source, "describedObject");
                check_reference(errors, described, of_objects, &path.child("describedObject"));
            }
            let path = path.child("metric").child("name");
            match text(sub(source, "metric"), "name") {
                "" => errors.push(FieldError::required(&path, "must specify a metric name")),
                name => invalid_each(errors, names::path_segment(name), || path.clone(), name),
            }
        }
    }
    check_target(errors, target, &target_path);
    check_given(errors, kind, target, &target_path);
}

/// Which of a target's values a source must have.
fn check_given(errors: &mut Errors, kind: &str, target: &Value, path: &Path) {
    let [value, average, utilization] = ["value", "averageValue", "averageUtilization"].map(|field| has(target, field));
    let missing = match kind {
        "object" if !value && !average => Some(("averageValue", "must set either a target value or averageValue")),
        "external" if !value && !average => {
            Some(("averageValue", "must set either a target value for metric or a per-pod target"))
        }
        "pods" if !average => Some(("averageValue", "must specify a positive target averageValue")),
        "resource" | "containerResource" if !utilization && !average => {
            Some(("averageUtilization", "must set either a target raw value or a target utilization"))
        }
        _ => None,
    };
    if let Some((field, why)) = missing {
        errors.push(FieldError::required(&path.child(field), why));
    }
    let both = match kind {
        "external" if value && average => {
            Some(("value", "may not set both a target value for metric and a per-pod target"))
        }
        "resource" | "containerResource" if utilization && average => {
            Some(("averageValue", "may not set both a target raw value and a target utilization"))
        }
        _ => None,
    };
    if let Some((field, why)) = both {
        errors.push(FieldError::forbidden(&path.child(field), why));
    }
}

fn check_target(errors: &mut Errors, target: &Value, path: &Path) {
    let kind = text(target, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), "must specify a metric target type"));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&path.child("type"), kind, why));
    }
    for field in ["value", "averageValue"] {
        if let Some(amount) = get(target, field).and_then(|amount| Quantity::from_json(amount).ok())
            && amount <= Quantity::ZERO
        {
            errors.push(FieldError::invalid(&path.child(field), amount.to_string(), "must be positive"));
        }
    }
    if let Some(percent) = int(target, "averageUtilization").filter(|percent| *percent < 1) {
        errors.push(FieldError::invalid(&path.child("averageUtilization"), percent, "must be greater than 0"));
    }
}
