//! Containers: what all have, and what only the usual, the init and the ephemeral ones may have.

use serde_json::Value;

use super::super::at::{get, has, int, list, sub, text};
use super::super::check::{Errors, PROTOCOLS, invalid_each, port_number, required, word};
use super::super::resources;
use super::volumes::{Volumes, check_mounts};
use super::{environment, probes, security};
use crate::field::{FieldError, Path};
use crate::names;

/// What containers are checked against.
pub(super) struct Around<'a> {
    pub(super) volumes: Volumes<'a>,
    pub(super) claims: Vec<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) os: &'a Value,
    pub(super) restart_policy: &'a str,
    pub(super) host_users: bool,
}

fn check_common(errors: &mut Errors, container: &Value, around: &Around<'_>, path: &Path) {
    let name = text(container, "name");
    if required(errors, name, &path.child("name")) {
        invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
    }
    required(errors, text(container, "image"), &path.child("image"));
    word(
        errors,
        text(container, "terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
        &path.child("terminationMessagePolicy"),
    );
    check_ports(errors, list(container, "ports"), path);
    environment::check_env(errors, container, path);
    environment::check_env_from(errors, container, path);
    check_mounts(errors, container, &around.volumes, path);
    word(
        errors,
        text(container, "imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
        &path.child("imagePullPolicy"),
    );
    resources::requirements(errors, sub(container, "resources"), &around.claims, &path.child("resources"));
    check_resize(errors, list(container, "resizePolicy"), around.restart_policy, &path.child("resizePolicy"));
    security::check_container(
        errors,
        sub(container, "securityContext"),
        around.host_users,
        &path.child("securityContext"),
    );
}

fn check_ports(errors: &mut Errors, ports: &[Value], path: &Path) {
    let mut seen: Vec<&str> = Vec::new();
    for (n, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(n);
        let name = text(port, "name");
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if !wrong.is_empty() {
                invalid_each(errors, wrong, || path.child("name"), name);
            } else if seen.contains(&name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            } else {
                seen.push(name);
            }
        }
        match int(port, "containerPort").unwrap_or(0) {
            0 => errors.push(FieldError::required(&path.child("containerPort"), "")),
            number => port_number(errors, number, &path.child("containerPort")),
        }
        if let Some(number) = int(port, "hostPort").filter(|number| *number != 0) {
            port_number(errors, number, &path.child("hostPort"));
        }
        word(errors, text(port, "protocol"), PROTOCOLS, &path.child("protocol"));
    }
}

fn check_resize(errors: &mut Errors, policies: &[Value], restart_policy: &str, path: &Path) {
    for (n, policy) in policies.iter().enumerate() {
        let (resource, restart) = (text(policy, "resourceName"), text(policy, "restartPolicy"));
        if policies[..n].iter().any(|other| text(other, "resourceName") == resource) {
            errors.push(FieldError::duplicate(&path.index(n), resource));
        }
        word(errors, resource, &["cpu", "memory"], path);
        word(errors, restart, &["NotRequired", "RestartContainer"], path);
        if restart_policy == "Never" && restart != "NotRequired" {
            errors.push(FieldError::invalid(
                path,
                restart,
                "must be 'NotRequired' when pod `restartPolicy` is 'Never'",
            ));
        }
    }
}

fn check_restart_policy(errors: &mut Errors, container: &Value, path: &Path) {
    let rules = list(container, "restartPolicyRules");
    let policy_path = || path.child("restartPolicy");
    match get(container, "restartPolicy").and_then(Value::as_str) {
        None if rules.is_empty() => return,
        None => {
            errors.push(FieldError::required(&policy_path(), "must specify restartPolicy when restart rules are used"))
        }
        Some(policy) if !["Always", "Never", "OnFailure"].contains(&policy) => {
            errors.push(FieldError::not_supported(&policy_path(), policy, &["Always", "Never", "OnFailure"]));
        }
        Some(_) => {}
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > 20 {
        errors.push(FieldError::too_many(&path, rules.len(), 20));
    }
    for (n, rule) in rules.iter().enumerate() {
        let path = path.index(n);
        let action = text(rule, "action");
        if !["Restart", "RestartAllContainers"].contains(&action) {
            errors.push(FieldError::not_supported(&path.child("action"), action, &["Restart", "RestartAllContainers"]));
        }
        match get(rule, "exitCodes") {
            None => errors.push(FieldError::required(&path.child("exitCodes"), "must be specified")),
            Some(codes) => {
                let operator = text(codes, "operator");
                if !["In", "NotIn"].contains(&operator) {
                    errors.push(FieldError::not_supported(
                        &path.child("exitCodes").child("operator"),
                        operator,
                        &["In", "NotIn"],
                    ));
                }
                let values = list(codes, "values").len();
                if values > 255 {
                    errors.push(FieldError::too_many(&path.child("exitCodes").child("values"), values, 255));
                }
            }
        }
    }
}

/// Host ports are taken once for each protocol and address.
fn check_host_ports<'a>(errors: &mut Errors, containers: impl Iterator<Item = (usize, &'a Value)>, path: &Path) {
    let mut taken: Vec<String> = Vec::new();
    for (c, container) in containers {
        for (n, port) in list(container, "ports").iter().enumerate() {
            let Some(number) = int(port, "hostPort").filter(|number| *number != 0) else { continue };
            let port = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if taken.contains(&port) {
                errors.push(FieldError::duplicate(&path.index(c).child("ports").index(n).child("hostPort"), port));
            } else {
                taken.push(port);
            }
        }
    }
}

pub(super) fn check_containers(errors: &mut Errors, spec: &Value, around: &Around<'_>, path: &Path) {
    let containers = list(spec, "containers");
    let path = path.child("containers");
    if containers.is_empty() {
        errors.push(FieldError::required(&path, ""));
        return;
    }
    for (n, container) in containers.iter().enumerate() {
        let path = path.index(n);
        check_common(errors, container, around, &path);
        let name = text(container, "name");
        if containers[..n].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        if let Some(lifecycle) = get(container, "lifecycle") {
            probes::check_lifecycle(errors, lifecycle, around.grace, around.os, &path.child("lifecycle"));
        }
        probes::check_probes(errors, container, around.grace, &path);
        check_restart_policy(errors, container, &path);
    }
    check_host_ports(errors, containers.iter().enumerate(), &path);
}

pub(super) fn check_init_containers(errors: &mut Errors, spec: &Value, around: &Around<'_>, path: &Path) {
    let path = path.child("initContainers");
    let mut taken: Vec<&str> = list(spec, "containers").iter().map(|container| text(container, "name")).collect();
    for (n, container) in list(spec, "initContainers").iter().enumerate() {
        let at = path.index(n);
        check_common(errors, container, around, &at);
        check_restart_policy(errors, container, &at);
        let name = text(container, "name");
        if taken.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        } else if !name.is_empty() {
            taken.push(name);
        }
        check_host_ports(errors, std::iter::once((0, container)), &path);
        let sidecar = text(container, "restartPolicy") == "Always";
        if sidecar {
            if let Some(lifecycle) = get(container, "lifecycle") {
                probes::check_lifecycle(errors, lifecycle, around.grace, around.os, &at.child("lifecycle"));
            }
            probes::check_probes(errors, container, around.grace, &at);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if has(container, field) {
                errors.push(FieldError::forbidden(
                    &at.child(field),
                    "may not be set for init containers without restartPolicy=Always",
                ));
            }
        }
        for (n, policy) in list(container, "resizePolicy").iter().enumerate() {
            if text(policy, "restartPolicy") == "RestartContainer" {
                errors.push(FieldError::invalid(
                    &at.child("resizePolicy").index(n).child("restartPolicy"),
                    "RestartContainer",
                    "must not be set to 'RestartContainer' for non-sidecar initContainers",
                ));
            }
        }
    }
}

pub(super) fn check_ephemeral_containers(errors: &mut Errors, spec: &Value, around: &Around<'_>, path: &Path) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    let path = path.child("ephemeralContainers");
    let others = || list(spec, "containers").iter().chain(list(spec, "initContainers"));
    let containers = list(spec, "ephemeralContainers");
    for (n, container) in containers.iter().enumerate() {
        let path = path.index(n);
        check_common(errors, container, around, &path);
        check_image_padding(errors, container, &path);
        let name = text(container, "name");
        if others().chain(&containers[..n]).any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !others().any(|other| text(other, "name") == target) {
            errors.push(FieldError::not_found(&path.child("targetContainerName"), target));
        }
        for field in [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "resizePolicy",
            "restartPolicy",
            "restartPolicyRules",
        ] {
            if has(container, field) {
                errors.push(FieldError::forbidden(&path.child(field), WHY));
            }
        }
        if sub(container, "resources").as_object().is_some_and(|fields| !fields.is_empty()) {
            errors.push(FieldError::forbidden(&path.child("resources"), WHY));
        }
        for (n, mount) in list(container, "volumeMounts").iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !text(mount, field).is_empty() {
                    errors.push(FieldError::forbidden(&path.child("volumeMounts").index(n).child(field), WHY));
                }
            }
        }
    }
}

/// The image of a pod (templates may have padding that a controller resolves).
pub(super) fn check_image_padding(errors: &mut Errors, container: &Value, path: &Path) {
    let image = text(container, "image");
    if image.trim() != image {
        errors.push(FieldError::invalid(&path.child("image"), image, "must not have leading or trailing whitespace"));
    }
}
