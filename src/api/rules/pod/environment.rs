//! Environment variables of a container and the references that give them values.

use serde_json::Value;

use super::super::at::{get, list, maybe_text, sub, text};
use super::super::check::{Errors, invalid_each, required};
use super::volumes::no_backsteps;
use super::windows::each_container;
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

pub(super) fn check_env(errors: &mut Errors, container: &Value, path: &Path) {
    for (n, variable) in list(container, "env").iter().enumerate() {
        let path = path.child("env").index(n);
        let name = text(variable, "name");
        if required(errors, name, &path.child("name")) {
            invalid_each(errors, names::env_var_name(name), || path.child("name"), name);
        }
        if let Some(from) = get(variable, "valueFrom") {
            check_value_from(errors, from, text(variable, "value"), &path.child("valueFrom"));
        }
    }
}

fn check_value_from(errors: &mut Errors, from: &Value, value: &str, path: &Path) {
    let mut sources = 0;
    for source in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let Some(found) = get(from, source) else { continue };
        sources += 1;
        let path = path.child(source);
        match source {
            "fieldRef" => check_field(errors, found, ENV_FIELDS, &path),
            "resourceFieldRef" => check_resource_field(errors, found, false, &path),
            "fileKeyRef" => {
                let (key, volume, file) = (text(found, "key"), text(found, "volumeName"), text(found, "path"));
                if required(errors, key, &path.child("key")) {
                    invalid_each(errors, names::env_var_name(key), || path.child("key"), key);
                }
                if required(errors, volume, &path.child("volumeName")) {
                    invalid_each(errors, names::dns1123_label(volume), || path.child("volumeName"), volume);
                }
                if required(errors, file, &path.child("path")) {
                    no_backsteps(errors, file, &path.child("path"));
                }
            }
            _ => check_key(errors, found, &path),
        }
    }
    let wrong = match sources {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", wrong));
}

fn check_key(errors: &mut Errors, reference: &Value, path: &Path) {
    let (name, key) = (text(reference, "name"), text(reference, "key"));
    invalid_each(errors, names::dns1123_subdomain(name), || path.child("name"), name);
    if required(errors, key, &path.child("key")) {
        invalid_each(errors, names::config_map_key(key), || path.child("key"), key);
    }
}

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

pub(super) const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// All that a downward reference may name, with the one name that means another.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// A reference to a field of the pod itself.
pub(super) fn check_field(errors: &mut Errors, reference: &Value, allowed: &[&str], path: &Path) {
    let (version, field) = (text(reference, "apiVersion"), text(reference, "fieldPath"));
    if !required(errors, version, &path.child("apiVersion")) || !required(errors, field, &path.child("fieldPath")) {
        return;
    }
    let subscript = field.strip_suffix("']").and_then(|field| field.split_once("['"));
    let base = subscript.map_or(field, |(base, _)| base);
    let known = match subscript {
        Some(_) => matches!(base, "metadata.annotations" | "metadata.labels"),
        None => KNOWN_FIELDS.contains(&base) || base == "spec.host",
    };
    let unreadable = if version != "v1" {
        Some(format!("unsupported pod version: {version}"))
    } else if !known {
        Some(match subscript {
            Some(_) => format!("field label does not support subscript: {field}"),
            None => format!("field label not supported: {field}"),
        })
    } else {
        None
    };
    if let Some(why) = unreadable {
        errors.push(FieldError::invalid(&path.child("fieldPath"), field, format!("error converting fieldPath: {why}")));
        return;
    }
    match subscript {
        Some(("metadata.annotations", key)) => {
            let key = key.to_ascii_lowercase();
            invalid_each(errors, names::qualified_name(&key), || path.clone(), &key);
        }
        Some((_, key)) => invalid_each(errors, names::qualified_name(key), || path.clone(), key),
        None => {
            let base = if base == "spec.host" { "spec.nodeName" } else { base };
            if !allowed.contains(&base) {
                errors.push(FieldError::not_supported(&path.child("fieldPath"), base, allowed));
            }
        }
    }
}

const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A reference to a resource of a container.
pub(super) fn check_resource_field(errors: &mut Errors, reference: &Value, in_volume: bool, path: &Path) {
    let resource = text(reference, "resource");
    let huge = resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if in_volume && text(reference, "containerName").is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(&path.child("resource"), ""));
    } else if !RESOURCE_FIELDS.contains(&resource) && !huge {
        errors.push(FieldError::not_supported(&path.child("resource"), resource, RESOURCE_FIELDS));
    }
    let divisor = Quantity::from_json(sub(reference, "divisor")).unwrap_or(Quantity::ZERO);
    if divisor.is_zero() {
        return;
    }
    let divisor = divisor.to_string();
    let (allowed, what): (&[&str], &str) = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" => (&["1m", "1"], "cpu"),
        "memory" => (BYTE_DIVISORS, "memory"),
        "ephemeral-storage" => (BYTE_DIVISORS, "local ephemeral storage"),
        _ if huge => (BYTE_DIVISORS, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&divisor.as_str()) {
        let values = if what == "cpu" { "1m and 1".to_string() } else { BYTE_DIVISORS.join(", ") };
        errors.push(FieldError::invalid(
            &path.child("divisor"),
            resource,
            format!("only divisor's values {values} are supported with the {what} resource"),
        ));
    }
}

/// Files of variables are in an `emptyDir` of the pod.
pub(super) fn check_file_volumes(errors: &mut Errors, spec: &Value, path: &Path) {
    let volumes = list(spec, "volumes");
    each_container(spec, path, |container, path| {
        for (n, variable) in list(container, "env").iter().enumerate() {
            let Some(file) = get(sub(variable, "valueFrom"), "fileKeyRef") else { continue };
            let name = text(file, "volumeName");
            let path = path.child("env").index(n).child("valueFrom").child("fileKeyRef").child("volumeName");
            match volumes.iter().rfind(|volume| text(volume, "name") == name) {
                None => errors.push(FieldError::not_found(&path, name)),
                Some(volume) if get(volume, "emptyDir").is_none() => {
                    errors.push(FieldError::invalid(&path, name, "referenced volume must be of type emptyDir"));
                }
                Some(_) => {}
            }
        }
    });
}

pub(super) fn check_env_from(errors: &mut Errors, container: &Value, path: &Path) {
    let path = path.child("envFrom");
    for (n, from) in list(container, "envFrom").iter().enumerate() {
        let at = path.index(n);
        let prefix = text(from, "prefix");
        if !prefix.is_empty() {
            invalid_each(errors, names::env_var_name(prefix), || at.child("prefix"), prefix);
        }
        let mut sources = 0;
        for source in ["configMapRef", "secretRef"] {
            let Some(reference) = get(from, source) else { continue };
            sources += 1;
            let name = maybe_text(reference, "name").unwrap_or("");
            if required(errors, name, &at.child(source).child("name")) {
                invalid_each(errors, names::dns1123_subdomain(name), || at.child(source).child("name"), name);
            }
        }
        match sources {
            0 => errors.push(FieldError::invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`")),
            1 => {}
            _ => errors.push(FieldError::invalid(&path, "", "may not have more than one field specified at a time")),
        }
    }
}
