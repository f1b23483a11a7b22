//! PersistentVolume, PersistentVolumeClaim and StorageClass.

use serde_json::Value;

use super::at::{
    default, default_pointer, get, get_mut, has, keep, list, map, maybe_text, same, set, sub, sub_mut, text, texts,
};
use super::check::{self, Errors, immutable, invalid_each, member, required};
use super::{GENERIC, Rules, Scope, pod, resources};
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

pub(super) static CLAIM: Rules = Rules {
    scope: Scope::Namespaced,
    has_status: true,
    default: |claim| {
        if let Some(spec) = sub_mut(claim, "spec") {
            default_pointer(spec, "volumeMode", "Filesystem");
        }
        default_phase(claim);
    },
    prepare_create: |claim| set(claim, "status", serde_json::json!({"phase": "Pending"})),
    validate: |claim, errors| check_claim_spec(errors, sub(claim, "spec"), &Path::new("spec")),
    validate_update: Some(validate_claim_update),
    ..GENERIC
};

fn default_phase(object: &mut Value) {
    if let Some(status) = sub_mut(object, "status") {
        default(status, "phase", "Pending");
    }
}

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn check_access_modes(errors: &mut Errors, spec: &Value, detail: &str, path: &Path) {
    let path = path.child("accessModes");
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        errors.push(FieldError::required(&path, detail));
    }
    for mode in texts(spec, "accessModes") {
        member(errors, mode, MODES, &path);
    }
    let alone = texts(spec, "accessModes").any(|mode| mode == "ReadWriteOncePod");
    if alone && texts(spec, "accessModes").any(|mode| mode != "ReadWriteOncePod" && MODES.contains(&mode)) {
        errors.push(FieldError::forbidden(&path, "may not use ReadWriteOncePod with other access modes"));
    }
}

fn check_positive(errors: &mut Errors, amount: &Value, path: &Path) -> bool {
    let Ok(quantity) = Quantity::from_json(amount) else { return true };
    let positive = quantity > Quantity::ZERO;
    if !positive {
        errors.push(FieldError::invalid(path, quantity.to_string(), "must be greater than zero"));
    }
    positive
}

/// The specification of a claim, or of a template of one.
pub(super) fn check_claim_spec(errors: &mut Errors, spec: &Value, path: &Path) {
    check_access_modes(errors, spec, "at least 1 access mode is required", path);
    check::label_selector(errors, sub(spec, "selector"), &path.child("selector"));
    let amount_path = path.child("resources").key("storage");
    match map(sub(spec, "resources"), "requests").get("storage") {
        None => errors.push(FieldError::required(&amount_path, "")),
        Some(amount) => {
            if check_positive(errors, amount, &amount_path) {
                resources::quantity_value(errors, "storage", amount, || amount_path.clone());
            }
        }
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let class = text(spec, field);
        if !class.is_empty() {
            invalid_each(errors, names::dns1123_subdomain(class), || path.child(field), class);
        }
    }
    if let Some(mode) = maybe_text(spec, "volumeMode") {
        member(errors, mode, &["Block", "Filesystem"], &path.child("volumeMode"));
    }
    for field in ["dataSource", "dataSourceRef"] {
        let Some(source) = get(spec, field) else { continue };
        let path = path.child(field);
        required(errors, text(source, "name"), &path.child("name"));
        required(errors, text(source, "kind"), &path.child("kind"));
        if text(source, "apiGroup").is_empty() && text(source, "kind") != "PersistentVolumeClaim" {
            errors.push(FieldError::invalid(
                &path,
                text(source, "kind"),
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ));
        }
    }
}

fn storage(holder: &Value, field: &str) -> Quantity {
    map(holder, field).get("storage").and_then(|amount| Quantity::from_json(amount).ok()).unwrap_or(Quantity::ZERO)
}

fn validate_claim_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, old_spec, path) = (sub(new, "spec"), sub(old, "spec"), Path::new("spec"));
    check_claim_spec(errors, spec, &path);
    let mut munged = spec.clone();
    if text(old_spec, "volumeName").is_empty() {
        keep(&mut munged, old_spec, "volumeName");
    }
    if !has(old_spec, "storageClassName") {
        keep(&mut munged, old_spec, "storageClassName");
    }
    if text(sub(new, "status"), "phase") == "Bound" {
        keep(&mut munged, old_spec, "volumeAttributesClassName");
        if let Some(requests) = get_mut(&mut munged, "resources").and_then(|resources| sub_mut(resources, "requests")) {
            keep(requests, sub(sub(old_spec, "resources"), "requests"), "storage");
        }
    }
    if !same(&munged, old_spec) {
        errors.push(FieldError::forbidden(
            &path,
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n",
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
}

pub(super) static VOLUME: Rules = Rules {
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
    prepare_create: |volume| set(volume, "status", serde_json::json!({"phase": "Pending"})),
    validate: validate_volume,
    validate_update: Some(|new, old, errors| {
        validate_volume(new, errors);
        check_source_kept(errors, new, old);
    }),
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
    let (spec, path) = (sub(volume, "spec"), Path::new("spec"));
    check_access_modes(errors, spec, "", &path);
    let capacity = map(spec, "capacity");
    let capacity_path = path.child("capacity");
    if capacity.is_empty() {
        errors.push(FieldError::required(&capacity_path, ""));
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let shown = if capacity.is_empty() { Value::Null } else { Value::Object(capacity.clone()) };
        errors.push(FieldError::not_supported(&capacity_path, shown, &["storage"]));
    }
    for (name, amount) in capacity {
        check_positive(errors, amount, &capacity_path.key(name.as_str()));
    }
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        member(errors, policy, &["Delete", "Recycle", "Retain"], &path.child("persistentVolumeReclaimPolicy"));
    }
    let affinity = get(sub(spec, "nodeAffinity"), "required");
    if has(spec, "nodeAffinity") {
        let path = path.child("nodeAffinity").child("required");
        match affinity {
            None => errors.push(FieldError::required(&path, "must specify required node constraints")),
            Some(selector) => pod::check_node_selector(errors, selector, &path),
        }
    }
    let mut found = false;
    for (field, shown) in SOURCES {
        let Some(source) = get(spec, field) else { continue };
        if found {
            errors.push(FieldError::forbidden(&path.child(*shown), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        let source_path = path.child(*field);
        match *field {
            "hostPath" => pod::check_host_path(errors, source, &source_path),
            "nfs" => pod::check_nfs(errors, source, &source_path),
            "local" => {
                required(errors, text(source, "path"), &source_path.child("path"));
                if affinity.is_none() {
                    errors
                        .push(FieldError::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
                }
            }
            "csi" => {
                check_driver_name(errors, text(source, "driver"), &source_path.child("driver"));
                required(errors, text(source, "volumeHandle"), &source_path.child("volumeHandle"));
            }
            _ => {}
        }
    }
    if !found {
        errors.push(FieldError::required(&path, "must specify a volume type"));
    }
    if policy == "Recycle" && text(sub(spec, "hostPath"), "path") == "/" {
        errors.push(FieldError::forbidden(
            &path.child("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        ));
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        invalid_each(errors, names::dns1123_subdomain(class), || path.child("storageClassName"), class);
    }
    if let Some(mode) = maybe_text(spec, "volumeMode") {
        member(errors, mode, &["Block", "Filesystem"], &path.child("volumeMode"));
    }
}

fn check_source_kept(errors: &mut Errors, new: &Value, old: &Value) {
    let (spec, old_spec) = (sub(new, "spec"), sub(old, "spec"));
    if SOURCES.iter().any(|(field, _)| !same(sub(spec, field), sub(old_spec, field))) {
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("persistentvolumesource"),
            "spec.persistentvolumesource is immutable after creation\n",
        ));
    }
    immutable(errors, get(spec, "volumeMode"), get(old_spec, "volumeMode"), &Path::new("volumeMode"));
}

pub(super) fn check_driver_name(errors: &mut Errors, name: &str, path: &Path) {
    if !required(errors, name, path) {
        return;
    }
    if name.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    invalid_each(errors, names::dns1123_subdomain(&name.to_ascii_lowercase()), || path.clone(), name);
}

pub(super) static CLASS: Rules = Rules {
    scope: Scope::Cluster,
    default: |class| {
        default_pointer(class, "reclaimPolicy", "Delete");
        default_pointer(class, "volumeBindingMode", "Immediate");
    },
    validate: validate_class,
    validate_update: Some(|new, old, errors| {
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            immutable(errors, get(new, field), get(old, field), &Path::new(field));
        }
    }),
    ..GENERIC
};

fn validate_class(class: &Value, errors: &mut Errors) {
    let provisioner = text(class, "provisioner");
    if required(errors, provisioner, &Path::new("provisioner")) {
        let lower = provisioner.to_ascii_lowercase();
        invalid_each(errors, names::qualified_name(&lower), || Path::new("provisioner"), &lower);
    }
    let parameters = map(class, "parameters");
    let path = || Path::new("parameters");
    if parameters.len() > 512 {
        errors.push(FieldError::too_long(&path(), 512));
    } else {
        if parameters.contains_key("") {
            errors.push(FieldError::invalid(&path(), "", "field can not be empty."));
        }
        let size: usize = parameters.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
        if size > 256 * 1024 {
            errors.push(FieldError::too_long(&path(), 256 * 1024));
        }
    }
    let policy = text(class, "reclaimPolicy");
    if !policy.is_empty() {
        member(errors, policy, &["Delete", "Retain"], &Path::new("reclaimPolicy"));
    }
    match maybe_text(class, "volumeBindingMode") {
        None => errors.push(FieldError::required(&Path::new("volumeBindingMode"), "")),
        Some(mode) => member(errors, mode, &["Immediate", "WaitForFirstConsumer"], &Path::new("volumeBindingMode")),
    }
}
