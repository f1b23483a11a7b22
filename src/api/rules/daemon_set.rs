//! DaemonSet: one pod a node, and how it is replaced.

use serde_json::{Map, Value, json};

use super::at::{default, default_pointer, get, has, int, map_mut, same, set, sub, sub_mut, text};
use super::check::{self, Errors, at_most_100_percent, int_or_percent_is_zero, non_negative, positive_int_or_percent};
use super::deployment::{check_collisions, check_selector_kept};
use super::{GENERIC, Generation, Rules, Scope, features, pod, template};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::select::LabelSelector;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: set_defaults,
    prepare_create: |daemons| {
        number_template(daemons, 1);
        let none = json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0});
        set(daemons, "status", none);
    },
    prepare_update: |new, old| {
        let template = |daemons| sub(sub(daemons, "spec"), "template");
        let before = meta::annotation(old, TEMPLATE_GENERATION).and_then(|number| number.parse().ok()).unwrap_or(0);
        number_template(new, before + i64::from(!same(template(new), template(old))));
    },
    validate,
    validate_update: Some(|new, old, errors| {
        check_selector_kept(new, old, errors);
        validate(new, errors);
    }),
    validate_status_update: |new, old, errors| {
        let status = sub(new, "status");
        for field in [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ] {
            non_negative(errors, int(status, field), || Path::new("status").child(field));
        }
        check_collisions(errors, new, old);
    },
    warnings: |new, old| {
        let number = |daemons| meta::annotation(daemons, TEMPLATE_GENERATION);
        let changed = old.is_none_or(|old| number(old) != number(new));
        let path = Path::new("spec").child("template");
        if changed { pod::of_template(sub(sub(new, "spec"), "template"), &path) } else { Vec::new() }
    },
    gated: features::TEMPLATE,
    ..GENERIC
};

/// Which template it is; older clients read it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn number_template(daemons: &mut Value, number: i64) {
    if let Some(annotations) = sub_mut(daemons, "metadata").and_then(|metadata| map_mut(metadata, "annotations")) {
        annotations.insert(TEMPLATE_GENERATION.into(), number.to_string().into());
    }
}

fn set_defaults(daemons: &mut Value) {
    let Some(spec) = sub_mut(daemons, "spec") else { return };
    if let Some(strategy) = sub_mut(spec, "updateStrategy") {
        default(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = sub_mut(strategy, "rollingUpdate")
        {
            default_pointer(rolling, "maxUnavailable", 1);
            default_pointer(rolling, "maxSurge", 0);
        }
    }
    default_pointer(spec, "revisionHistoryLimit", 10);
    template::set_defaults(daemons);
}

fn validate(daemons: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(daemons, "spec"), Path::new("spec"));
    let selector_path = path.child("selector");
    check::label_selector(errors, sub(spec, "selector"), &selector_path);
    let (pods, template_path) = (sub(spec, "template"), path.child("template"));
    if let Ok(selector) = LabelSelector::from_json(sub(spec, "selector"))
        && !selector.matches(meta::labels(pods))
    {
        errors.push(FieldError::invalid(
            &template_path.child("metadata").child("labels"),
            template::shown_labels(pods),
            "`selector` does not match template `labels`",
        ));
    }
    if has(spec, "selector") && check::selector_is_empty(sub(spec, "selector")) {
        errors.push(FieldError::invalid(
            &selector_path,
            sub(spec, "selector").clone(),
            "empty selector is invalid for daemonset",
        ));
    }
    template::check_template(errors, pods, &template_path);
    template::check_lasting(errors, pods, &template_path, "DaemonSet");
    non_negative(errors, int(spec, "minReadySeconds"), || path.child("minReadySeconds"));
    check_strategy(errors, sub(spec, "updateStrategy"), &path.child("updateStrategy"));
    non_negative(errors, int(spec, "revisionHistoryLimit"), || path.child("revisionHistoryLimit"));
}

fn check_strategy(errors: &mut Errors, strategy: &Value, path: &Path) {
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let path = path.child("rollingUpdate");
            let Some(rolling) = get(strategy, "rollingUpdate") else {
                errors.push(FieldError::required(&path, ""));
                return;
            };
            let (unavailable, surge) = (get(rolling, "maxUnavailable"), get(rolling, "maxSurge"));
            let pairs = [("maxUnavailable", unavailable), ("maxSurge", surge)];
            for (field, value) in pairs {
                positive_int_or_percent(errors, value.unwrap_or(&Value::Null), &path.child(field));
            }
            for (field, value) in pairs {
                at_most_100_percent(errors, value.unwrap_or(&Value::Null), &path.child(field));
            }
            match (int_or_percent_is_zero(unavailable), int_or_percent_is_zero(surge)) {
                (false, false) => errors.push(FieldError::invalid(
                    &path.child("maxSurge"),
                    surge.cloned().unwrap_or(Value::Null),
                    "may not be set when maxUnavailable is non-zero",
                )),
                (true, true) => {
                    errors.push(FieldError::required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
                }
                _ => {}
            }
        }
        _ => {
            let shown = if strategy.is_null() { Value::Object(Map::new()) } else { strategy.clone() };
            let error = FieldError::not_supported(path, shown, &["RollingUpdate", "OnDelete"]);
            errors.push(error.with_shown("DaemonSetUpdateStrategy"));
        }
    }
}
