//! StatefulSet: ordered pods with claims of their own; most of its specification stays.

use serde_json::{Value, json};

use super::at::{default, default_pointer, get, int, items_mut, keep, list, remove, same, set, sub, sub_mut, text};
use super::check::{
    Errors, at_most_100_percent, int_or_percent_is_zero, invalid_each, member, non_negative, positive_int_or_percent,
};
use super::deployment::{check_collisions, check_counts};
use super::{GENERIC, Generation, Rules, Scope, features, pod, scale, storage, template};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: set_defaults,
    name: names::NameRule::Label,
    prepare_create: |stateful| set(stateful, "status", json!({"availableReplicas": 0, "replicas": 0})),
    validate: |set, errors| validate(set, true, true, errors),
    validate_update: Some(validate_update),
    validate_status_update: |new, old, errors| {
        check_counts(
            errors,
            sub(new, "status"),
            &["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
            &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
            "status.readyReplicas",
        );
        check_collisions(errors, new, old);
    },
    warnings: |stateful, old| {
        let mut said = pod::of_template_change(stateful, old);
        let path = Path::new("spec").child("volumeClaimTemplates");
        for (n, claim) in list(sub(stateful, "spec"), "volumeClaimTemplates").iter().enumerate() {
            let path = if old.is_some() { path.index(n).child("Spec") } else { path.index(n) };
            said.extend(storage::fractions(sub(claim, "spec"), &path));
        }
        if int(sub(stateful, "spec"), "revisionHistoryLimit").is_some_and(|limit| limit < 0) {
            let why = "a negative value retains all historical revisions; a value >= 0 is recommended";
            said.push(format!("spec.revisionHistoryLimit: {why}"));
        }
        said
    },
    gated: features::TEMPLATE,
    scale: Some(&scale::SELECTOR),
    ..GENERIC
};

fn set_defaults(stateful: &mut Value) {
    let Some(spec) = sub_mut(stateful, "spec") else { return };
    default(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = sub_mut(spec, "updateStrategy") {
        if text(strategy, "type").is_empty() {
            set(strategy, "type", "RollingUpdate");
            default_pointer(strategy, "rollingUpdate", json!({}));
        }
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = super::at::get_mut(strategy, "rollingUpdate")
        {
            default_pointer(rolling, "partition", 0);
        }
    }
    if let Some(retention) = sub_mut(spec, "persistentVolumeClaimRetentionPolicy") {
        default(retention, "whenDeleted", "Retain");
        default(retention, "whenScaled", "Retain");
    }
    default_pointer(spec, "replicas", 1);
    default_pointer(spec, "revisionHistoryLimit", 10);
    for claim in items_mut(spec, "volumeClaimTemplates") {
        default(claim, "apiVersion", "v1");
        default(claim, "kind", "PersistentVolumeClaim");
        if let Some(spec) = sub_mut(claim, "spec") {
            default_pointer(spec, "volumeMode", "Filesystem");
        }
        if let Some(status) = sub_mut(claim, "status") {
            default(status, "phase", "Pending");
        }
    }
    template::set_defaults(stateful);
}

fn validate(stateful: &Value, is_new: bool, with_template: bool, errors: &mut Errors) {
    let (spec, path) = (sub(stateful, "spec"), Path::new("spec"));
    match text(spec, "podManagementPolicy") {
        "" => errors.push(FieldError::required(&path.child("podManagementPolicy"), "")),
        "OrderedReady" | "Parallel" => {}
        other => errors.push(FieldError::invalid(
            &path.child("podManagementPolicy"),
            other,
            "must be 'OrderedReady' or 'Parallel'",
        )),
    }
    check_strategy(errors, sub(spec, "updateStrategy"), &path.child("updateStrategy"));
    if let Some(retention) = get(spec, "persistentVolumeClaimRetentionPolicy") {
        for field in ["whenDeleted", "whenScaled"] {
            let path = path.child("persistentVolumeClaimRetentionPolicy").child(field);
            member(errors, text(retention, field), &["Retain", "Delete"], &path);
        }
    }
    if is_new {
        for (n, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
            let path = path.child("volumeClaimTemplates").index(n);
            storage::check_claim_spec(errors, sub(claim, "spec"), &path.child("spec"));
        }
    }
    for field in ["replicas", "minReadySeconds"] {
        non_negative(errors, int(spec, field), || path.child(field));
    }
    non_negative(errors, int(sub(spec, "ordinals"), "start"), || path.child("ordinals.start"));
    let service = text(spec, "serviceName");
    if is_new && !service.is_empty() {
        invalid_each(errors, names::dns1123_label(service), || path.child("serviceName"), service);
    }
    let selector = template::check_selector(errors, spec, &path, "statefulset");
    let template_path = path.child("template");
    if let Some(selector) = selector.filter(|_| with_template) {
        let pods = with_claims(spec);
        template::check_fit(errors, &pods, &selector, &template_path);
        template::check_template(errors, &pods, &template_path);
    }
    template::check_lasting(errors, sub(spec, "template"), &template_path, "StatefulSet");
}

/// The template as the pods will have it: with the volumes of the claims, without host names.
fn with_claims(spec: &Value) -> Value {
    let mut pods = sub(spec, "template").clone();
    let claims = list(spec, "volumeClaimTemplates");
    if let Some(pod_spec) = sub_mut(&mut pods, "spec") {
        remove(pod_spec, "subdomain");
        remove(pod_spec, "hostname");
        if !claims.is_empty() {
            let claim_names: Vec<&str> = claims.iter().map(meta::name).collect();
            let mut volumes: Vec<Value> = claim_names
                .iter()
                .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
                .collect();
            let own = list(pod_spec, "volumes").iter().filter(|volume| !claim_names.contains(&text(volume, "name")));
            volumes.extend(own.cloned());
            set(pod_spec, "volumes", volumes);
        }
    }
    pods
}

fn check_strategy(errors: &mut Errors, strategy: &Value, path: &Path) {
    let rolling_path = path.child("rollingUpdate");
    match text(strategy, "type") {
        "" => errors.push(FieldError::required(path, "")),
        "OnDelete" => {
            if let Some(rolling) = get(strategy, "rollingUpdate") {
                errors.push(FieldError::invalid(
                    &rolling_path,
                    rolling.clone(),
                    "only allowed for updateStrategy 'RollingUpdate'",
                ));
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = get(strategy, "rollingUpdate") else { return };
            non_negative(errors, int(rolling, "partition"), || rolling_path.child("partition"));
            if let Some(unavailable) = get(rolling, "maxUnavailable") {
                let path = rolling_path.child("maxUnavailable");
                positive_int_or_percent(errors, unavailable, &path);
                if int_or_percent_is_zero(Some(unavailable)) {
                    errors.push(FieldError::invalid(&path, unavailable.clone(), "cannot be 0"));
                }
                at_most_100_percent(errors, unavailable, &path);
            }
        }
        _ => {
            let error = FieldError::invalid(path, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'");
            errors.push(error.with_shown("StatefulSetUpdateStrategy"));
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    // What was found fault with later than it was written does not keep its owner from changing something else.
    let mut of_old = Errors::new();
    validate(old, false, true, &mut of_old);
    validate(new, false, of_old.is_empty(), errors);
    let (mut munged, old_spec) = (sub(new, "spec").clone(), sub(old, "spec"));
    for field in [
        "replicas",
        "template",
        "updateStrategy",
        "minReadySeconds",
        "ordinals",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
    ] {
        keep(&mut munged, old_spec, field);
    }
    if !same(&munged, old_spec) {
        errors.push(FieldError::forbidden(
            &Path::new("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}
