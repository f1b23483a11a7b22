//! The whole of a pod's specification, for pods and templates.

use serde_json::Value;

use super::super::at::{flag, get, has, int, list, map, maybe_text, sub, text, texts};
use super::super::check::{self, Errors, invalid_each, required, word};
use super::super::{ip, resources};
use super::containers::{self, Around};
use super::{affinity, app_armor, environment, security, volumes, windows};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names;

const MIRROR: &str = "kubernetes.io/config.mirror";

/// What holds for a pod of any age.
pub(super) fn check_pod(pod: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(pod, "spec"), Path::new("spec"));
    check_annotations(errors, pod, &Path::new("metadata").child("annotations"));
    check_spec(errors, spec, Some(pod), &path);
    if text(spec, "serviceAccountName").is_empty() {
        for (v, volume) in list(spec, "volumes").iter().enumerate() {
            for (s, source) in list(sub(volume, "projected"), "sources").iter().enumerate() {
                if has(source, "serviceAccountToken") {
                    let sources = path.child("volumes").index(v).child("projected").child("sources");
                    errors.push(FieldError::forbidden(
                        &sources.index(s).child("serviceAccountToken"),
                        "must not be specified when serviceAccountName is not set",
                    ));
                }
            }
        }
    }
    for field in ["containers", "initContainers"] {
        for (n, container) in list(spec, field).iter().enumerate() {
            containers::check_image_padding(errors, container, &path.child(field).index(n));
        }
    }
}

/// What holds for a new pod.
pub(super) fn check_new_pod(pod: &Value, errors: &mut Errors) {
    check_pod(pod, errors);
    let (spec, path) = (sub(pod, "spec"), Path::new("spec"));
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        errors.push(FieldError::forbidden(
            &path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
    app_armor::check_match(errors, pod, &path);
}

/// Annotations that mean something to the pod.
pub(in super::super) fn check_annotations(errors: &mut Errors, holder: &Value, path: &Path) {
    if let Some(value) = meta::annotation(holder, MIRROR)
        && text(sub(holder, "spec"), "nodeName").is_empty()
    {
        errors.push(FieldError::invalid(
            &path.key(MIRROR),
            value,
            "must set spec.nodeName if mirror pod annotation is set",
        ));
    }
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(cost) = meta::annotation(holder, COST) {
        let padded = cost.starts_with('+') || (cost.len() > 1 && cost.starts_with('0'));
        if padded || cost.parse::<i32>().is_err() {
            errors.push(FieldError::invalid(&path.key(COST), cost, "must be a 32bit integer"));
        }
    }
    app_armor::check_annotations(errors, holder, path);
}

/// A `PodSpec`; `pod` is there when it is of a pod and not of a template.
pub(in super::super) fn check_spec(errors: &mut Errors, spec: &Value, pod: Option<&Value>, path: &Path) {
    let grace = int(spec, "terminationGracePeriodSeconds");
    if grace.is_none() {
        errors.push(FieldError::required(&path.child("terminationGracePeriodSeconds"), ""));
    }
    let around = Around {
        volumes: volumes::check_volumes(errors, spec, pod, &path.child("volumes")),
        claims: list(spec, "resourceClaims").iter().map(|claim| text(claim, "name")).collect(),
        grace,
        os: sub(spec, "os"),
        restart_policy: text(spec, "restartPolicy"),
        host_users: flag(spec, "hostUsers").unwrap_or(true),
    };
    check_resource_claims(errors, list(spec, "resourceClaims"), &path.child("resourceClaims"));
    containers::check_containers(errors, spec, &around, path);
    containers::check_init_containers(errors, spec, &around, path);
    containers::check_ephemeral_containers(errors, spec, &around, path);
    resources::of_pod(errors, spec, &around.claims, path);
    check_host_network(errors, spec, pod.is_some(), path);
    word(errors, around.restart_policy, &["Always", "OnFailure", "Never"], &path.child("restartPolicy"));
    let dns_policy = text(spec, "dnsPolicy");
    const DNS: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    word(errors, dns_policy, DNS, &path.child("dnsPolicy"));
    check::labels(errors, map(spec, "nodeSelector"), || path.child("nodeSelector"));
    security::check_pod(errors, spec, path);
    affinity::check_affinity(errors, sub(spec, "affinity"), &path.child("affinity"));
    check_dns(errors, get(spec, "dnsConfig"), dns_policy, &path.child("dnsConfig"));
    for (n, gate) in list(spec, "readinessGates").iter().enumerate() {
        let condition = text(gate, "conditionType");
        let path = || path.child("readinessGates").index(n).child("conditionType");
        invalid_each(errors, names::qualified_name(condition), path, condition);
    }
    check_scheduling_gates(errors, list(spec, "schedulingGates"), &path.child("schedulingGates"));
    affinity::check_spread(errors, list(spec, "topologySpreadConstraints"), &path.child("topologySpreadConstraints"));
    windows::check_host_processes(errors, spec, path);
    check_host_users(errors, spec, path);
    check_hostname_override(errors, spec, path);
    check_names(errors, spec, path);
    affinity::check_tolerations(errors, list(spec, "tolerations"), &path.child("tolerations"));
    for (n, alias) in list(spec, "hostAliases").iter().enumerate() {
        let path = path.child("hostAliases").index(n);
        ip::check(errors, text(alias, "ip"), &[], &path.child("ip"));
        for (n, name) in texts(alias, "hostnames").enumerate() {
            invalid_each(errors, names::dns1123_subdomain(name), || path.child("hostnames").index(n), name);
        }
    }
    if has(spec, "preemptionPolicy") {
        let policy = text(spec, "preemptionPolicy");
        word(errors, policy, &["PreemptLowerPriority", "Never"], &path.child("preemptionPolicy"));
    }
    if has(spec, "overhead") {
        let overhead = serde_json::json!({"limits": sub(spec, "overhead")});
        resources::requirements(errors, &overhead, &[], &path.child("overhead"));
    }
    windows::check_os(errors, spec, path);
    environment::check_file_volumes(errors, spec, path);
}

/// Namespaces of the host that users of their own do not go with.
fn check_host_users(errors: &mut Errors, spec: &Value, path: &Path) {
    if flag(spec, "hostUsers") != Some(false) {
        return;
    }
    const WHY: &str = "when `hostUsers` is false";
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if flag(spec, field) == Some(true) {
            errors.push(FieldError::forbidden(&path.child(shown), WHY));
        }
    }
    windows::each_container(spec, path, |container, path| {
        if !list(container, "volumeDevices").is_empty() {
            errors.push(FieldError::forbidden(&path.child("volumeDevices"), WHY));
        }
    });
}

/// Names and numbers that stand alone.
fn check_names(errors: &mut Errors, spec: &Value, path: &Path) {
    for (field, rule) in [
        ("serviceAccountName", names::dns1123_subdomain as names::Check),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("priorityClassName", names::dns1123_subdomain),
    ] {
        let name = text(spec, field);
        if !name.is_empty() {
            invalid_each(errors, rule(name), || path.child(field), name);
        }
    }
    if let Some(class) = get(spec, "runtimeClassName").and_then(Value::as_str) {
        invalid_each(errors, names::dns1123_subdomain(class), || path.child("runtimeClassName"), class);
    }
    if let Some(seconds) = int(spec, "activeDeadlineSeconds").filter(|n| !(1..=i64::from(i32::MAX)).contains(n)) {
        errors.push(FieldError::invalid(
            &path.child("activeDeadlineSeconds"),
            seconds,
            names::range_message(1, i32::MAX.into()),
        ));
    }
}

fn check_hostname_override(errors: &mut Errors, spec: &Value, path: &Path) {
    let Some(name) = get(spec, "hostnameOverride").and_then(Value::as_str) else { return };
    let path = path.child("hostnameOverride");
    for (field, set) in [("setHostnameAsFQDN", "setHostnameAsFQDN"), ("hostNetwork", "hostNetwork")] {
        if flag(spec, field) == Some(true) {
            errors.push(FieldError::forbidden(&path, format!("may not be specified when {set} is true")));
        }
    }
    if name.len() > 64 {
        errors.push(FieldError::too_long(&path, 64));
    }
    invalid_each(errors, names::dns1123_subdomain(name), || path.clone(), name);
}

fn check_host_network(errors: &mut Errors, spec: &Value, is_pod: bool, path: &Path) {
    if flag(spec, "hostNetwork") != Some(true) {
        return;
    }
    for (c, container) in list(spec, "containers").iter().enumerate() {
        for (n, port) in list(container, "ports").iter().enumerate() {
            let host = int(port, "hostPort").unwrap_or(0);
            if (is_pod || host != 0) && host != int(port, "containerPort").unwrap_or(0) {
                errors.push(FieldError::invalid(
                    &path.child("containers").index(c).child("ports").index(n).child("hostPort"),
                    host,
                    "must match `containerPort` when `hostNetwork` is true",
                ));
            }
        }
    }
}

fn check_resource_claims(errors: &mut Errors, claims: &[Value], path: &Path) {
    for (n, claim) in claims.iter().enumerate() {
        let path = path.index(n);
        let name = text(claim, "name");
        if required(errors, name, &path.child("name")) {
            if claims[..n].iter().any(|other| text(other, "name") == name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
        }
        match (has(claim, "resourceClaimName"), has(claim, "resourceClaimTemplateName")) {
            (true, true) => errors.push(
                FieldError::invalid(
                    &path,
                    claim.clone(),
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
                )
                .with_shown("PodResourceClaim"),
            ),
            (false, false) => errors.push(
                FieldError::invalid(
                    &path,
                    claim.clone(),
                    "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                )
                .with_shown("PodResourceClaim"),
            ),
            _ => {}
        }
        for field in ["resourceClaimName", "resourceClaimTemplateName"] {
            if let Some(name) = maybe_text(claim, field) {
                invalid_each(errors, names::dns1123_subdomain(name), || path.child(field), name);
            }
        }
    }
}

fn check_scheduling_gates(errors: &mut Errors, gates: &[Value], path: &Path) {
    for (n, gate) in gates.iter().enumerate() {
        let name = text(gate, "name");
        invalid_each(errors, names::qualified_name(name), || path.index(n), name);
        if gates[..n].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.index(n), name));
        }
    }
}

fn check_dns(errors: &mut Errors, config: Option<&Value>, policy: &str, path: &Path) {
    let servers = config.map_or(&[][..], |config| list(config, "nameservers"));
    if policy == "None" {
        if config.is_none() {
            errors.push(FieldError::required(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
            return;
        }
        if servers.is_empty() {
            errors.push(FieldError::required(
                &path.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            ));
            return;
        }
    }
    let Some(config) = config else { return };
    if servers.len() > 3 {
        errors.push(FieldError::invalid(
            &path.child("nameservers"),
            Value::from(servers.to_vec()),
            "must not have more than 3 nameservers",
        ));
    }
    for (n, server) in servers.iter().enumerate() {
        ip::check(errors, server.as_str().unwrap_or(""), &[], &path.child("nameservers").index(n));
    }
    let searches = list(config, "searches");
    let too_much = |what: &str| {
        FieldError::invalid(
            &path.child("searches"),
            Value::from(searches.to_vec()),
            format!("must not have more than {what}"),
        )
    };
    if searches.len() > 32 {
        errors.push(too_much("32 search paths"));
    }
    let length: usize = searches.iter().map(|search| search.as_str().map_or(0, str::len) + 1).sum();
    if length > 2048 + 1 {
        errors.push(too_much("2048 characters (including spaces) in the search list"));
    }
    for (n, search) in texts(config, "searches").enumerate() {
        let name = search.strip_suffix('.').unwrap_or(search);
        if search != "." {
            invalid_each(errors, names::search_domain(name), || path.child("searches").index(n), name);
        }
    }
    for (n, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(&path.child("options").index(n), "must not be empty"));
        }
    }
}
