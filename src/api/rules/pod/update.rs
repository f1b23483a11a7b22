//! What may change in a pod that exists: images, a shorter deadline, more tolerations, fewer gates.

use serde_json::Value;

use super::super::at::{get, int, items_mut, keep, list, map, same, sub, sub_mut, text};
use super::super::check::Errors;
use super::{affinity, containers, spec};
use crate::field::{FieldError, Path, quote};
use crate::meta;
use crate::names;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn validate(new: &Value, old: &Value, errors: &mut Errors) {
    spec::check_pod(new, errors);
    check_annotation_updates(new, old, errors);
    let (new_spec, old_spec, path) = (sub(new, "spec"), sub(old, "spec"), Path::new("spec"));
    for field in ["containers", "initContainers"] {
        if !check_containers(errors, list(new_spec, field), list(old_spec, field), &path.child(field)) {
            return;
        }
    }
    if !check_deadline(errors, new_spec, old_spec, &path.child("activeDeadlineSeconds")) {
        return;
    }
    check_tolerations(errors, list(new_spec, "tolerations"), list(old_spec, "tolerations"), &path.child("tolerations"));
    let gates = |spec| list(spec, "schedulingGates").iter().map(|gate| text(gate, "name"));
    let added: Vec<String> =
        gates(new_spec).filter(|name| !gates(old_spec).any(|old| old == *name)).map(quote).collect();
    if !added.is_empty() {
        errors.push(FieldError::forbidden(
            &path.child("schedulingGates").index(0),
            format!("only deletion is allowed, but found new scheduling gate {}", added[0].trim_matches('"')),
        ));
    }
    check_rest(errors, new_spec, old_spec, &path);
}

fn check_annotation_updates(new: &Value, old: &Value, errors: &mut Errors) {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    let path = Path::new("metadata").child("annotations").key(MIRROR);
    let (now, before) = (meta::annotation(new, MIRROR), meta::annotation(old, MIRROR));
    match (before, now) {
        (None, Some(_)) => errors.push(FieldError::forbidden(&path, "may not add mirror pod annotation")),
        (Some(before), now) if now != Some(before) => {
            errors.push(FieldError::forbidden(&path, "may not remove or update mirror pod annotation"));
        }
        _ => {}
    }
}

fn check_containers(errors: &mut Errors, new: &[Value], old: &[Value], path: &Path) -> bool {
    if new.len() != old.len() {
        errors.push(FieldError::forbidden(path, "pod updates may not add or remove containers"));
        return false;
    }
    for (n, container) in new.iter().enumerate() {
        containers::check_image_padding(errors, container, &path.index(n));
    }
    true
}

/// Whether to go on.
fn check_deadline(errors: &mut Errors, new: &Value, old: &Value, path: &Path) -> bool {
    match (int(new, "activeDeadlineSeconds"), int(old, "activeDeadlineSeconds")) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.push(FieldError::invalid(path, new, names::range_message(0, i32::MAX.into())));
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.push(FieldError::invalid(path, new, "must be less than or equal to previous value"));
            false
        }
        (None, Some(_)) => {
            errors.push(FieldError::invalid(path, Value::Null, "must not update from a positive integer to nil value"));
            true
        }
        _ => true,
    }
}

fn check_tolerations(errors: &mut Errors, new: &[Value], old: &[Value], path: &Path) {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        super::super::at::remove(&mut toleration, "tolerationSeconds");
        toleration
    };
    let new_ones: Vec<Value> = new.iter().map(without_seconds).collect();
    if !old.iter().all(|old| new_ones.contains(&without_seconds(old))) {
        errors
            .push(FieldError::forbidden(path, "existing toleration can not be modified except its tolerationSeconds"));
        return;
    }
    affinity::check_tolerations(errors, new, path);
}

/// Everything else must stay as it was.
fn check_rest(errors: &mut Errors, new: &Value, old: &Value, path: &Path) {
    let mut munged = new.clone();
    for field in ["containers", "initContainers"] {
        for (container, old) in items_mut(&mut munged, field).iter_mut().zip(list(old, field)) {
            keep(container, old, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        keep(&mut munged, old, field);
    }
    let grace = "terminationGracePeriodSeconds";
    if int(old, grace).is_some_and(|seconds| seconds < 0) && int(new, grace) == Some(1) {
        keep(&mut munged, old, grace);
    }
    if !list(old, "schedulingGates").is_empty() {
        check_gated(errors, &mut munged, old, path);
    }
    if !same(&munged, old) {
        errors.push(FieldError::forbidden(
            path,
            format!("pod updates may not change fields other than {UPDATABLE}\n{}", differences(&munged, old)),
        ));
    }
}

/// A pod that waits at a gate may be made pickier about its node.
fn check_gated(errors: &mut Errors, munged: &mut Value, old: &Value, path: &Path) {
    let (new_selector, old_selector) = (map(munged, "nodeSelector"), map(old, "nodeSelector"));
    if old_selector.iter().any(|(key, value)| new_selector.get(key) != Some(value)) {
        errors.push(FieldError::invalid(
            &path.child("nodeSelector"),
            Value::Object(new_selector.clone()),
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        ));
    }
    keep(munged, old, "nodeSelector");
    let old_affinity = sub(sub(old, "affinity"), "nodeAffinity");
    if same(sub(sub(munged, "affinity"), "nodeAffinity"), old_affinity) {
        return;
    }
    if get(old, "affinity").is_none() && sub(munged, "affinity").as_object().is_some_and(|fields| fields.len() == 1) {
        keep(munged, old, "affinity");
    } else if let Some(affinity) = sub_mut(munged, "affinity") {
        keep(affinity, sub(old, "affinity"), "nodeAffinity");
    }
}

/// The fields of the specification that differ, one a line.
fn differences(new: &Value, old: &Value) -> String {
    let mut lines = String::new();
    let empty = serde_json::Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let mut fields: Vec<&String> = old.keys().chain(new.keys()).collect();
    fields.sort();
    fields.dedup();
    for field in fields {
        let (before, after) = (old.get(field).unwrap_or(&Value::Null), new.get(field).unwrap_or(&Value::Null));
        if !same(before, after) {
            lines.push_str(&format!("- {field}: {before}\n+ {field}: {after}\n"));
        }
    }
    lines
}

/// What is wrong with a pod whose ephemeral containers were changed.
pub fn validate_ephemeral_containers(new: &Value, old: &Value) -> Vec<FieldError> {
    if meta::annotation(old, "kubernetes.io/config.mirror").is_some() {
        return vec![FieldError::forbidden(&Path::new(""), "static pods do not support ephemeral containers")];
    }
    let mut errors = Errors::new();
    spec::check_pod(new, &mut errors);
    let path = Path::new("spec").child("ephemeralContainers");
    for before in list(sub(old, "spec"), "ephemeralContainers") {
        let name = text(before, "name");
        let now = list(sub(new, "spec"), "ephemeralContainers").iter().find(|now| text(now, "name") == name);
        match now {
            None => errors.push(FieldError::forbidden(
                &path,
                format!("existing ephemeral containers {} may not be removed\n", quote(name)),
            )),
            Some(now) if !same(now, before) => errors.push(FieldError::forbidden(
                &path,
                format!(
                    "existing ephemeral containers {} may not be changed\n{}",
                    quote(name),
                    differences(now, before)
                ),
            )),
            Some(_) => {}
        }
    }
    errors
}
