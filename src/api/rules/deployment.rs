//! Deployment: its strategy, its template and the selector that stays.

use serde_json::{Map, Value};

use super::at::{default, default_pointer, get, has, int, set, sub, sub_mut, text};
use super::check::{
    Errors, at_most_100_percent, immutable, int_or_percent_is_zero, non_negative, positive_int_or_percent,
};
use super::{GENERIC, Generation, Rules, Scope, features, pod, scale, template};
use crate::field::{FieldError, Path};
use crate::meta;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: set_defaults,
    validate,
    validate_update: Some(|new, old, errors| {
        validate(new, errors);
        check_selector_kept(new, old, errors);
    }),
    prepare_update: |new, old| {
        // Changed annotations count as a change of the specification, which is counted elsewhere.
        let annotations_changed = meta::annotations(new) != meta::annotations(old);
        if annotations_changed && !super::meta::desired_state_changed(new, old) {
            super::meta::bump_generation(new);
        }
    },
    prepare_status_update: |new, old| match meta::metadata(old).get("labels") {
        Some(labels) => meta::set(new, "labels", labels.clone()),
        None => meta::remove(new, "labels"),
    },
    validate_status_update: |new, old, errors| {
        check_counts(
            errors,
            sub(new, "status"),
            &["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"],
            &["updatedReplicas", "readyReplicas", "availableReplicas"],
            "readyReplicas",
        );
        check_collisions(errors, new, old);
    },
    warnings: named_after,
    gated: features::TEMPLATE,
    scale: Some(&scale::SELECTOR),
    ..GENERIC
};

/// Advice about a kind whose pods have its name, and about its template.
pub(super) fn named_after(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut said = super::meta::name_in_pods(object, old);
    said.extend(pod::of_template_change(object, old));
    said
}

/// How often a name was taken already is never fewer times than before.
pub(super) fn check_collisions(errors: &mut Errors, new: &Value, old: &Value) {
    let count = |object| int(sub(object, "status"), "collisionCount");
    if count(old).is_some_and(|before| count(new).is_none_or(|now| now < before)) {
        let now = count(new).unwrap_or(0);
        errors.push(FieldError::invalid(&Path::new("status").child("collisionCount"), now, "cannot be decremented"));
    }
}

fn set_defaults(deployment: &mut Value) {
    let Some(spec) = sub_mut(deployment, "spec") else { return };
    default_pointer(spec, "replicas", 1);
    if let Some(strategy) = sub_mut(spec, "strategy") {
        default(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = sub_mut(strategy, "rollingUpdate")
        {
            default_pointer(rolling, "maxUnavailable", "25%");
            default_pointer(rolling, "maxSurge", "25%");
        }
    }
    default_pointer(spec, "revisionHistoryLimit", 10);
    default_pointer(spec, "progressDeadlineSeconds", 600);
    template::set_defaults(deployment);
}

fn validate(deployment: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(deployment, "spec"), Path::new("spec"));
    non_negative(errors, int(spec, "replicas"), || path.child("replicas"));
    if let Some(selector) = template::check_selector(errors, spec, &path, "deployment") {
        check_template(errors, spec, &selector, &path);
    }
    check_strategy(errors, sub(spec, "strategy"), &path.child("strategy"));
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        non_negative(errors, int(spec, field), || path.child(field));
    }
    if let Some(deadline) = int(spec, "progressDeadlineSeconds")
        && deadline <= int(spec, "minReadySeconds").unwrap_or(0)
    {
        errors.push(FieldError::invalid(
            &path.child("progressDeadlineSeconds"),
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
}

/// The template of a Deployment or ReplicaSet.
pub(super) fn check_template(errors: &mut Errors, spec: &Value, selector: &crate::select::LabelSelector, path: &Path) {
    let (pods, path) = (sub(spec, "template"), path.child("template"));
    template::check_fit(errors, pods, selector, &path);
    template::check_template(errors, pods, &path);
    template::check_lasting(errors, pods, &path, "ReplicaSet");
}

fn check_strategy(errors: &mut Errors, strategy: &Value, path: &Path) {
    let rolling_path = path.child("rollingUpdate");
    match text(strategy, "type") {
        "Recreate" => {
            if has(strategy, "rollingUpdate") {
                errors.push(FieldError::forbidden(
                    &rolling_path,
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        "RollingUpdate" => match get(strategy, "rollingUpdate") {
            None => {
                errors.push(FieldError::required(&rolling_path, "this should be defaulted and never be nil"));
            }
            Some(rolling) => {
                let unavailable_path = rolling_path.child("maxUnavailable");
                let (unavailable, surge) = (get(rolling, "maxUnavailable"), get(rolling, "maxSurge"));
                positive_int_or_percent(errors, unavailable.unwrap_or(&Value::Null), &unavailable_path);
                positive_int_or_percent(errors, surge.unwrap_or(&Value::Null), &rolling_path.child("maxSurge"));
                if int_or_percent_is_zero(unavailable) && int_or_percent_is_zero(surge) {
                    errors.push(FieldError::invalid(
                        &unavailable_path,
                        unavailable.cloned().unwrap_or(0.into()),
                        "may not be 0 when `maxSurge` is 0",
                    ));
                }
                at_most_100_percent(errors, unavailable.unwrap_or(&Value::Null), &unavailable_path);
            }
        },
        _ => {
            let shown = if strategy.is_null() { Value::Object(Map::new()) } else { strategy.clone() };
            let error = FieldError::not_supported(path, shown, &["Recreate", "RollingUpdate"]);
            errors.push(error.with_shown("DeploymentStrategy"));
        }
    }
}

pub(super) fn check_selector_kept(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (sub(new, "spec"), sub(old, "spec"));
    immutable(errors, get(new, "selector"), get(old, "selector"), &Path::new("spec").child("selector"));
}

/// Counts of pods: none negative, `parts` no more than all, no more available than ready, which is called `ready`.
pub(super) fn check_counts(
    errors: &mut Errors,
    status: &Value,
    counts: &[&'static str],
    parts: &[&'static str],
    ready: &str,
) {
    let path = Path::new("status");
    non_negative(errors, int(status, "observedGeneration"), || path.child("observedGeneration"));
    for field in counts.iter().chain(&["terminatingReplicas", "collisionCount"]) {
        non_negative(errors, int(status, field), || path.child(*field));
    }
    let count = |field: &str| int(status, field).unwrap_or(0);
    for field in parts {
        if count(field) > count("replicas") {
            errors.push(FieldError::invalid(
                &path.child(*field),
                count(field),
                "cannot be greater than status.replicas",
            ));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        errors.push(FieldError::invalid(
            &path.child("availableReplicas"),
            count("availableReplicas"),
            format!("cannot be greater than {ready}"),
        ));
    }
}

/// The replicas of a status as a selectable field.
pub(super) fn replicas_of_status(object: &Value) -> String {
    int(sub(object, "status"), "replicas").unwrap_or(0).to_string()
}

/// A status that starts with no replicas.
pub(super) fn no_replicas(object: &mut Value) {
    set(object, "status", serde_json::json!({"replicas": 0}));
}
