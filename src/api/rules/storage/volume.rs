//! PersistentVolume: where data lies.

use serde_json::{Value, json};

use super::at::{
    default, default_pointer, get, get_mut, has, items_mut, list, map, maybe_text, remove, same, set, sub, sub_mut,
    text,
};
use super::check::{Errors, IMMUTABLE, immutable, invalid_each, member, required};
use super::{
    FieldError, GENERIC, Path, Quantity, Rules, Scope, check_access_modes, check_class_name, check_driver_name,
    check_positive, default_phase, names, node, pod, sources,
};
use crate::golang;
use crate::meta;

pub(in super::super) static VOLUME: Rules = Rules {
    scope: Scope::Cluster,
    has_status: true,
    default: |volume| {
        if let Some(spec) = sub_mut(volume, "spec") {
            default(spec, "persistentVolumeReclaimPolicy", "Retain");
            default_pointer(spec, "volumeMode", "Filesystem");
            if let Some(path) = get_mut(spec, "hostPath") {
                default_pointer(path, "type", "");
            }
        }
        default_phase(volume);
    },
    prepare_create: |volume| {
        set(volume, "status", json!({"phase": "Pending"}));
        if let (Some(now), Some(status)) =
            (meta::creation_timestamp(volume).map(str::to_owned), get_mut(volume, "status"))
        {
            set(status, "lastPhaseTransitionTime", now);
        }
    },
    validate: validate_volume,
    validate_update: Some(|new, old, errors| {
        // Kubernetes looks at the whole twice, and says twice what is wrong.
        validate_volume(new, errors);
        validate_volume(new, errors);
        check_source_kept(errors, new, old);
        check_rest_kept(errors, sub(new, "spec"), sub(old, "spec"));
    }),
    warnings,
    ..GENERIC
};

const SOURCES: &[(&str, &str)] = &[
    ("hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("nfs", "nfs"),
    ("rbd", "rbd"),
    ("quobyte", "quobyte"),
    ("cephfs", "cephFS"),
    ("iscsi", "iscsi"),
    ("cinder", "cinder"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO"),
    ("local", "local"),
    ("storageos", "storageos"),
    ("csi", "csi"),
];

fn validate_volume(volume: &Value, errors: &mut Errors) {
    check_spec(errors, sub(volume, "spec"), Some(meta::name(volume)), &Path::new("spec"));
}

/// The specification of the volume of that name, or of one that stands in a VolumeAttachment.
pub(super) fn check_spec(errors: &mut Errors, spec: &Value, name: Option<&str>, path: &Path) {
    let inline = name.is_none();
    const INLINE: &str = "may not be specified in the context of inline volumes";
    let refuse_inline = |errors: &mut Errors, field: &'static str| {
        errors.push(FieldError::forbidden(&path.child(field), INLINE));
    };
    if inline {
        if has(spec, "claimRef") {
            refuse_inline(errors, "claimRef");
        }
        if !map(spec, "capacity").is_empty() {
            refuse_inline(errors, "capacity");
        }
        if !has(spec, "csi") {
            errors
                .push(FieldError::required(&path.child("csi"), "has to be specified in the context of inline volumes"));
        }
    }
    if list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(&path.child("accessModes"), ""));
    }
    check_access_modes(errors, spec, path);
    if !inline {
        check_capacity(errors, spec, &path.child("capacity"));
    }
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    let policy_path = || path.child("persistentVolumeReclaimPolicy");
    match policy {
        "" => {}
        policy if !inline => member(errors, policy, &["Delete", "Recycle", "Retain"], &policy_path()),
        "Retain" => {}
        _ => {
            let why = "may only be Retain in the context of inline volumes";
            errors.push(FieldError::forbidden(&policy_path(), why));
        }
    }
    match get(spec, "nodeAffinity") {
        None => {}
        Some(_) if inline => refuse_inline(errors, "nodeAffinity"),
        Some(affinity) => {
            let path = path.child("nodeAffinity").child("required");
            match get(affinity, "required") {
                None => errors.push(FieldError::required(&path, "must specify required node constraints")),
                Some(selector) => pod::check_node_selector(errors, selector, &path),
            }
        }
    }
    check_sources(errors, spec, name.unwrap_or(""), path);
    if policy == "Recycle" && is_root(text(sub(spec, "hostPath"), "path")) {
        errors.push(FieldError::forbidden(&policy_path(), "may not be 'recycle' for a hostPath mount of '/'"));
    }
    match text(spec, "storageClassName") {
        "" => {}
        _ if inline => refuse_inline(errors, "storageClassName"),
        class => check_class_name(errors, class, || path.child("storageClassName")),
    }
    match maybe_text(spec, "volumeMode") {
        Some(mode) if !inline => member(errors, mode, &["Block", "Filesystem"], &path.child("volumeMode")),
        None | Some("Filesystem") => {}
        Some(_) => {
            let why = "may not specify volumeMode other than Filesystem in the context of inline volumes";
            errors.push(FieldError::forbidden(&path.child("volumeMode"), why));
        }
    }
    if let Some(class) = maybe_text(spec, "volumeAttributesClassName") {
        let class_path = || path.child("volumeAttributesClassName");
        match class {
            "" => errors.push(FieldError::required(&class_path(), "an empty string is disallowed")),
            class => check_class_name(errors, class, class_path),
        }
        if !has(spec, "csi") {
            let why = "has to be specified when using volumeAttributesClassName";
            errors.push(FieldError::required(&path.child("csi"), why));
        }
    }
}

/// Whether a path is the root, however it is written.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|step| matches!(step, "" | "." | ".."))
}

fn check_capacity(errors: &mut Errors, spec: &Value, path: &Path) {
    let capacity = map(spec, "capacity");
    if capacity.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.push(FieldError::not_supported(path, sub(spec, "capacity").clone(), &["storage"]));
    }
    for (name, amount) in capacity {
        if let Some(negative) = Quantity::from_json(amount).ok().filter(|amount| amount.is_negative()) {
            let why = "must be a valid resource quantity";
            errors.push(FieldError::invalid(&path.key(name.as_str()), negative.to_string(), why));
        }
        check_positive(errors, amount, &path.key(name.as_str()));
    }
}

fn check_sources(errors: &mut Errors, spec: &Value, name: &str, path: &Path) {
    let mut found = false;
    for (field, shown) in SOURCES {
        let Some(source) = get(spec, field) else { continue };
        // More of them are never counted against this one, but it is against those after it.
        if found && *field != "flexVolume" {
            errors.push(FieldError::forbidden(&path.child(*shown), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        let source_path = path.child(sources::shown(field));
        match *field {
            "hostPath" => pod::check_host_path(errors, source, &source_path),
            "nfs" => pod::check_nfs(errors, source, &source_path),
            "local" => {
                if required(errors, text(source, "path"), &source_path.child("path")) {
                    pod::no_backsteps(errors, text(source, "path"), &source_path.child("path"));
                }
                if !has(spec, "nodeAffinity") {
                    let why = "Local volume requires node affinity";
                    errors.push(FieldError::required(&path.child("nodeAffinity"), why));
                }
            }
            "csi" => check_csi(errors, source, &source_path),
            other => sources::check(errors, other, source, Some(name), &source_path),
        }
    }
    if !found {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn check_csi(errors: &mut Errors, source: &Value, path: &Path) {
    check_driver_name(errors, text(source, "driver"), &path.child("driver"));
    required(errors, text(source, "volumeHandle"), &path.child("volumeHandle"));
    for field in
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
    {
        let Some(secret) = get(source, field) else { continue };
        let path = path.child(field);
        for (part, check) in [("name", names::dns1123_subdomain as names::Check), ("namespace", names::dns1123_label)] {
            let value = text(secret, part);
            if required(errors, value, &path.child(part)) {
                invalid_each(errors, check(value), || path.child(part), value);
            }
        }
    }
}

/// Notes when the phase changed, unless whoever changed it says so.
pub fn stamp_phase(new: &mut Value, old: &Value, now: &str) {
    const TIME: &str = "lastPhaseTransitionTime";
    let (had, has) = (sub(old, "status"), sub(new, "status"));
    let changed = text(had, "phase") != text(has, "phase");
    let time = match changed {
        false if get(has, TIME).is_none() => get(had, TIME).cloned(),
        true if get(has, TIME).is_none_or(|time| Some(time) == get(had, TIME)) => Some(Value::from(now)),
        _ => None,
    };
    if let (Some(time), Some(status)) = (time, get_mut(new, "status")) {
        set(status, TIME, time);
    }
}

/// Advice about old annotations, ways to reclaim, and sources.
fn warnings(volume: &Value, _: Option<&Value>) -> Vec<String> {
    let (spec, path) = (sub(volume, "spec"), Path::new("spec"));
    let mut said = Vec::new();
    for (key, why) in [
        (
            "volume.beta.kubernetes.io/storage-class",
            "deprecated since v1.8; use \"storageClassName\" attribute instead",
        ),
        ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
    ] {
        if meta::annotation(volume, key).is_some() {
            said.push(format!("{}: {why}", Path::new("metadata").child("annotations").key(key)));
        }
    }
    if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        said.push(format!("{}: {why}", path.child("persistentVolumeReclaimPolicy")));
    }
    let required = sub(sub(spec, "nodeAffinity"), "required");
    let terms = path.child("nodeAffinity").child("required").child("nodeSelectorTerms");
    for (n, term) in list(required, "nodeSelectorTerms").iter().enumerate() {
        pod::of_node_term(&mut said, term, false, &terms.index(n));
    }
    for (field, shown, why) in [
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if has(spec, field) {
            said.push(format!("{}: {why}", path.child(shown)));
        }
    }
    said
}

/// Where a volume can be used stays, but for new names of old labels, and so does that it has a class of attributes.
fn check_rest_kept(errors: &mut Errors, new: &Value, old: &Value) {
    let mut before = sub(old, "nodeAffinity").clone();
    if !before.is_null() {
        let now = sub(new, "nodeAffinity");
        rename_labels(&mut before, now);
        if !same(&before, now) {
            let why = format!("{IMMUTABLE}, except for updating from beta label to GA");
            errors.push(
                FieldError::invalid(&Path::new("nodeAffinity"), now.clone(), why).with_shown("VolumeNodeAffinity"),
            );
        }
    }
    const CLASS: &str = "volumeAttributesClassName";
    if has(old, CLASS) && !has(new, CLASS) {
        let why = "update from non-nil value to nil is forbidden";
        errors.push(FieldError::forbidden(&Path::new("spec").child(CLASS), why));
    }
}

/// Gives old labels in the terms the new names that the same places of `now` have.
fn rename_labels(affinity: &mut Value, now: &Value) {
    const TERMS: &str = "nodeSelectorTerms";
    let now = list(sub(now, "required"), TERMS);
    let Some(required) = get_mut(affinity, "required") else { return };
    for (term, now) in items_mut(required, TERMS).iter_mut().zip(now) {
        for field in ["matchExpressions", "matchFields"] {
            for (expression, now) in items_mut(term, field).iter_mut().zip(list(now, field)) {
                let key = text(now, "key");
                if node::new_label(text(expression, "key")).unwrap_or("") == key {
                    set(expression, "key", key);
                }
            }
        }
    }
}

fn check_source_kept(errors: &mut Errors, new: &Value, old: &Value) {
    let (mut spec, old_spec) = (sub(new, "spec").clone(), sub(old, "spec"));
    // A secret for making a volume larger may be named later.
    const SECRET: &str = "controllerExpandSecretRef";
    if get(old_spec, "csi").is_some_and(|csi| !has(csi, SECRET))
        && let Some(csi) = get_mut(&mut spec, "csi")
    {
        remove(csi, SECRET);
    }
    let spec = &spec;
    if SOURCES.iter().any(|(field, _)| !same(sub(spec, field), sub(old_spec, field))) {
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("persistentvolumesource"),
            format!(
                "spec.persistentvolumesource is immutable after creation\n{}",
                golang::difference("PersistentVolumeSource", old_spec, spec),
            ),
        ));
    }
    immutable(errors, get(spec, "volumeMode"), get(old_spec, "volumeMode"), &Path::new("volumeMode"));
}
