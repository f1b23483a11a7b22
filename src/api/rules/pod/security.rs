//! Security contexts of pods and containers.

use serde_json::Value;

use super::super::at::{flag, get, has, int, list, maybe_text, sub, text, texts};
use super::super::check::{Errors, member};
use super::volumes::check_descending;
use super::windows;
use crate::field::{FieldError, Path};
use crate::names;

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn check_id(errors: &mut Errors, id: Option<i64>, path: impl Fn() -> Path) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.push(FieldError::invalid(&path(), id, names::range_message(0, i32::MAX.into())));
    }
}

fn check_seccomp(errors: &mut Errors, profile: &Value, path: &Path) {
    if profile.is_null() {
        return;
    }
    let kind = text(profile, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), "type is required when seccompProfile is set"));
    } else {
        member(errors, kind, PROFILES, &path.child("type"));
    }
    let localhost = get(profile, "localhostProfile");
    let localhost_path = || path.child("localhostProfile");
    match (kind, localhost) {
        ("Localhost", None) => {
            errors.push(FieldError::required(&localhost_path(), "must be set when seccomp type is Localhost"));
        }
        ("Localhost", Some(file)) => check_descending(errors, file.as_str().unwrap_or(""), &localhost_path()),
        (_, Some(_)) => errors.push(
            FieldError::invalid(&localhost_path(), profile.clone(), "can only be set when seccomp type is Localhost")
                .with_shown("SeccompProfile"),
        ),
        _ => {}
    }
}

fn check_app_armor(errors: &mut Errors, profile: &Value, path: &Path) {
    if profile.is_null() {
        return;
    }
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    let localhost = get(profile, "localhostProfile").and_then(Value::as_str);
    let localhost_path = || path.child("localhostProfile");
    match text(profile, "type") {
        "Localhost" => match localhost {
            None => errors.push(FieldError::required(&localhost_path(), NEEDED)),
            Some(name) => {
                if name.trim() != name {
                    errors.push(FieldError::invalid(&localhost_path(), name, "must not be padded with whitespace"));
                } else if name.is_empty() {
                    errors.push(FieldError::required(&localhost_path(), NEEDED));
                }
                if name.len() > 4095 {
                    errors.push(FieldError::too_long(&localhost_path(), 4095));
                }
            }
        },
        "RuntimeDefault" | "Unconfined" => {
            if let Some(name) = localhost {
                errors.push(FieldError::invalid(
                    &localhost_path(),
                    name,
                    "can only be set when AppArmor type is Localhost",
                ));
            }
        }
        "" => {
            errors.push(FieldError::required(&path.child("type"), "type is required when appArmorProfile is set"));
        }
        other => errors.push(FieldError::not_supported(&path.child("type"), other, PROFILES)),
    }
}

/// `securityContext` of a container.
pub(super) fn check_container(errors: &mut Errors, context: &Value, host_users: bool, path: &Path) {
    if context.is_null() {
        return;
    }
    check_id(errors, int(context, "runAsUser"), || path.child("runAsUser"));
    check_id(errors, int(context, "runAsGroup"), || path.child("runAsGroup"));
    if let Some(mount) = get(context, "procMount").and_then(Value::as_str) {
        member(errors, mount, &["Default", "Unmasked"], &path.child("procMount"));
        if host_users && mount == "Unmasked" {
            errors.push(FieldError::invalid(
                &path.child("procMount"),
                mount,
                "`hostUsers` must be false to use `Unmasked`",
            ));
        }
    }
    check_seccomp(errors, sub(context, "seccompProfile"), &path.child("seccompProfile"));
    if flag(context, "allowPrivilegeEscalation") == Some(false) {
        if flag(context, "privileged") == Some(true) {
            errors.push(
                FieldError::invalid(
                    path,
                    context.clone(),
                    "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
                )
                .with_shown("SecurityContext"),
            );
        }
        for capability in texts(sub(context, "capabilities"), "add") {
            if capability == "CAP_SYS_ADMIN" {
                errors.push(
                    FieldError::invalid(
                        path,
                        context.clone(),
                        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
                    )
                    .with_shown("SecurityContext"),
                );
            }
        }
    }
    windows::check_options(errors, context, path);
    check_app_armor(errors, sub(context, "appArmorProfile"), &path.child("appArmorProfile"));
}

fn is_sysctl(name: &str) -> bool {
    let segment = |segment: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = segment.as_bytes();
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| inner(*byte))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

const SYSCTL_PATTERN: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// `securityContext` of a pod; host namespaces are fields of its specification.
pub(super) fn check_pod(errors: &mut Errors, spec: &Value, path: &Path) {
    let context = sub(spec, "securityContext");
    let path = path.child("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        check_id(errors, int(context, field), || path.child(field));
    }
    for (n, group) in list(context, "supplementalGroups").iter().enumerate() {
        check_id(errors, group.as_i64(), || path.child("supplementalGroups").index(n));
    }
    if flag(spec, "shareProcessNamespace") == Some(true) && flag(spec, "hostPID") == Some(true) {
        errors.push(FieldError::invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    let sysctls = list(context, "sysctls");
    for (n, sysctl) in sysctls.iter().enumerate() {
        let name = text(sysctl, "name");
        let name_path = path.child("sysctls").index(n).child("name");
        if name.is_empty() {
            errors.push(FieldError::required(&name_path, ""));
        } else if !is_sysctl(name) {
            errors.push(FieldError::invalid(
                &name_path,
                name,
                format!("must have at most 253 characters and match regex {SYSCTL_PATTERN}"),
            ));
        } else if sysctls[..n].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&name_path, name));
        }
        check_host_sysctl(errors, name, spec, &name_path);
    }
    if has(context, "fsGroupChangePolicy") {
        let policy = text(context, "fsGroupChangePolicy");
        member(errors, policy, &["Always", "OnRootMismatch"], &path.child("fsGroupChangePolicy"));
    }
    check_seccomp(errors, sub(context, "seccompProfile"), &path.child("seccompProfile"));
    windows::check_options(errors, context, &path);
    check_app_armor(errors, sub(context, "appArmorProfile"), &path.child("appArmorProfile"));
    for (field, values) in
        [("supplementalGroupsPolicy", &["Merge", "Strict"][..]), ("seLinuxChangePolicy", &["Recursive"])]
    {
        if let Some(policy) = maybe_text(context, field) {
            member(errors, policy, values, &path.child(field));
        }
    }
}

/// A sysctl of a namespace that the pod shares with its host would change the host.
fn check_host_sysctl(errors: &mut Errors, name: &str, spec: &Value, path: &Path) {
    let name_with_dots = name.replace('/', ".");
    let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name_with_dots.starts_with(prefix))
        || name_with_dots == "kernel.sem";
    let why = if flag(spec, "hostNetwork") == Some(true) && name_with_dots.starts_with("net.") {
        "may not be specified when 'hostNetwork' is true"
    } else if flag(spec, "hostIPC") == Some(true) && of_ipc {
        "may not be specified when 'hostIPC' is true"
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, name, why));
}
