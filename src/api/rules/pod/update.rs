//! What may change in a pod that exists: images, a shorter deadline, more tolerations, fewer gates.

use serde_json::{Value, json};

use super::super::at::{get, int, items_mut, keep, list, map, same, set, sub, sub_mut, text};
use super::super::check::Errors;
use super::super::features;
use super::{affinity, app_armor, containers, spec};
use crate::field::{FieldError, Path, quote};
use crate::golang;
use crate::meta;
use crate::names;

const MIRROR: &str = "kubernetes.io/config.mirror";
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
    check_gates(errors, new_spec, old_spec, &path.child("schedulingGates"));
    check_rest(errors, new_spec, old_spec, &path);
}

/// Annotations that say what a pod is stay as they are.
pub(super) fn check_annotation_updates(new: &Value, old: &Value, errors: &mut Errors) {
    let (now, before) = (meta::annotations(new), meta::annotations(old));
    let path = Path::new("metadata").child("annotations");
    let fixed = |key: &str| match key {
        MIRROR => Some("mirror pod annotation"),
        key if key.starts_with(app_armor::ANNOTATION) => Some("AppArmor annotations"),
        _ => None,
    };
    for (key, value) in before {
        if let Some(what) = fixed(key).filter(|_| now.get(key) != Some(value)) {
            errors.push(FieldError::forbidden(&path.key(key.as_str()), format!("may not remove or update {what}")));
        }
    }
    for key in now.keys().filter(|key| !before.contains_key(*key)) {
        if let Some(what) = fixed(key) {
            errors.push(FieldError::forbidden(&path.key(key.as_str()), format!("may not add {what}")));
        }
    }
}

fn check_gates(errors: &mut Errors, new: &Value, old: &Value, path: &Path) {
    let gates = |spec| list(spec, "schedulingGates").iter().map(|gate| text(gate, "name"));
    for (n, name) in gates(new).enumerate().filter(|(_, name)| !gates(old).any(|old| old == *name)) {
        errors.push(FieldError::forbidden(
            &path.index(n).child("name"),
            format!("only deletion is allowed, but found new scheduling gate '{name}'"),
        ));
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
    if !golang::same("PodSpec", &munged, old) {
        errors.push(FieldError::forbidden(
            path,
            format!(
                "pod updates may not change fields other than {UPDATABLE}\n{}",
                golang::difference("PodSpec", old, &munged)
            ),
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
    let (new_node, old_node) = (node_affinity(munged).clone(), node_affinity(old));
    if same(&new_node, old_node) {
        return;
    }
    check_narrower(errors, &new_node, old_node, &path.child("affinity").child("nodeAffinity"));
    match get(munged, "affinity") {
        None => set(munged, "affinity", json!({"nodeAffinity": old_node})),
        Some(affinity) if get(old, "affinity").is_none() && !has_pod_terms(affinity) => {
            super::super::at::remove(munged, "affinity");
        }
        Some(_) => {
            if let Some(affinity) = sub_mut(munged, "affinity") {
                keep(affinity, sub(old, "affinity"), "nodeAffinity");
            }
        }
    }
}

fn node_affinity(spec: &Value) -> &Value {
    sub(sub(spec, "affinity"), "nodeAffinity")
}

fn has_pod_terms(affinity: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|field| get(affinity, field).is_some())
}

/// What a node must have may grow, if there was something already, and not change otherwise.
fn check_narrower(errors: &mut Errors, new: &Value, old: &Value, path: &Path) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let path = path.child(REQUIRED).child("nodeSelectorTerms");
    let (terms, before) =
        (list(sub(new, REQUIRED), "nodeSelectorTerms"), list(sub(old, REQUIRED), "nodeSelectorTerms"));
    if !before.is_empty() && before.len() != terms.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.push(FieldError::invalid(&path, terms.to_vec(), why).with_shown("NodeSelectorTerm"));
    }
    for (n, (term, before)) in terms.iter().zip(before).enumerate() {
        const PARTS: [&str; 2] = ["matchExpressions", "matchFields"];
        let was_empty = PARTS.iter().all(|part| list(before, part).is_empty());
        let is_empty = PARTS.iter().all(|part| list(term, part).is_empty());
        let grows = PARTS.iter().all(|part| {
            let (now, before) = (list(term, part), list(before, part));
            now.len() >= before.len() && now.iter().zip(before).all(|(now, before)| same(now, before))
        });
        if !grows || (was_empty && !is_empty) {
            let why = "only additions are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid(&path.index(n), term.clone(), why).with_shown("NodeSelectorTerm"));
        }
    }
}

/// Keeps everything but the ephemeral containers.
pub fn prepare_ephemeral_containers(new: &mut Value, old: &Value) {
    let asked = sub(new, "spec").get("ephemeralContainers").cloned();
    keep_rest(new, old);
    if let Some(spec) = sub_mut(new, "spec") {
        match asked {
            Some(containers) => set(spec, "ephemeralContainers", containers),
            None => super::super::at::remove(spec, "ephemeralContainers"),
        }
    }
    count_generation(new, old);
}

/// Keeps specification, status and what of the metadata a status may not change.
pub(super) fn keep_rest(new: &mut Value, old: &Value) {
    super::super::meta::prepare_update(new, old);
    super::super::check::keep_metadata(new, old);
    keep(new, old, "spec");
    keep(new, old, "status");
}

/// Drops what is off, and counts a change of the specification.
pub(super) fn count_generation(new: &mut Value, old: &Value) {
    features::drop_disabled(features::POD, new, Some(old));
    if super::super::meta::desired_state_changed(new, old) {
        super::super::meta::bump_generation(new);
    }
}

/// What is wrong with a pod whose ephemeral containers were changed.
pub fn validate_ephemeral_containers(new: &Value, old: &Value) -> Vec<FieldError> {
    if meta::annotation(old, MIRROR).is_some() {
        return vec![FieldError::forbidden(&Path::new(""), "static pods do not support ephemeral containers")];
    }
    let mut errors = super::super::meta::validate_update(new, old, &super::RULES);
    spec::check_pod(new, &mut errors);
    check_annotation_updates(new, old, &mut errors);
    let path = Path::new("spec").child("ephemeralContainers");
    for before in list(sub(old, "spec"), "ephemeralContainers") {
        let name = text(before, "name");
        let now = list(sub(new, "spec"), "ephemeralContainers").iter().find(|now| text(now, "name") == name);
        let why = match now {
            None => format!("existing ephemeral containers {} may not be removed\n", quote(name)),
            Some(now) if !same(now, before) => {
                format!(
                    "existing ephemeral containers {} may not be changed\n{}",
                    quote(name),
                    golang::difference("EphemeralContainer", before, now)
                )
            }
            Some(_) => continue,
        };
        errors.push(FieldError::forbidden(&path, why));
    }
    errors
}
