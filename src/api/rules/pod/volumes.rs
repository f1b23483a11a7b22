//! Volumes of a pod: each has one source, and what each source needs; and where containers mount them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::at::{flag, get, has, int, list, sub, text};
use super::super::check::{Errors, invalid_each, member, required, word};
use super::super::{sources, storage};
use super::environment::{VOLUME_FIELDS, check_field, check_resource_field};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;

/// The sound volumes of a pod by name.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// In the order in which they are looked for: field, name of the field in errors about its presence.
const SOURCES: &[(&str, &str)] = &[
    ("emptyDir", "emptyDir"),
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];

/// Checks the volumes; `pod` is there when they are of a pod and no template.
pub(super) fn check_volumes<'a>(errors: &mut Errors, spec: &'a Value, pod: Option<&Value>, path: &Path) -> Volumes<'a> {
    let pod_name = pod.map_or("", meta::name);
    let mut sound = Volumes::new();
    let volumes = list(spec, "volumes");
    for (n, volume) in volumes.iter().enumerate() {
        let path = path.index(n);
        let name = text(volume, "name");
        let before = errors.len();
        check_source(errors, volume, name, pod, &path);
        if required(errors, name, &path.child("name")) {
            invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
        }
        if sound.contains_key(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        if errors.len() == before {
            sound.insert(name, volume);
        }
        let claim = text(sub(volume, "persistentVolumeClaim"), "claimName");
        let created = |other: &Value| {
            has(other, "ephemeral")
                && claim.strip_prefix(pod_name).and_then(|rest| rest.strip_prefix('-')) == Some(text(other, "name"))
        };
        if !pod_name.is_empty() && !claim.is_empty() && volumes.iter().any(created) {
            errors.push(FieldError::invalid(
                &path.child("persistentVolumeClaim").child("claimName"),
                claim,
                "must not reference a PVC that gets created for an ephemeral volume",
            ));
        }
    }
    sound
}

fn check_source(errors: &mut Errors, volume: &Value, name: &str, pod: Option<&Value>, path: &Path) {
    let mut found = false;
    for (field, shown) in SOURCES {
        let Some(source) = get(volume, field) else { continue };
        if found {
            errors.push(FieldError::forbidden(&path.child(*shown), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        check_one(errors, field, source, (name, pod), path, &path.child(sources::shown(field)));
    }
    if !found {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn check_one(
    errors: &mut Errors,
    field: &str,
    source: &Value,
    (name, pod): (&str, Option<&Value>),
    volume_path: &Path,
    path: &Path,
) {
    let mut need = |fields: &[&'static str]| {
        for field in fields {
            required(errors, text(source, field), &path.child(*field));
        }
    };
    match field {
        "emptyDir" => {
            let limit = get(source, "sizeLimit").and_then(|limit| Quantity::from_json(limit).ok());
            if limit.is_some_and(Quantity::is_negative) {
                errors.push(FieldError::forbidden(
                    &path.child("sizeLimit"),
                    "SizeLimit field must be a valid resource quantity",
                ));
            }
        }
        "hostPath" => check_host_path(errors, source, path),
        "gitRepo" => {
            need(&["repository"]);
            check_descending(errors, text(source, "directory"), &path.child("directory"));
        }
        "secret" => {
            need(&["secretName"]);
            check_items(errors, source, path);
        }
        "configMap" => {
            need(&["name"]);
            check_items(errors, source, path);
        }
        "nfs" => check_nfs(errors, source, path),
        "persistentVolumeClaim" => need(&["claimName"]),
        "downwardAPI" => {
            check_mode(errors, source, "defaultMode", path);
            for item in list(source, "items") {
                check_downward(errors, item, path);
            }
        }
        "projected" => {
            check_mode(errors, source, "defaultMode", path);
            check_projected(errors, source, path);
        }
        "csi" => {
            storage::check_driver_name(errors, text(source, "driver"), &path.child("driver"));
            if let Some(secret) = get(source, "nodePublishSecretRef") {
                let name = text(secret, "name");
                if required(errors, name, &path.child("nodePublishSecretRef").child("name")) {
                    invalid_each(errors, names::dns1123_subdomain(name), || path.child("name"), name);
                }
            }
        }
        "ephemeral" => {
            let template_path = path.child("volumeClaimTemplate");
            match get(source, "volumeClaimTemplate") {
                None => errors.push(FieldError::required(&template_path, "")),
                Some(template) => {
                    storage::check_claim_spec(errors, sub(template, "spec"), &template_path.child("spec"))
                }
            }
            let pod_name = pod.map_or("", meta::name);
            if !pod_name.is_empty() && !name.is_empty() {
                let claim = format!("{pod_name}-{name}");
                for message in names::dns1123_subdomain(&claim) {
                    errors.push(FieldError::invalid(
                        &volume_path.child("name"),
                        name,
                        format!("PVC name {}: {message}", crate::field::quote(&claim)),
                    ));
                }
            }
        }
        "image" => {
            if pod.is_some() {
                required(errors, text(source, "reference"), &path.child("reference"));
            }
            word(errors, text(source, "pullPolicy"), &["Always", "IfNotPresent", "Never"], &path.child("pullPolicy"));
        }
        other => sources::check(errors, other, source, None, path),
    }
}

pub(in super::super) fn check_nfs(errors: &mut Errors, source: &Value, path: &Path) {
    required(errors, text(source, "server"), &path.child("server"));
    let exported = text(source, "path");
    required(errors, exported, &path.child("path"));
    if !exported.starts_with('/') {
        errors.push(FieldError::invalid(&path.child("path"), exported, "must be an absolute path"));
    }
}

pub(in super::super) fn check_host_path(errors: &mut Errors, source: &Value, path: &Path) {
    const TYPES: &[&str] =
        &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let host_path = text(source, "path");
    if !required(errors, host_path, &path.child("path")) {
        return;
    }
    no_backsteps(errors, host_path, &path.child("path"));
    member(errors, text(source, "type"), TYPES, &path.child("type"));
}

fn check_mode(errors: &mut Errors, holder: &Value, field: &'static str, path: &Path) {
    if let Some(mode) = int(holder, field).filter(|mode| !(0..=0o777).contains(mode)) {
        errors.push(FieldError::invalid(&path.child(field), mode, FILE_MODE));
    }
}

fn check_items(errors: &mut Errors, source: &Value, path: &Path) {
    check_mode(errors, source, "defaultMode", path);
    for (n, item) in list(source, "items").iter().enumerate() {
        check_key_to_path(errors, item, &path.child("items").index(n));
    }
}

fn check_key_to_path(errors: &mut Errors, item: &Value, path: &Path) {
    required(errors, text(item, "key"), &path.child("key"));
    required(errors, text(item, "path"), &path.child("path"));
    check_own_path(errors, text(item, "path"), &path.child("path"));
    check_mode(errors, item, "mode", path);
}

fn check_downward(errors: &mut Errors, item: &Value, path: &Path) {
    required(errors, text(item, "path"), &path.child("path"));
    check_own_path(errors, text(item, "path"), &path.child("path"));
    match (get(item, "fieldRef"), get(item, "resourceFieldRef")) {
        (Some(field), resource) => {
            check_field(errors, field, VOLUME_FIELDS, &path.child("fieldRef"));
            if resource.is_some() {
                errors.push(FieldError::invalid(
                    path,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                ));
            }
        }
        (None, Some(resource)) => check_resource_field(errors, resource, true, &path.child("resourceFieldRef")),
        (None, None) => {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    check_mode(errors, item, "mode", path);
}

fn check_projected(errors: &mut Errors, projected: &Value, path: &Path) {
    let mut paths: Vec<&str> = Vec::new();
    for (n, source) in list(projected, "sources").iter().enumerate() {
        let at = path.child("sources").index(n);
        let mut sources = 0;
        for field in ["secret", "configMap"] {
            let Some(found) = get(source, field) else { continue };
            sources += 1;
            required(errors, text(found, "name"), &at.child(field).child("name"));
            for (n, item) in list(found, "items").iter().enumerate() {
                check_key_to_path(errors, item, &at.child(field).child("items").index(n));
                claim_path(errors, &mut paths, text(item, "path"), text(found, "name"), path);
            }
        }
        if let Some(downward) = get(source, "downwardAPI") {
            sources += 1;
            for item in list(downward, "items") {
                check_downward(errors, item, &at.child("downwardAPI"));
                claim_path(errors, &mut paths, text(item, "path"), text(item, "path"), path);
            }
        }
        if let Some(token) = get(source, "serviceAccountToken") {
            sources += 1;
            let seconds = int(token, "expirationSeconds").unwrap_or(3600);
            let seconds_path = || at.child("serviceAccountToken").child("expirationSeconds");
            if seconds < 600 {
                errors.push(FieldError::invalid(
                    &seconds_path(),
                    seconds,
                    "may not specify a duration less than 10 minutes",
                ));
            }
            if seconds > 1 << 32 {
                errors.push(FieldError::invalid(
                    &seconds_path(),
                    seconds,
                    "may not specify a duration larger than 2^32 seconds",
                ));
            }
            let token_path = text(token, "path");
            if required(errors, token_path, &path.child("path")) {
                check_own_path(errors, token_path, &path.child("path"));
            }
        }
        for field in ["clusterTrustBundle", "podCertificate"] {
            sources += usize::from(has(source, field));
        }
        if sources > 1 {
            errors.push(FieldError::forbidden(&at, "may not specify more than 1 volume type per source"));
        }
    }
}

fn claim_path<'a>(errors: &mut Errors, paths: &mut Vec<&'a str>, wanted: &'a str, shown: &str, path: &Path) {
    if wanted.is_empty() {
        return;
    }
    if paths.contains(&wanted) {
        errors.push(FieldError::invalid(path, shown, "conflicting duplicate paths"));
    } else {
        paths.push(wanted);
    }
}

/// A path that does not climb.
pub(in super::super) fn no_backsteps(errors: &mut Errors, wanted: &str, path: &Path) {
    if wanted.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, wanted, "must not contain '..'"));
    }
}

/// A path below some folder.
pub(super) fn check_descending(errors: &mut Errors, wanted: &str, path: &Path) {
    if wanted.starts_with('/') {
        errors.push(FieldError::invalid(path, wanted, "must be a relative path"));
    }
    no_backsteps(errors, wanted, path);
}

/// A path below some folder that is none of the names that the node keeps for itself.
fn check_own_path(errors: &mut Errors, wanted: &str, path: &Path) {
    check_descending(errors, wanted, path);
    if wanted.starts_with("..") && !wanted.starts_with("../") {
        errors.push(FieldError::invalid(path, wanted, "must not start with '..'"));
    }
}

/// `volumeMounts` and `volumeDevices` of a container.
pub(super) fn check_mounts(errors: &mut Errors, container: &Value, volumes: &Volumes<'_>, path: &Path) {
    let (mounts, devices) = (list(container, "volumeMounts"), list(container, "volumeDevices"));
    let list_path = path.child("volumeMounts");
    for (n, mount) in mounts.iter().enumerate() {
        let path = list_path.index(n);
        let (name, at) = (text(mount, "name"), text(mount, "mountPath"));
        required(errors, name, &path.child("name"));
        if !volumes.contains_key(name) {
            errors.push(FieldError::not_found(&path.child("name"), name));
        }
        required(errors, at, &path.child("mountPath"));
        if mounts[..n].iter().any(|other| text(other, "mountPath") == at) {
            errors.push(FieldError::invalid(&path.child("mountPath"), at, "must be unique"));
        }
        if devices.iter().any(|device| text(device, "name") == name) {
            errors.push(FieldError::invalid(&path.child("name"), name, "must not already exist in volumeDevices"));
        }
        if devices.iter().any(|device| text(device, "devicePath") == at) {
            errors.push(FieldError::invalid(
                &path.child("mountPath"),
                at,
                "must not already exist as a path in volumeDevices",
            ));
        }
        let (sub_path, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        check_descending(errors, sub_path, &list_path.child("subPath"));
        if !expression.is_empty() {
            if !sub_path.is_empty() {
                errors.push(FieldError::invalid(
                    &path.child("subPathExpr"),
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                ));
            }
            check_descending(errors, expression, &list_path.child("subPathExpr"));
        }
        check_propagation(errors, mount, container, &list_path);
    }
    for (n, device) in devices.iter().enumerate() {
        check_device(errors, device, &devices[..n], mounts, volumes, &path.child("volumeDevices").index(n));
    }
}

fn check_propagation(errors: &mut Errors, mount: &Value, container: &Value, path: &Path) {
    let propagation = text(mount, "mountPropagation");
    let propagation_path = || path.child("mountPropagation");
    if has(mount, "mountPropagation") {
        member(errors, propagation, &["Bidirectional", "HostToContainer", "None"], &propagation_path());
        let privileged = flag(sub(container, "securityContext"), "privileged") == Some(true);
        if propagation == "Bidirectional" && !privileged {
            errors.push(FieldError::forbidden(
                &propagation_path(),
                "Bidirectional mount propagation is available only to privileged containers",
            ));
        }
    }
    let recursive_path = || path.child("recursiveReadOnly");
    match get(mount, "recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if flag(mount, "readOnly") != Some(true) {
                errors.push(FieldError::forbidden(&recursive_path(), "may only be specified when readOnly is true"));
            }
            if !matches!(propagation, "" | "None") {
                errors.push(FieldError::forbidden(
                    &recursive_path(),
                    "may only be specified when mountPropagation is None or not specified",
                ));
            }
        }
        Some(other) => {
            errors.push(FieldError::not_supported(&recursive_path(), other, &["Disabled", "Enabled", "IfPossible"]));
        }
    }
}

fn check_device(
    errors: &mut Errors,
    device: &Value,
    before: &[Value],
    mounts: &[Value],
    volumes: &Volumes<'_>,
    path: &Path,
) {
    let (name, at) = (text(device, "name"), text(device, "devicePath"));
    required(errors, name, &path.child("name"));
    if !name.is_empty() && before.iter().any(|other| text(other, "name") == name) {
        errors.push(FieldError::invalid(&path.child("name"), name, "must be unique"));
    }
    match volumes.get(name) {
        None => errors.push(FieldError::not_found(&path.child("name"), name)),
        Some(volume) if !has(volume, "persistentVolumeClaim") && !has(volume, "ephemeral") => {
            errors.push(FieldError::invalid(
                &path.child("name"),
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ));
        }
        Some(_) => {}
    }
    required(errors, at, &path.child("devicePath"));
    if before.iter().any(|other| text(other, "devicePath") == at) {
        errors.push(FieldError::invalid(&path.child("devicePath"), at, "must be unique"));
    }
    if at.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&path.child("devicePath"), at, "can not contain backsteps ('..')"));
    }
    if mounts.iter().any(|mount| text(mount, "name") == name) {
        errors.push(FieldError::invalid(&path.child("name"), name, "must not already exist in volumeMounts"));
    }
    if mounts.iter().any(|mount| text(mount, "mountPath") == at) {
        errors.push(FieldError::invalid(
            &path.child("devicePath"),
            at,
            "must not already exist as a path in volumeMounts",
        ));
    }
}
