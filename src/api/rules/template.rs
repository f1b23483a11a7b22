//! The pod template of a workload, and the selector that has to fit it.

use serde_json::Value;

use super::at::{get, get_mut, has, list, sub, text};
use super::check::{self, Errors};
use super::pod;
use crate::field::{FieldError, Path};
use crate::meta;
use crate::select::LabelSelector;

/// Completes the template in `spec.template`.
pub(super) fn set_defaults(object: &mut Value) {
    if let Some(spec) = get_mut(object, "spec").and_then(|spec| get_mut(spec, "template")) {
        pod::default_template(spec);
    }
}

/// A `PodTemplateSpec`.
pub(super) fn check_template(errors: &mut Errors, template: &Value, path: &Path) {
    check::labels(errors, meta::labels(template), || path.child("labels"));
    check::annotations(errors, meta::annotations(template), || path.child("annotations"));
    pod::check_annotations(errors, template, &path.child("annotations"));
    let spec = sub(template, "spec");
    pod::check_spec(errors, spec, None, &path.child("spec"));
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
    pod::check_app_armor_match(errors, template, &path.child("spec"));
}

/// A label selector that is required and may not be empty; answers it when it could be read.
pub(super) fn check_selector(errors: &mut Errors, spec: &Value, path: &Path, kind: &str) -> Option<LabelSelector> {
    let path = path.child("selector");
    match get(spec, "selector") {
        None => errors.push(FieldError::required(&path, "")),
        Some(selector) => {
            check::label_selector(errors, selector, &path);
            if check::selector_is_empty(selector) {
                errors.push(FieldError::invalid(
                    &path,
                    selector.clone(),
                    format!("empty selector is invalid for {kind}"),
                ));
            }
        }
    }
    match LabelSelector::from_json(sub(spec, "selector")) {
        Ok(selector) => Some(selector),
        Err(_) => {
            let detail = if kind == "statefulset" { "" } else { "invalid label selector" };
            errors.push(FieldError::invalid(&path, sub(spec, "selector").clone(), detail));
            None
        }
    }
}

/// The labels of a template as messages show them: null where there are none.
pub(super) fn shown_labels(template: &Value) -> Value {
    sub(sub(template, "metadata"), "labels").clone()
}

/// The selector must choose the template's labels.
pub(super) fn check_fit(errors: &mut Errors, template: &Value, selector: &LabelSelector, path: &Path) {
    if !selector.is_everything() && !selector.matches(meta::labels(template)) {
        errors.push(FieldError::invalid(
            &path.child("metadata").child("labels"),
            shown_labels(template),
            "`selector` does not match template `labels`",
        ));
    }
}

/// Templates of workloads that keep their pods running: the policy is `Always`, there is no deadline.
pub(super) fn check_lasting(errors: &mut Errors, template: &Value, path: &Path, kind: &str) {
    let spec = sub(template, "spec");
    let policy = text(spec, "restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(&path.child("spec").child("restartPolicy"), policy, &["Always"]));
    }
    if has(spec, "activeDeadlineSeconds") {
        errors.push(FieldError::forbidden(
            &path.child("spec").child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        ));
    }
}
