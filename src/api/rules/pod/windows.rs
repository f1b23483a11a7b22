//! What a pod says about Windows, and what a pod of one operating system may not say.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::super::at::{flag, get, has, list, maybe_text, sub, text};
use super::super::check::{Errors, invalid_each};
use crate::field::{FieldError, Path};
use crate::names;

/// The lists of a pod's containers, in the order in which they are visited.
pub(super) const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Calls for every container with its path.
pub(super) fn each_container<'a>(spec: &'a Value, path: &Path, mut call: impl FnMut(&'a Value, &Path)) {
    for field in CONTAINERS {
        for (n, container) in list(spec, field).iter().enumerate() {
            call(container, &path.child(field).index(n));
        }
    }
}

/// `windowsOptions` of a security context.
pub(super) fn check_options(errors: &mut Errors, context: &Value, path: &Path) {
    let Some(options) = get(context, "windowsOptions") else { return };
    let path = path.child("windowsOptions");
    if let Some(name) = maybe_text(options, "gmsaCredentialSpecName") {
        invalid_each(errors, names::dns1123_subdomain(name), || path.child("gmsaCredentialSpecName"), name);
    }
    if let Some(credentials) = maybe_text(options, "gmsaCredentialSpec") {
        let path = path.child("gmsaCredentialSpec");
        if credentials.is_empty() {
            errors.push(FieldError::invalid(&path, credentials, "gmsaCredentialSpec cannot be an empty string"));
        } else if credentials.len() > 64 << 10 {
            errors.push(FieldError::invalid(&path, credentials, "gmsaCredentialSpec size must be under 64 KiB"));
        }
    }
    if let Some(user) = maybe_text(options, "runAsUserName") {
        let path = path.child("runAsUserName");
        for why in wrong_with_user(user) {
            errors.push(FieldError::invalid(&path, user, why));
        }
    }
}

/// A name of a user, with or without a domain: `DOMAIN\USER`.
fn wrong_with_user(name: &str) -> Vec<&'static str> {
    static NET_BIOS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$"#).expect("a constant expression"));
    static DNS: LazyLock<Regex> = LazyLock::new(|| {
        const LABEL: &str = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
        Regex::new(&format!(r"^{LABEL}(?:\.{LABEL})*$")).expect("a constant expression")
    });
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.contains(|c: char| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= 256) {
        wrong.push("runAsUserName's Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !NET_BIOS.is_match(domain) && !DNS.is_match(domain)) {
        wrong.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        wrong.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        wrong.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        wrong.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(|c: char| r#""/\:;|=,+*?<>@[]"#.contains(c)) {
        wrong.push(r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#);
    }
    wrong
}

/// Containers that are processes of the host: all of a pod's or none, and on the host's network.
pub(super) fn check_host_processes(errors: &mut Errors, spec: &Value, path: &Path) {
    let host_process = |holder| flag(sub(sub(holder, "securityContext"), "windowsOptions"), "hostProcess");
    let of_pod = host_process(spec);
    let (mut containers, mut processes) = (0, 0);
    each_container(spec, path, |container, path| {
        containers += 1;
        let own = host_process(container);
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let path = path.child("securityContext").child("windowsOptions").child("hostProcess");
            let why = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            errors.push(FieldError::invalid(&path, own, why));
        }
        processes += usize::from(own.or(of_pod) == Some(true));
    });
    if processes == 0 {
        return;
    }
    if processes != containers {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, "", why));
    }
    if flag(spec, "hostNetwork") != Some(true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(&path.child("hostNetwork"), false, why));
    }
}

/// `os`, and what does not go with it.
pub(super) fn check_os(errors: &mut Errors, spec: &Value, path: &Path) {
    let Some(os) = get(spec, "os") else { return };
    match text(os, "name") {
        "" => errors.push(FieldError::required(&path.child("os").child("name"), "")),
        "linux" => check_linux(errors, spec, path),
        "windows" => check_windows(errors, spec, path),
        other => errors.push(FieldError::not_supported(&path.child("os"), other, &["linux", "windows"])),
    }
}

fn check_linux(errors: &mut Errors, spec: &Value, path: &Path) {
    const WHY: &str = "windows options cannot be set for a linux pod";
    let mut check = |holder: &Value, path: &Path| {
        if has(sub(holder, "securityContext"), "windowsOptions") {
            errors.push(FieldError::forbidden(&path.child("securityContext").child("windowsOptions"), WHY));
        }
    };
    check(spec, path);
    each_container(spec, path, check);
}

fn check_windows(errors: &mut Errors, spec: &Value, path: &Path) {
    const OF_POD: &[(&str, bool)] = &[
        ("appArmorProfile", true),
        ("seLinuxOptions", true),
        ("hostUsers", false),
        ("hostPID", false),
        ("hostIPC", false),
        ("seccompProfile", true),
        ("fsGroup", true),
        ("fsGroupChangePolicy", true),
        ("sysctls", true),
        ("shareProcessNamespace", false),
        ("runAsUser", true),
        ("runAsGroup", true),
        ("supplementalGroups", true),
        ("supplementalGroupsPolicy", true),
        ("seLinuxChangePolicy", true),
    ];
    const OF_CONTAINERS: &[&str] = &[
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    const WHY: &str = "cannot be set for a windows pod";
    const CONTEXT: &str = "securityContext";
    for (field, in_context) in OF_POD {
        let (holder, path) = match in_context {
            true => (sub(spec, CONTEXT), path.child(CONTEXT)),
            false => (spec, path.clone()),
        };
        let set = match *field {
            "hostPID" | "hostIPC" => flag(holder, field) == Some(true),
            "sysctls" => !list(holder, field).is_empty(),
            field => has(holder, field),
        };
        if set {
            errors.push(FieldError::forbidden(&path.child(*field), WHY));
        }
    }
    each_container(spec, path, |container, path| {
        for field in OF_CONTAINERS.iter().filter(|field| has(sub(container, CONTEXT), field)) {
            errors.push(FieldError::forbidden(&path.child(CONTEXT).child(*field), WHY));
        }
    });
}
