//! HorizontalPodAutoscaler, in its two versions.

use serde_json::{Value, json};

use super::at::{default_pointer, get, has, int, list, maybe_text, set, sub, sub_mut, text};
use super::check::{Errors, invalid_each, member, non_negative, positive, required};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    has_status: true,
    default: set_defaults,
    prepare_create: |_| {},
    validate,
    validate_status_update: |new, _, errors| {
        for field in ["currentReplicas", "desiredReplicas"] {
            non_negative(errors, int(sub(new, "status"), field), || Path::new("status").child(field));
        }
    },
    ..GENERIC
};

fn set_defaults(scaler: &mut Value) {
    let is_v1 = crate::meta::api_version(scaler) == "autoscaling/v1";
    let Some(spec) = sub_mut(scaler, "spec") else { return };
    default_pointer(spec, "minReplicas", 1);
    if is_v1 {
        return;
    }
    if list(spec, "metrics").is_empty() {
        let cpu = json!([{
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
        }]);
        set(spec, "metrics", cpu);
    }
    let Some(behavior) = super::at::get_mut(spec, "behavior") else { return };
    if let Some(up) = sub_mut(behavior, "scaleUp") {
        default_pointer(up, "stabilizationWindowSeconds", 0);
        default_pointer(up, "selectPolicy", "Max");
        if list(up, "policies").is_empty() {
            set(
                up,
                "policies",
                json!([
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                ]),
            );
        }
    }
    if let Some(down) = sub_mut(behavior, "scaleDown") {
        default_pointer(down, "selectPolicy", "Max");
        if list(down, "policies").is_empty() {
            set(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
        }
    }
}

fn validate(scaler: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(scaler, "spec"), Path::new("spec"));
    let (min, max) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or(0));
    if let Some(min) = min.filter(|min| *min < 1) {
        errors.push(FieldError::invalid(&path.child("minReplicas"), min, "must be greater than or equal to 1"));
    }
    let max_path = path.child("maxReplicas");
    if max == 0 {
        errors.push(FieldError::required(&max_path, "must be set and greater than 0"));
    } else if max < 0 {
        errors.push(FieldError::invalid(&max_path, max, "must be greater than or equal to 1"));
    }
    if min.is_some_and(|min| max < min) {
        errors.push(FieldError::invalid(&max_path, max, "must be greater than or equal to `minReplicas`"));
    }
    let (target, target_path) = (sub(spec, "scaleTargetRef"), path.child("scaleTargetRef"));
    for field in ["kind", "name"] {
        let name = text(target, field);
        if required(errors, name, &target_path.child(field)) {
            invalid_each(errors, names::path_segment(name), || target_path.child(field), name);
        }
    }
    for (n, metric) in list(spec, "metrics").iter().enumerate() {
        check_metric(errors, metric, &path.child("metrics").index(n));
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = get(sub(spec, "behavior"), direction) {
            check_behavior(errors, rules, &path.child("behavior").child(direction));
        }
    }
}

fn check_metric(errors: &mut Errors, metric: &Value, path: &Path) {
    const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
    const FIELDS: &[(&str, &str)] = &[
        ("object", "Object"),
        ("external", "External"),
        ("pods", "Pods"),
        ("resource", "Resource"),
        ("containerResource", "ContainerResource"),
    ];
    let kind = text(metric, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), "must specify a metric source type"));
    }
    member(errors, kind, TYPES, &path.child("type"));
    for (field, of) in FIELDS {
        match (has(metric, field), *of == kind) {
            (false, true) => errors.push(FieldError::required(
                &path.child(*field),
                "must populate information for the given metric source",
            )),
            (true, false) => {
                errors.push(FieldError::forbidden(&path.child(*field), "must populate the given metric source only"))
            }
            _ => {}
        }
    }
}

fn check_behavior(errors: &mut Errors, rules: &Value, path: &Path) {
    const MAX_WINDOW_S: i64 = 3600;
    const MAX_PERIOD_S: i64 = 1800;
    let window_path = || path.child("stabilizationWindowSeconds");
    match int(rules, "stabilizationWindowSeconds") {
        Some(seconds) if seconds < 0 => {
            errors.push(FieldError::invalid(&window_path(), seconds, "must be greater than or equal to zero"));
        }
        Some(seconds) if seconds > MAX_WINDOW_S => errors.push(FieldError::invalid(
            &window_path(),
            seconds,
            format!("must be less than or equal to {MAX_WINDOW_S}"),
        )),
        _ => {}
    }
    if let Some(policy) = maybe_text(rules, "selectPolicy") {
        member(errors, policy, &["Disabled", "Max", "Min"], &path.child("selectPolicy"));
    }
    let policies = list(rules, "policies");
    if policies.is_empty() {
        errors.push(FieldError::required(&path.child("policies"), "must specify at least one Policy"));
    }
    for (n, policy) in policies.iter().enumerate() {
        let path = path.child("policies").index(n);
        member(errors, text(policy, "type"), &["Percent", "Pods"], &path.child("type"));
        positive(errors, int(policy, "value").unwrap_or(0), &path.child("value"));
        let period = int(policy, "periodSeconds").unwrap_or(0);
        positive(errors, period, &path.child("periodSeconds"));
        if period > MAX_PERIOD_S {
            errors.push(FieldError::invalid(
                &path.child("periodSeconds"),
                period,
                format!("must be less than or equal to {MAX_PERIOD_S}"),
            ));
        }
    }
}
