//! Defaults of a pod that depend on its other fields.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::super::at::{default, default_pointer, flag, get, get_mut, int, items_mut, map, set, sub, sub_mut, text};
use super::super::resources;
use crate::quota::amounts;

/// What holds for a pod alone: requests from limits, links to services, host ports.
pub(super) fn default_pod(pod: &mut Value) {
    let Some(spec) = sub_mut(pod, "spec") else { return };
    let host_network = flag(spec, "hostNetwork") == Some(true);
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            resources::default_requests(container);
            if host_network {
                for port in items_mut(container, "ports") {
                    if let Some(number) = int(port, "containerPort") {
                        default(port, "hostPort", number);
                    }
                }
            }
        }
    }
    default_amounts(spec);
    default_pointer(spec, "enableServiceLinks", true);
    default_spec(spec);
}

/// Amounts of the pod as a whole, once some are given: limits of huge pages are those of the containers, requests those
/// of the containers or else the limits.
fn default_amounts(spec: &mut Value) {
    let given = sub(spec, "resources");
    let (requests, limits) = (map(given, "requests"), map(given, "limits"));
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let (mut requests, mut limits) = (requests.clone(), limits.clone());
    for (name, amount) in amounts::of_containers(spec, "limits") {
        if resources::is_huge_page(&name) && !requests.contains_key(&name) && !limits.contains_key(&name) {
            limits.insert(name, amount.to_string().into());
        }
    }
    if !limits.is_empty() {
        for (name, amount) in amounts::of_containers(spec, "requests") {
            if matches!(name.as_str(), "cpu" | "memory") && !requests.contains_key(&name) {
                requests.insert(name, amount.to_string().into());
            }
        }
        for (name, amount) in &limits {
            if resources::is_of_pods(name) && !requests.contains_key(name) {
                requests.insert(name.clone(), amount.clone());
            }
        }
    }
    if let Some(resources) = get_mut(spec, "resources") {
        for (field, amounts) in [("requests", requests), ("limits", limits)] {
            if !amounts.is_empty() {
                set(resources, field, Value::Object(amounts));
            }
        }
    }
}

/// The template of a workload.
pub(in super::super) fn default_template(template: &mut Value) {
    if let Some(spec) = sub_mut(template, "spec") {
        default_spec(spec);
    }
}

fn default_spec(spec: &mut Value) {
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default_pointer(spec, "securityContext", Value::Object(serde_json::Map::new()));
    default_pointer(spec, "terminationGracePeriodSeconds", 30);
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        set(spec, "terminationGracePeriodSeconds", 1);
    }
    default(spec, "schedulerName", "default-scheduler");
    pair_service_account(spec);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items_mut(spec, list) {
            default_container(container);
        }
    }
    for volume in items_mut(spec, "volumes") {
        default_volume(volume);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are kept alike.
fn pair_service_account(spec: &mut Value) {
    let name = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount").to_string(),
        name => name.to_string(),
    };
    if !name.is_empty() {
        set(spec, "serviceAccountName", name.as_str());
        set(spec, "serviceAccount", name);
    }
}

fn pull_policy(image: &str) -> &'static str {
    if image_tag(image) == "latest" && is_reference(image) { "Always" } else { "IfNotPresent" }
}

/// Whether a text is a reference of an image at all: host, path in lower case, tag and digest.
fn is_reference(image: &str) -> bool {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        const LABEL: &str = "[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?";
        const STEP: &str = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*";
        let host = format!(r"({LABEL}(\.{LABEL})*|\[[a-fA-F0-9:]+\])(:[0-9]+)?");
        let digest = "@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
        let form = format!(r"^({host}/)?{STEP}(/{STEP})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?({digest})?$");
        Regex::new(&form).expect("a constant expression")
    });
    let is_digest = image.len() == 64 && image.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    FORM.is_match(image) && !is_digest
}

/// The tag of an image reference; `latest` when it has neither tag nor digest.
fn image_tag(image: &str) -> &str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag,
        (None, Some(_)) => "",
        (None, None) => "latest",
    }
}

fn default_container(container: &mut Value) {
    let policy = pull_policy(text(container, "image"));
    default(container, "imagePullPolicy", policy);
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default_pointer(container, "resources", Value::Object(serde_json::Map::new()));
    for port in items_mut(container, "ports") {
        default(port, "protocol", "TCP");
    }
    for variable in items_mut(container, "env") {
        if let Some(field) = get_mut(variable, "valueFrom").and_then(|from| get_mut(from, "fieldRef")) {
            default(field, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = get_mut(container, probe) {
            for (field, value) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                default(probe, field, value);
            }
            default_handler(probe);
        }
    }
    if let Some(lifecycle) = get_mut(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = get_mut(lifecycle, hook) {
                default_handler(hook);
            }
        }
    }
}

fn default_handler(handler: &mut Value) {
    if let Some(http) = get_mut(handler, "httpGet") {
        default(http, "path", "/");
        default(http, "scheme", "HTTP");
    }
    if let Some(grpc) = get_mut(handler, "grpc") {
        default_pointer(grpc, "service", "");
    }
}

fn default_volume(volume: &mut Value) {
    let sources = volume
        .as_object()
        .map_or(0, |fields| fields.iter().filter(|(field, value)| *field != "name" && !value.is_null()).count());
    if sources == 0 {
        set(volume, "emptyDir", Value::Object(serde_json::Map::new()));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = get_mut(volume, source) {
            default_pointer(source, "defaultMode", 0o644);
        }
    }
    if let Some(path) = get_mut(volume, "hostPath") {
        default_pointer(path, "type", "");
    }
    if let Some(image) = get_mut(volume, "image") {
        let policy = pull_policy(text(image, "reference"));
        default(image, "pullPolicy", policy);
    }
    if let Some(downward) = get_mut(volume, "downwardAPI") {
        default_downward(downward);
    }
    if let Some(projected) = get_mut(volume, "projected") {
        for source in items_mut(projected, "sources") {
            if let Some(token) = get_mut(source, "serviceAccountToken") {
                default_pointer(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = get_mut(source, "downwardAPI") {
                default_downward(downward);
            }
        }
    }
    let claim = get_mut(volume, "ephemeral").and_then(|source| get_mut(source, "volumeClaimTemplate"));
    if let Some(claim) = claim.and_then(|template| get_mut(template, "spec")) {
        default_pointer(claim, "volumeMode", "Filesystem");
    }
}

fn default_downward(source: &mut Value) {
    for item in items_mut(source, "items") {
        if get(sub(item, "fieldRef"), "apiVersion").is_none()
            && let Some(field) = get_mut(item, "fieldRef")
        {
            default(field, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::image_tag;

    #[test]
    fn tags() {
        let cases = [
            ("nginx", "latest"),
            ("nginx:1.2", "1.2"),
            ("nginx:latest", "latest"),
            ("host:5000/nginx", "latest"),
            ("host:5000/nginx:3", "3"),
            ("nginx@sha256:ab", ""),
            ("nginx:1@sha256:ab", "1"),
        ];
        for (image, tag) in cases {
            assert_eq!(image_tag(image), tag, "{image}");
        }
    }
}
