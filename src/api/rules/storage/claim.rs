//! PersistentVolumeClaim: what is asked for, and from what it is filled.

use serde_json::{Map, Value, json};

use super::at::{
    default_pointer, get, get_mut, has, keep, list, map, maybe_text, remove, same, set, sub, sub_mut, text,
};
use super::check::{self, Errors, IMMUTABLE, immutable, invalid_each, member, required};
use super::{
    FieldError, GENERIC, Path, Quantity, Rules, Scope, check_access_modes, check_class_name, check_positive,
    default_phase, names, resources,
};
use crate::golang;
use crate::meta;

pub(in super::super) static CLAIM: Rules = Rules {
    scope: Scope::Namespaced,
    has_status: true,
    default: |claim| {
        if let Some(spec) = sub_mut(claim, "spec") {
            default_pointer(spec, "volumeMode", "Filesystem");
        }
        default_phase(claim);
    },
    prepare_create: |claim| {
        set(claim, "status", json!({"phase": "Pending"}));
        if let Some(spec) = sub_mut(claim, "spec") {
            settle_sources(spec, None);
        }
    },
    prepare_update: |new, old| {
        if let Some(spec) = sub_mut(new, "spec") {
            settle_sources(spec, Some(sub(old, "spec")));
        }
    },
    validate: |claim, errors| check_claim_spec(errors, sub(claim, "spec"), &Path::new("spec")),
    validate_update: Some(validate_claim_update),
    validate_status_update,
    warnings: |claim, _| {
        let annotation = meta::annotation(claim, BETA_CLASS);
        let old = annotation.map(|_| format!("metadata.annotations[{BETA_CLASS}]: {OLD_CLASS}"));
        old.into_iter().chain(fractions(sub(claim, "spec"), &Path::new("spec"))).collect()
    },
    ..GENERIC
};

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const OLD_CLASS: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";

/// Amounts that are no whole bytes.
pub(in super::super) fn fractions(spec: &Value, path: &Path) -> Vec<String> {
    let of = |list: &'static str| {
        let amount = map(sub(spec, "resources"), list).get("storage")?;
        let quantity = Quantity::from_json(amount).ok().filter(|quantity| quantity.millis() % 1000 != 0)?;
        let path = path.child("resources").child(list).key("storage");
        Some(format!("{path}: fractional byte value \"{quantity}\" is invalid, must be an integer"))
    };
    ["requests", "limits"].into_iter().filter_map(of).collect()
}

/// `dataSource` and `dataSourceRef` say the same. What the older field may not name is dropped, as it always was, when
/// the newer one is not there; a source in another namespace is dropped, too.
fn settle_sources(spec: &mut Value, old: Option<&Value>) {
    let old = old.unwrap_or(&Value::Null);
    let elsewhere = get(spec, "dataSourceRef").is_some_and(|source| !text(source, "namespace").is_empty());
    if elsewhere && !has(old, "dataSourceRef") {
        remove(spec, "dataSourceRef");
    }
    let in_use = has(old, "dataSource") || has(old, "dataSourceRef");
    if !in_use && !has(spec, "dataSourceRef") && !is_known_source(sub(spec, "dataSource")) {
        remove(spec, "dataSource");
    }
    equal_sources(spec);
}

fn is_known_source(source: &Value) -> bool {
    matches!(
        (text(source, "apiGroup"), text(source, "kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// Copies the one of both source fields that is there.
fn equal_sources(spec: &mut Value) {
    let copied = |source: &Value| {
        let of = |field: &str| Some((field.to_owned(), get(source, field)?.clone()));
        Value::Object(["apiGroup", "kind", "name"].into_iter().filter_map(of).collect::<Map<_, _>>())
    };
    let (field, source) = match (get(spec, "dataSource"), get(spec, "dataSourceRef")) {
        (Some(source), None) => ("dataSourceRef", copied(source)),
        (None, Some(source)) if text(source, "namespace").is_empty() => ("dataSource", copied(source)),
        _ => return,
    };
    set(spec, field, source);
}

/// The specification of a claim, or of a template of one.
pub(in super::super) fn check_claim_spec(errors: &mut Errors, spec: &Value, path: &Path) {
    if list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(&path.child("accessModes"), "at least 1 access mode is required"));
    }
    check::label_selector(errors, sub(spec, "selector"), &path.child("selector"));
    check_access_modes(errors, spec, path);
    let amount_path = path.child("resources").key("storage");
    match map(sub(spec, "resources"), "requests").get("storage") {
        None => errors.push(FieldError::required(&amount_path, "")),
        Some(amount) => {
            if check_positive(errors, amount, &amount_path) {
                resources::quantity_value(errors, "storage", amount, || amount_path.clone());
            }
        }
    }
    let class = |errors: &mut Errors, field: &'static str| {
        let class = text(spec, field);
        if !class.is_empty() {
            check_class_name(errors, class, || path.child(field));
        }
    };
    class(errors, "storageClassName");
    if let Some(mode) = maybe_text(spec, "volumeMode") {
        member(errors, mode, &["Block", "Filesystem"], &path.child("volumeMode"));
    }
    check_sources(errors, spec, path);
    class(errors, "volumeAttributesClassName");
}

fn check_sources(errors: &mut Errors, spec: &Value, path: &Path) {
    for field in ["dataSource", "dataSourceRef"] {
        let Some(source) = get(spec, field) else { continue };
        let path = path.child(field);
        let (group, kind, namespace) = (text(source, "apiGroup"), text(source, "kind"), text(source, "namespace"));
        required(errors, text(source, "name"), &path.child("name"));
        required(errors, kind, &path.child("kind"));
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&path, kind, why));
        }
        if !group.is_empty() {
            invalid_each(errors, names::dns1123_subdomain(group), || path.child("apiGroup"), group);
        }
        if !namespace.is_empty() {
            invalid_each(errors, names::dns1123_label(namespace), || path.child("namespace"), namespace);
        }
    }
    let (Some(source), Some(reference)) = (get(spec, "dataSource"), get(spec, "dataSourceRef")) else { return };
    let why = if !text(reference, "namespace").is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if ["apiGroup", "kind", "name"].iter().any(|field| !same(sub(source, field), sub(reference, field))) {
        "must match dataSourceRef"
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, json!({}), why));
}

fn storage(holder: &Value, field: &str) -> Quantity {
    map(holder, field).get("storage").and_then(|amount| Quantity::from_json(amount).ok()).unwrap_or(Quantity::ZERO)
}

fn validate_claim_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, old_spec, path) = (sub(new, "spec"), sub(old, "spec"), Path::new("spec"));
    check_claim_spec(errors, spec, &path);
    // What was stored before sources were made equal is no change.
    let mut old_spec = old_spec.clone();
    equal_sources(&mut old_spec);
    let old_spec = &old_spec;
    let mut munged = spec.clone();
    if text(old_spec, "volumeName").is_empty() {
        keep(&mut munged, old_spec, "volumeName");
    }
    check_class_kept(errors, new, old, &mut munged);
    if text(sub(new, "status"), "phase") == "Bound" {
        keep(&mut munged, old_spec, "volumeAttributesClassName");
        if let Some(requests) = get_mut(&mut munged, "resources").and_then(|resources| sub_mut(resources, "requests")) {
            keep(requests, sub(sub(old_spec, "resources"), "requests"), "storage");
        }
    }
    if !golang::same("PersistentVolumeClaimSpec", &munged, old_spec) {
        errors.push(FieldError::forbidden(
            &path,
            format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
                golang::difference("PersistentVolumeClaimSpec", old_spec, &munged),
            ),
        ));
    }
    let (size, old_size) =
        (storage(sub(spec, "resources"), "requests"), storage(sub(old_spec, "resources"), "requests"));
    if size < old_size && size <= storage(sub(old, "status"), "capacity") {
        errors.push(FieldError::forbidden(
            &path.child("resources").child("requests").child("storage"),
            "field can not be less than status.capacity",
        ));
    }
    immutable(errors, get(spec, "volumeMode"), get(old_spec, "volumeMode"), &Path::new("volumeMode"));
    const ATTRIBUTES: &str = "volumeAttributesClassName";
    if get(spec, ATTRIBUTES) != get(old_spec, ATTRIBUTES) && has(sub(old, "status"), "currentVolumeAttributesClassName")
    {
        let what = match maybe_text(spec, ATTRIBUTES) {
            None => "nil",
            Some("") => "empty string",
            Some(_) => return,
        };
        let why = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        errors.push(FieldError::forbidden(&path.child(ATTRIBUTES), why));
    }
}

/// The class stays. One that was named by an annotation may move to its field, and one that was not named may be named.
fn check_class_kept(errors: &mut Errors, new: &Value, old: &Value, munged: &mut Value) {
    const FIELD: &str = "storageClassName";
    let (spec, old_spec) = (sub(new, "spec"), sub(old, "spec"));
    let (annotated, before) = (meta::annotation(new, BETA_CLASS), meta::annotation(old, BETA_CLASS));
    let class = maybe_text(spec, FIELD);
    let was_named = has(old_spec, FIELD);
    let moves = before.is_some() && !was_named && class == before && (annotated.is_none() || annotated == before);
    if moves {
        return keep(munged, old_spec, FIELD);
    }
    let (annotated, before_text) = (annotated.unwrap_or(""), before.unwrap_or(""));
    if annotated != before_text {
        let path = Path::new("metadata").child("annotations").child(BETA_CLASS);
        errors.push(FieldError::invalid(&path, annotated, IMMUTABLE));
    }
    if class.is_some() && !was_named && (before.is_none() || before == class) {
        keep(munged, old_spec, FIELD);
    }
}

const RESIZES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    let (status, path) = (sub(new, "status"), Path::new("status"));
    if list(sub(new, "spec"), "accessModes").is_empty() {
        errors.push(FieldError::required(&Path::new("Spec").child("accessModes"), ""));
    }
    let negative = |amount: &Value| Quantity::from_json(amount).ok().filter(|amount| amount.is_negative());
    let check_sign = |errors: &mut Errors, amount: &Value, path: &Path| {
        let found = negative(amount);
        if let Some(amount) = &found {
            errors.push(FieldError::invalid(path, amount.to_string(), "must be a valid resource quantity"));
        }
        found.is_none()
    };
    for (name, amount) in map(status, "capacity") {
        check_sign(errors, amount, &path.child("capacity").key(name.as_str()));
    }
    let statuses = path.child("allocatedResourceStatuses");
    for (name, state) in map(status, "allocatedResourceStatuses") {
        check_key(errors, name, &statuses);
        if !RESIZES.contains(&state.as_str().unwrap_or("")) {
            errors.push(FieldError::not_supported(&statuses, name.as_str(), RESIZES));
        }
    }
    let allocated = path.child("allocatedResources");
    for (name, amount) in map(status, "allocatedResources") {
        let path = allocated.key(name.as_str());
        if check_key(errors, name, &allocated) && check_sign(errors, amount, &path) {
            resources::quantity_value(errors, "storage", amount, || path.clone());
        }
    }
}

/// A name of a resource of a claim: `storage`, or one with a domain.
fn check_key(errors: &mut Errors, name: &str, path: &Path) -> bool {
    let wrong = names::qualified_name(name);
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    let supported = !is_native || name == "storage";
    if wrong.is_empty() && !supported {
        errors.push(FieldError::not_supported(path, name, &["storage"]));
    }
    let fine = wrong.is_empty() && supported;
    invalid_each(errors, wrong, || path.clone(), name);
    fine
}
