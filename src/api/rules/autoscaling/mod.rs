//! HorizontalPodAutoscaler, in its two versions.

mod metrics;

use serde_json::{Value, json};

use self::metrics::Version;
use super::at::{self, default_pointer, get, int, list, maybe_text, set, sub, sub_mut, text};
use super::check::{self, Errors, member, non_negative, positive};
use super::{GENERIC, Rules, Scope, resources};
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    has_status: true,
    default: set_defaults,
    prepare_create: |scaler| set(scaler, "status", new_status(scaler)),
    validate: |scaler, errors| validate(scaler, None, errors),
    validate_update: Some(|new, old, errors| validate(new, Some(sub(old, "spec")), errors)),
    validate_status_update: |new, _, errors| {
        for field in ["currentReplicas", "desiredReplicas"] {
            non_negative(errors, int(sub(new, "status"), field), || Path::new("status").child(field));
        }
    },
    ..GENERIC
};

/// How busy pods may be when nobody says it.
const DEFAULT_PERCENT: i64 = 80;

fn set_defaults(scaler: &mut Value) {
    let is_v1 = crate::meta::api_version(scaler) == "autoscaling/v1";
    let Some(spec) = sub_mut(scaler, "spec") else { return };
    default_pointer(spec, "minReplicas", 1);
    if is_v1 {
        default_pointer(spec, "targetCPUUtilizationPercentage", DEFAULT_PERCENT);
        return;
    }
    if list(spec, "metrics").is_empty() {
        let cpu = json!([{
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": DEFAULT_PERCENT}},
        }]);
        set(spec, "metrics", cpu);
    }
    let Some(behavior) = super::at::get_mut(spec, "behavior") else { return };
    if let Some(up) = sub_mut(behavior, "scaleUp") {
        default_pointer(up, "stabilizationWindowSeconds", 0);
        default_pointer(up, "selectPolicy", "Max");
        let policies = json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]);
        default_pointer(up, "policies", policies);
    }
    if let Some(down) = sub_mut(behavior, "scaleDown") {
        default_pointer(down, "selectPolicy", "Max");
        default_pointer(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

fn new_status(scaler: &Value) -> Value {
    match crate::meta::api_version(scaler) == "autoscaling/v1" {
        true => json!({"currentReplicas": 0, "desiredReplicas": 0}),
        false => json!({"currentMetrics": null, "desiredReplicas": 0}),
    }
}

/// What stood in an object before is not found fault with again.
fn validate(scaler: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (sub(scaler, "spec"), Path::new("spec"));
    let (min, max) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or(0));
    let lowest = i64::from(old.and_then(|old| int(old, "minReplicas")) != Some(0));
    if let Some(min) = min.filter(|min| *min < lowest) {
        let why = format!("must be greater than or equal to {lowest}");
        errors.push(FieldError::invalid(&path.child("minReplicas"), min, why));
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
    let target = sub(spec, "scaleTargetRef");
    let kept = |old: &Value| {
        let old = sub(old, "scaleTargetRef");
        ["apiVersion", "kind"].iter().all(|field| text(old, field) == text(target, field))
    };
    let version = match old.is_some_and(kept) {
        true => Version::Any,
        false if text(target, "kind") == "ReplicationController" => Version::Good,
        false => Version::Grouped,
    };
    metrics::check_reference(errors, target, version, &path.child("scaleTargetRef"));
    let is_v1 = crate::meta::api_version(scaler) == "autoscaling/v1";
    let of_v1 = is_v1.then(|| of_v1(spec));
    let all = of_v1.as_deref().unwrap_or_else(|| list(spec, "metrics"));
    let of_objects = match old.is_some_and(|old| metrics::has_bad_version(list(old, "metrics"))) {
        true => Version::Any,
        false => Version::Good,
    };
    metrics::check(errors, all, of_objects, &path.child("metrics"));
    metrics::check_zero(errors, all, min, &path.child("metrics"));
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = get(sub(spec, "behavior"), direction) {
            check_behavior(errors, rules, &path.child("behavior").child(direction));
        }
    }
}

/// The metrics that a target of the first version stands for.
fn of_v1(spec: &Value) -> Vec<Value> {
    let target = int(spec, "targetCPUUtilizationPercentage").unwrap_or(DEFAULT_PERCENT);
    vec![
        json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}),
    ]
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
    if let Some(tolerance) = get(rules, "tolerance").and_then(|amount| Quantity::from_json(amount).ok())
        && tolerance.is_negative()
    {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&path.child("tolerance"), tolerance.to_string(), why));
    }
}
