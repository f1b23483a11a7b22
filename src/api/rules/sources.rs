//! Sources of volumes that pods and PersistentVolumes have in common: kinds of storage that once were built into nodes.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::at::{flag, get, has, int, list, map, maybe_text, text};
use super::check::{Errors, invalid_each, member, required};
use crate::field::{FieldError, Path};
use crate::names;

/// Checks a source; `volume` is the name of the PersistentVolume that it is of, `None` in a pod.
pub(super) fn check(errors: &mut Errors, kind: &str, source: &Value, volume: Option<&str>, path: &Path) {
    for field in needed(kind) {
        required(errors, text(source, field), &path.child(*field));
    }
    match kind {
        "gcePersistentDisk" | "awsElasticBlockStore" => check_partition(errors, source, path),
        "iscsi" => check_iscsi(errors, source, volume, path),
        "glusterfs" if volume.is_some() => check_glusterfs(errors, source, path),
        "flocker" => check_flocker(errors, source, path),
        "rbd" | "cephfs" => check_ceph(errors, kind, source, path),
        "quobyte" => check_quobyte(errors, source, path),
        "cinder" => check_secret(errors, source, volume.is_some(), path),
        "storageos" => check_storageos(errors, source, volume.is_some(), path),
        "fc" => check_fibre_channel(errors, source, path),
        "flexVolume" => check_flex(errors, source, path),
        "azureFile" if volume.is_some() => {
            if let Some(namespace) = maybe_text(source, "secretNamespace") {
                required(errors, namespace, &path.child("secretNamespace"));
            }
        }
        "azureDisk" => check_azure_disk(errors, source, path),
        _ => {}
    }
}

/// The fields that a source cannot be without, which need no more than that.
fn needed(kind: &str) -> &'static [&'static str] {
    match kind {
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "iscsi" => &["targetPortal"],
        "glusterfs" => &["endpoints", "path"],
        "flexVolume" => &["driver"],
        "azureFile" => &["secretName", "shareName"],
        "azureDisk" => &["diskName", "diskURI"],
        "vsphereVolume" => &["volumePath"],
        "photonPersistentDisk" => &["pdID"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        _ => &[],
    }
}

fn check_partition(errors: &mut Errors, source: &Value, path: &Path) {
    if let Some(partition) = int(source, "partition").filter(|partition| !(0..=255).contains(partition)) {
        errors.push(FieldError::invalid(&path.child("partition"), partition, names::range_message(1, 255)));
    }
}

fn check_iscsi(errors: &mut Errors, source: &Value, volume: Option<&str>, path: &Path) {
    let portal = text(source, "targetPortal");
    if volume.is_some_and(|volume| has(source, "initiatorName") && volume.len() + 1 + portal.len() > 64) {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters \
                   if iscsi.initiatorName is specified.";
        errors.push(FieldError::invalid(&path.child("targetportal"), portal, why));
    }
    // A pod is told with which words such a name begins.
    let no_prefix = match volume {
        Some(_) => "must be valid format",
        None => "must be valid format starting with iqn, eui, or naa",
    };
    let name = text(source, "iqn");
    if required(errors, name, &path.child("iqn")) {
        check_iscsi_name(errors, name, no_prefix, &path.child("iqn"));
    }
    check_lun(errors, int(source, "lun").unwrap_or(0), path);
    let authenticates = ["chapAuthDiscovery", "chapAuthSession"].iter().any(|on| flag(source, on) == Some(true));
    if authenticates && !has(source, "secretRef") {
        errors.push(FieldError::required(&path.child("secretRef"), ""));
    }
    if let Some(secret) = get(source, "secretRef").filter(|_| volume.is_some()) {
        required(errors, text(secret, "name"), &path.child("secretRef").child("name"));
    }
    if let Some(initiator) = maybe_text(source, "initiatorName") {
        check_iscsi_name(errors, initiator, no_prefix, &path.child("initiatorname"));
    }
}

fn check_iscsi_name(errors: &mut Errors, name: &str, no_prefix: &str, path: &Path) {
    static FORMS: LazyLock<[(&str, Regex); 3]> = LazyLock::new(|| {
        [
            ("iqn", r"iqn\.[0-9]{4}-[0-9]{2}\.([[:alnum:].\-]+)(:[^,;*&$|\t\n\f\r ]+)$"),
            ("eui", "^eui.[[:alnum:]]{16}$"),
            ("naa", "^naa.[[:alnum:]]{32}$"),
        ]
        .map(|(prefix, form)| (prefix, Regex::new(form).expect("a constant expression")))
    });
    match FORMS.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        None => errors.push(FieldError::invalid(path, name, no_prefix)),
        Some((_, form)) if !form.is_match(name) => {
            errors.push(FieldError::invalid(path, name, "must be valid format"));
        }
        Some(_) => {}
    }
}

fn check_lun(errors: &mut Errors, lun: i64, path: &Path) {
    if !(0..=255).contains(&lun) {
        errors.push(FieldError::invalid(&path.child("lun"), lun, names::range_message(0, 255)));
    }
}

fn check_glusterfs(errors: &mut Errors, source: &Value, path: &Path) {
    let path = path.child("endpointsNamespace");
    match maybe_text(source, "endpointsNamespace") {
        None => {}
        Some("") => {
            let why = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(FieldError::invalid(&path, "", why));
        }
        Some(namespace) => invalid_each(errors, names::dns1123_label(namespace), || path.clone(), namespace),
    }
}

fn check_flocker(errors: &mut Errors, source: &Value, path: &Path) {
    let name = text(source, "datasetName");
    match (name.is_empty(), text(source, "datasetUUID").is_empty()) {
        (true, true) => errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required")),
        (false, false) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(path, "resource", why));
        }
        _ => {}
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(&path.child("datasetName"), name, "must not contain '/'"));
    }
}

fn check_ceph(errors: &mut Errors, kind: &str, source: &Value, path: &Path) {
    if list(source, "monitors").is_empty() {
        errors.push(FieldError::required(&path.child("monitors"), ""));
    }
    if kind == "rbd" {
        required(errors, text(source, "image"), &path.child("image"));
    }
}

fn check_quobyte(errors: &mut Errors, source: &Value, path: &Path) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(source, "registry");
    if registry.is_empty() {
        errors.push(FieldError::required(&path.child("registry"), PAIRS));
    } else if text(source, "tenant").len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(&path.child("tenant"), why));
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.push(FieldError::invalid(&path.child("registry"), registry, PAIRS));
        }
    }
    required(errors, text(source, "volume"), &path.child("volume"));
}

/// Whether a text can be split as Go's `net.SplitHostPort` does: `host:port`, `[v6]:port`, either of them empty.
fn is_host_and_port(pair: &str) -> bool {
    let Some((host, port)) = pair.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(inner) => match inner.strip_suffix(']') {
            Some(address) => address,
            None => return false,
        },
        None if host.contains(':') => return false,
        None => host,
    };
    !host.contains(['[', ']']) && !port.contains(['[', ']'])
}

/// The secret that a source may have; `placed`: with a namespace.
fn check_secret(errors: &mut Errors, source: &Value, placed: bool, path: &Path) {
    let Some(secret) = get(source, "secretRef") else { return };
    let path = path.child("secretRef");
    required(errors, text(secret, "name"), &path.child("name"));
    if placed {
        required(errors, text(secret, "namespace"), &path.child("namespace"));
    }
}

fn check_storageos(errors: &mut Errors, source: &Value, persistent: bool, path: &Path) {
    let name = text(source, "volumeName");
    if required(errors, name, &path.child("volumeName")) {
        invalid_each(errors, names::dns1123_label(name), || path.child("volumeName"), name);
    }
    let namespace = text(source, "volumeNamespace");
    if !namespace.is_empty() {
        invalid_each(errors, names::dns1123_label(namespace), || path.child("volumeNamespace"), namespace);
    }
    check_secret(errors, source, persistent, path);
}

fn check_fibre_channel(errors: &mut Errors, source: &Value, path: &Path) {
    let (targets, ids) = (list(source, "targetWWNs"), list(source, "wwids"));
    let targets_path = path.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        let why = "must specify either targetWWNs or wwids, but not both";
        errors.push(FieldError::required(&targets_path, why));
    }
    if !targets.is_empty() && !ids.is_empty() {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(FieldError::invalid(&targets_path, targets.to_vec(), why));
    }
    if targets.is_empty() {
        return;
    }
    match int(source, "lun") {
        None => {
            errors.push(FieldError::required(&path.child("lun"), "lun is required if targetWWNs is specified"));
        }
        Some(lun) => check_lun(errors, lun, path),
    }
}

fn check_flex(errors: &mut Errors, source: &Value, path: &Path) {
    for key in map(source, "options").keys() {
        let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace);
        let namespace = format!(".{}", namespace.to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let path = path.child("options").key(key.as_str());
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&path, key.as_str(), why));
        }
    }
}

fn check_azure_disk(errors: &mut Errors, source: &Value, path: &Path) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    if let Some(mode) = maybe_text(source, "cachingMode") {
        member(errors, mode, &["None", "ReadOnly", "ReadWrite"], &path.child("cachingMode"));
    }
    let Some(kind) = maybe_text(source, "kind") else { return };
    member(errors, kind, &["Dedicated", "Managed", "Shared"], &path.child("kind"));
    let uri = text(source, "diskURI");
    let (prefix, form) = if kind == "Managed" { ("/subscriptions/", MANAGED) } else { ("https://", BLOB) };
    if !uri.starts_with(prefix) {
        errors.push(FieldError::not_supported(&path.child("diskURI"), uri, &[form]));
    }
}

/// The name of a source's field in paths of errors.
pub(super) fn shown(kind: &'static str) -> &'static str {
    if kind == "gcePersistentDisk" { "persistentDisk" } else { kind }
}

#[cfg(test)]
mod tests {
    use super::is_host_and_port;

    #[test]
    fn hosts_and_ports_are_told_apart_as_go_does() {
        for pair in ["a:1", ":1", "a:", ":", "[::1]:7", "[]:"] {
            assert!(is_host_and_port(pair), "{pair}");
        }
        for pair in ["", "a", "a:b:1", "[::1]", "[::1:7", "a]:1", "a:[1"] {
            assert!(!is_host_and_port(pair), "{pair}");
        }
    }
}
