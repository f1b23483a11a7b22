//! PodDisruptionBudget: how many pods may be away at once.

use serde_json::{Value, json};

use super::at::{get, has, int, list, maybe_text, set, sub};
use super::check::{self, Errors, at_most_100_percent, member, non_negative, positive_int_or_percent};
use super::{GENERIC, Generation, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::names::NameRule;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    name: NameRule::PathSegment,
    has_status: true,
    prepare_create: |budget| {
        let none = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        set(budget, "status", none);
    },
    validate,
    validate_status_update: |new, _, errors| {
        let status = sub(new, "status");
        check::conditions(errors, list(status, "conditions"), &Path::new("status").child("conditions"));
        for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            non_negative(errors, int(status, field), || Path::new("status").child(field));
        }
    },
    ..GENERIC
};

fn validate(budget: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(budget, "spec"), Path::new("spec"));
    if has(spec, "minAvailable") && has(spec, "maxUnavailable") {
        let error = FieldError::invalid(&path, spec.clone(), "minAvailable and maxUnavailable cannot be both set");
        errors.push(error.with_shown("PodDisruptionBudgetSpec"));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if let Some(value) = get(spec, field) {
            positive_int_or_percent(errors, value, &path.child(field));
            at_most_100_percent(errors, value, &path.child(field));
        }
    }
    check::label_selector(errors, sub(spec, "selector"), &path.child("selector"));
    if let Some(policy) = maybe_text(spec, "unhealthyPodEvictionPolicy") {
        let path = path.child("unhealthyPodEvictionPolicy");
        member(errors, policy, &["AlwaysAllow", "IfHealthyBudget"], &path);
    }
}
