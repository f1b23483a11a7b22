//! ReplicaSet, and the ReplicationController from which it came.

use serde_json::Value;

use super::at::{default_pointer, get, int, map, set, sub, sub_mut};
use super::check::{Errors, non_negative};
use super::deployment::{
    check_counts, check_selector_kept, check_template, named_after, no_replicas, replicas_of_status,
};
use super::{GENERIC, Generation, Rules, Scope, features, pod, scale, template};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::select::LabelSelector;

const COUNTS: &[&str] = &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
const PARTS: &[&str] = &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: |set| {
        if let Some(spec) = sub_mut(set, "spec") {
            default_pointer(spec, "replicas", 1);
        }
        template::set_defaults(set);
    },
    prepare_create: no_replicas,
    validate,
    validate_update: Some(|new, old, errors| {
        validate(new, errors);
        check_selector_kept(new, old, errors);
    }),
    validate_status_update: |new, _, errors| check_counts(errors, sub(new, "status"), COUNTS, PARTS, "readyReplicas"),
    selectable: &[("status.replicas", replicas_of_status)],
    warnings: named_after,
    gated: features::TEMPLATE,
    scale: Some(&scale::SELECTOR),
    ..GENERIC
};

fn validate(set: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(set, "spec"), Path::new("spec"));
    for field in ["replicas", "minReadySeconds"] {
        non_negative(errors, int(spec, field), || path.child(field));
    }
    if let Some(selector) = template::check_selector(errors, spec, &path, "deployment") {
        check_template(errors, spec, &selector, &path);
    }
}

pub(super) static CONTROLLER: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: default_controller,
    prepare_create: no_replicas,
    validate: validate_controller,
    validate_update: None,
    validate_status_update: |new, _, errors| check_counts(errors, sub(new, "status"), COUNTS, PARTS, "readyReplicas"),
    selectable: &[("status.replicas", replicas_of_status)],
    warnings: |new, old| match old {
        None => named_after(new, None),
        // Kubernetes looks at the old template.
        Some(before) => {
            let changed = meta::generation(new) != meta::generation(before);
            let path = Path::new("spec").child("template");
            if changed { pod::of_template(sub(sub(before, "spec"), "template"), &path) } else { Vec::new() }
        }
    },
    gated: features::TEMPLATE,
    scale: Some(&scale::PLAIN),
    ..GENERIC
};

fn default_controller(controller: &mut Value) {
    let labels = meta::labels(sub(sub(controller, "spec"), "template")).clone();
    if !labels.is_empty() && meta::labels(controller).is_empty() {
        meta::set(controller, "labels", Value::Object(labels.clone()));
    }
    if let Some(spec) = sub_mut(controller, "spec") {
        default_pointer(spec, "replicas", 1);
        if map(spec, "selector").is_empty() && !labels.is_empty() {
            set(spec, "selector", Value::Object(labels));
        }
    }
    template::set_defaults(controller);
}

fn validate_controller(controller: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(controller, "spec"), Path::new("spec"));
    non_negative(errors, int(spec, "minReadySeconds"), || path.child("minReadySeconds"));
    if map(spec, "selector").is_empty() {
        errors.push(FieldError::required(&path.child("selector"), ""));
    }
    match int(spec, "replicas") {
        None => errors.push(FieldError::required(&path.child("replicas"), "")),
        replicas => non_negative(errors, replicas, || path.child("replicas")),
    }
    let path = path.child("template");
    let Some(pods) = get(spec, "template") else {
        errors.push(FieldError::required(&path, ""));
        return;
    };
    let pairs = map(spec, "selector").iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or("")));
    template::check_fit(errors, pods, &LabelSelector::from_set(pairs), &path);
    template::check_template(errors, pods, &path);
    template::check_lasting(errors, pods, &path, "ReplicationController");
}
