//! Advice that Kubernetes gives for pods and templates that are valid.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::at::{get, has, int, list, map, same, sub, text, texts};
use super::super::{ip, meta as object_meta, node, storage};
use super::app_armor;
use crate::field::{Path, quote};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Nobody is told anything about a pod that exists: people do not change those by hand.
pub(super) fn of_pod(pod: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let why = "this is used in the Pod's hostname, which can result in surprising behavior";
    let mut said = object_meta::name_advice(pod, None, why);
    said.extend(of_template(pod, &Path::root()));
    said
}

/// Advice about `spec.template`, when it is new or the specification around it has changed.
pub(in super::super) fn of_template_change(object: &Value, old: Option<&Value>) -> Vec<String> {
    let changed = old.is_none_or(|old| meta::generation(old) != meta::generation(object));
    let template = sub(sub(object, "spec"), "template");
    if changed { of_template(template, &Path::new("spec").child("template")) } else { Vec::new() }
}

/// Advice about a template at the path, or about a pod at the root.
pub(in super::super) fn of_template(template: &Value, path: &Path) -> Vec<String> {
    let (spec, at) = (sub(template, "spec"), path.child("spec"));
    let mut said = Vec::new();
    of_places(&mut said, spec, &at);
    of_annotations(&mut said, template, &path.child("metadata").child("annotations"));
    for (n, volume) in list(spec, "volumes").iter().enumerate() {
        of_volume(&mut said, volume, &at.child("volumes").index(n));
    }
    for volume in list(spec, "volumes") {
        overlaps(&mut said, volume);
    }
    repeated(&mut said, spec, "hostAliases", "ip", &at);
    repeated(&mut said, spec, "imagePullSecrets", "name", &at);
    for (n, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            said.push(format!("{}: invalid empty name \"\"", at.child("imagePullSecrets").index(n).child("name")));
        }
    }
    for name in ["memory", "ephemeral-storage"] {
        fraction(&mut said, sub(spec, "overhead"), name, &at.child("overhead"));
    }
    of_seccomp(&mut said, template, path);
    let containers: Vec<(&Value, Path)> = all_containers(spec, &at).collect();
    for (container, at) in &containers {
        of_container(&mut said, template, container, at, path);
    }
    of_ports(&mut said, &containers);
    of_port_names(&mut said, &containers);
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        let at = at.child("terminationGracePeriodSeconds");
        said.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    of_pod_terms(&mut said, sub(spec, "affinity"), &at.child("affinity"));
    let servers = at.child("dnsConfig").child("nameservers");
    for (n, server) in texts(sub(spec, "dnsConfig"), "nameservers").enumerate() {
        said.extend(ip::advice(server, &servers.index(n)));
    }
    for (n, alias) in list(spec, "hostAliases").iter().enumerate() {
        said.extend(ip::advice(text(alias, "ip"), &at.child("hostAliases").index(n).child("ip")));
    }
    said
}

fn all_containers<'a>(spec: &'a Value, path: &Path) -> impl Iterator<Item = (&'a Value, Path)> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |field| {
        let path = path.child(field);
        list(spec, field).iter().enumerate().map(move |(n, container)| (container, path.index(n)))
    })
}

/// Old names of labels of nodes, where a pod says where it may run.
fn of_places(said: &mut Vec<String>, spec: &Value, path: &Path) {
    for key in map(spec, "nodeSelector").keys() {
        if let Some(why) = node::deprecated_label(key) {
            said.push(format!("{}: {why}", path.child("nodeSelector").key(key.as_str())));
        }
    }
    let affinity = sub(sub(spec, "affinity"), "nodeAffinity");
    let at = path.child("affinity").child("nodeAffinity");
    for (n, term) in list(sub(affinity, REQUIRED), "nodeSelectorTerms").iter().enumerate() {
        of_node_term(said, term, false, &at.child(REQUIRED).child("nodeSelectorTerms").index(n));
    }
    for (n, term) in list(affinity, PREFERRED).iter().enumerate() {
        of_node_term(said, sub(term, "preference"), true, &at.child(PREFERRED).index(n).child("preference"));
    }
    for (n, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let (key, path) = (text(constraint, "topologyKey"), path.child("topologySpreadConstraints").index(n));
        if let Some(why) = node::deprecated_label(key) {
            said.push(format!("{}: {key} is {why}", path.child("topologyKey")));
        }
        of_selector(said, constraint, &path);
    }
}

/// A term that chooses nodes; values of labels are looked at where validation leaves them alone.
pub(in super::super) fn of_node_term(said: &mut Vec<String>, term: &Value, values: bool, path: &Path) {
    for (n, expression) in list(term, "matchExpressions").iter().enumerate() {
        let (key, path) = (text(expression, "key"), path.child("matchExpressions").index(n));
        if let Some(why) = node::deprecated_label(key) {
            said.push(format!("{}: {key} is {why}", path.child("key")));
        }
        for (n, value) in texts(expression, "values").enumerate().filter(|_| values) {
            for wrong in names::label_value(value) {
                said.push(format!("{}: {value} is invalid, {wrong}", path.child("values").index(n)));
            }
        }
    }
}

fn of_selector(said: &mut Vec<String>, of: &Value, path: &Path) {
    if !has(of, "labelSelector") {
        said.push(format!("{}: a null labelSelector results in matching no pod", path.child("labelSelector")));
    }
}

fn of_pod_terms(said: &mut Vec<String>, affinity: &Value, path: &Path) {
    for field in ["podAffinity", "podAntiAffinity"] {
        let (terms, path) = (sub(affinity, field), path.child(field));
        for (n, term) in list(terms, REQUIRED).iter().enumerate() {
            of_selector(said, term, &path.child(REQUIRED).index(n));
        }
        for (n, term) in list(terms, PREFERRED).iter().enumerate() {
            let path = path.child(PREFERRED).index(n).child("podAffinityTerm");
            of_selector(said, sub(term, "podAffinityTerm"), &path);
        }
    }
}

fn of_annotations(said: &mut Vec<String>, template: &Value, path: &Path) {
    const SYSCTLS: &str = "non-functional in v1.11+; use the \"sysctls\" field instead";
    for (key, why) in [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
        ("security.alpha.kubernetes.io/sysctls", SYSCTLS),
        ("security.alpha.kubernetes.io/unsafe-sysctls", SYSCTLS),
    ] {
        if meta::annotation(template, key).is_some() {
            said.push(format!("{}: {why}", path.key(key)));
        }
    }
}

/// Kinds of volumes that are no more.
fn of_volume(said: &mut Vec<String>, volume: &Value, path: &Path) {
    for (field, shown, why) in [
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ] {
        if has(volume, field) {
            said.push(format!("{}: {why}", path.child(shown)));
        }
    }
    if let Some(template) = get(sub(volume, "ephemeral"), "volumeClaimTemplate") {
        let path = path.child("ephemeral").child("volumeClaimTemplate").child("spec");
        said.extend(storage::fractions(sub(template, "spec"), &path));
    }
    for field in ["cephfs", "rbd"] {
        if has(volume, field) {
            said.push(format!("{}: deprecated in v1.28, non-functional in v1.31+", path.child(field)));
        }
    }
}

/// Items of a list that are there twice, by a field of theirs.
fn repeated(said: &mut Vec<String>, spec: &Value, field: &'static str, by: &'static str, path: &Path) {
    let items = list(spec, field);
    for (n, item) in items.iter().enumerate() {
        if items[..n].iter().any(|other| text(other, by) == text(item, by)) {
            said.push(format!("{}: duplicate {by} {}", path.child(field).index(n).child(by), quote(text(item, by))));
        }
    }
}

/// An amount that is no whole number of bytes.
fn fraction(said: &mut Vec<String>, amounts: &Value, name: &'static str, path: &Path) {
    let amount = amounts.get(name).and_then(|amount| Quantity::from_json(amount).ok());
    if let Some(amount) = amount.filter(|amount| amount.millis() % 1000 != 0) {
        let path = path.key(name);
        said.push(format!("{path}: fractional byte value \"{amount}\" is invalid, must be an integer"));
    }
}

fn of_seccomp(said: &mut Vec<String>, template: &Value, path: &Path) {
    let profile = get(sub(sub(template, "spec"), "securityContext"), "seccompProfile");
    if profile.is_none() && meta::annotation(template, SECCOMP_POD).is_some() {
        old_annotation(said, SECCOMP_POD, SECCOMP, path);
    }
}

const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";

fn old_annotation(said: &mut Vec<String>, key: &str, why: &str, path: &Path) {
    said.push(format!("{}: {why}", path.child("metadata").child("annotations").key(key)));
}

fn of_container(said: &mut Vec<String>, template: &Value, container: &Value, at: &Path, path: &Path) {
    let (name, context) = (text(container, "name"), sub(container, "securityContext"));
    let key = format!("{SECCOMP_CONTAINER}{name}");
    if !has(context, "seccompProfile") && meta::annotation(template, &key).is_some() {
        old_annotation(said, &key, SECCOMP, path);
    }
    let key = format!("{}{name}", app_armor::ANNOTATION);
    if let Some(annotation) = meta::annotation(template, &key).filter(|_| !has(context, "appArmorProfile")) {
        let of_pod = sub(sub(sub(template, "spec"), "securityContext"), "appArmorProfile");
        if of_pod.is_null() || !same(of_pod, &app_armor_field(annotation)) {
            old_annotation(said, &key, "deprecated since v1.30; use the \"appArmorProfile\" field instead", path);
        }
    }
    for name in ["memory", "ephemeral-storage"] {
        for field in ["limits", "requests"] {
            let resources = sub(container, "resources");
            fraction(said, sub(resources, field), name, &at.child("resources").child(field));
        }
    }
    let variables = list(container, "env");
    for (n, variable) in variables.iter().enumerate() {
        let name = text(variable, "name");
        let again = variables[..n].iter().any(|other| text(other, "name") == name);
        // A value that is made of the earlier one is meant to be.
        let reference = format!("$({name})");
        let value = text(variable, "value");
        let builds_on_it = !has(variable, "valueFrom") && value != reference && value.contains(&reference);
        if again && !builds_on_it {
            let at = at.child("env").index(n);
            let name = quote(name);
            said.push(format!("{at}: hides previous definition of {name}, which may be dropped when using apply"));
        }
    }
}

/// The profile that an annotation means; null when it means none.
fn app_armor_field(annotation: &str) -> Value {
    match annotation.strip_prefix("localhost/") {
        Some(profile) if !profile.is_empty() => {
            serde_json::json!({"type": "Localhost", "localhostProfile": profile})
        }
        _ if annotation == "unconfined" => serde_json::json!({"type": "Unconfined"}),
        _ if annotation == "runtime/default" => serde_json::json!({"type": "RuntimeDefault"}),
        _ => Value::Null,
    }
}

/// A port as Go prints it.
fn in_go(port: &Value) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        text(port, "name"),
        int(port, "hostPort").unwrap_or(0),
        int(port, "containerPort").unwrap_or(0),
        text(port, "protocol"),
        text(port, "hostIP")
    )
}

/// Ports of all containers that get in each other's way.
fn of_ports(said: &mut Vec<String>, containers: &[(&Value, Path)]) {
    let mut known: BTreeMap<(i64, &str), Vec<(Path, &Value)>> = BTreeMap::new();
    for (container, path) in containers {
        for (n, port) in list(container, "ports").iter().enumerate() {
            let path = path.child("ports").index(n);
            let (host, number) = (text(port, "hostIP"), int(port, "hostPort").unwrap_or(0));
            if !host.is_empty() && number == 0 {
                said.push(format!("{path}: hostIP set without hostPort: {}", in_go(port)));
            }
            let key = (int(port, "containerPort").unwrap_or(0), text(port, "protocol"));
            let others = known.entry(key).or_default();
            for (other, of) in &*others {
                let (other_host, other_number) = (text(of, "hostIP"), int(of, "hostPort").unwrap_or(0));
                let what = if host == other_host && number == other_number {
                    "duplicate"
                } else if number == 0 || other_number == 0 {
                    "overlapping"
                } else if number == other_number && host.is_empty() != other_host.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                said.push(format!("{path}: {what} port definition with {other}"));
            }
            others.push((path, port));
        }
    }
}

fn of_port_names(said: &mut Vec<String>, containers: &[(&Value, Path)]) {
    let mut known: BTreeMap<&str, Path> = BTreeMap::new();
    for (container, path) in containers {
        for (n, port) in list(container, "ports").iter().enumerate() {
            let (name, path) = (text(port, "name"), path.child("ports").index(n));
            match known.get(name).filter(|_| !name.is_empty()) {
                Some(other) => said.push(format!(
                    "{path}: duplicate port name {} with {other}, services and probes that select ports by name will use {other}",
                    quote(name)
                )),
                None => drop(known.insert(name, path)),
            }
        }
    }
}

/// Files of one volume that would lie over each other.
fn overlaps(said: &mut Vec<String>, volume: &Value) {
    let name = quote(text(volume, "name"));
    let mut say = |what: &str, overlap: String| {
        said.push(format!("volume {name} ({what}): overlapping paths: {overlap}"));
    };
    for (field, of) in [
        ("configMap", format!("ConfigMap {}", quote(text(sub(volume, "configMap"), "name")))),
        ("secret", format!("Secret {}", quote(text(sub(volume, "secret"), "secretName")))),
        ("downwardAPI", "DownwardAPI".to_owned()),
    ] {
        let mut files = Files::default();
        for item in list(sub(volume, field), "items") {
            files.add(text(item, "path"), "", |overlap| say(&of, overlap));
        }
    }
    let Some(projected) = get(volume, "projected") else { return };
    let mut files = Files::default();
    for source in list(projected, "sources") {
        match source.as_object() {
            Some(fields) if fields.values().all(Value::is_null) => {
                said.push(format!("volume {name} (Projected) has no sources provided"));
                continue;
            }
            _ => {}
        }
        for (path, of) in paths_of(source) {
            files.add(path, &of, |overlap| {
                said.push(format!("volume {name} (Projected): overlapping paths: {overlap}"));
            });
        }
    }
}

/// The files that a source of a projected volume makes, and where each is from.
fn paths_of(source: &Value) -> Vec<(&str, String)> {
    let mapped = |field: &str, of: String| -> Vec<(&str, String)> {
        list(sub(source, field), "items").iter().map(|item| (text(item, "path"), of.clone())).collect()
    };
    if has(sub(source, "configMap"), "items") {
        mapped("configMap", format!("ConfigMap {}", quote(text(sub(source, "configMap"), "name"))))
    } else if has(sub(source, "secret"), "items") {
        mapped("secret", format!("Secret {}", quote(text(sub(source, "secret"), "name"))))
    } else if has(sub(source, "downwardAPI"), "items") {
        mapped("downwardAPI", "DownwardAPI".to_owned())
    } else if let Some(token) = get(source, "serviceAccountToken") {
        vec![(text(token, "path"), "ServiceAccountToken".to_owned())]
    } else if let Some(bundle) = get(source, "clusterTrustBundle") {
        let name = if has(bundle, "name") { text(bundle, "name") } else { text(bundle, "signerName") };
        vec![(text(bundle, "path"), format!("ClusterTrustBundle {}", quote(name)))]
    } else if let Some(certificate) = get(source, "podCertificate") {
        [
            ("certificateChainPath", "PodCertificate chain"),
            ("keyPath", "PodCertificate key"),
            ("credentialBundlePath", "PodCertificate credential bundle"),
        ]
        .into_iter()
        .map(|(field, of)| (text(certificate, field), of.to_owned()))
        .filter(|(path, _)| !path.is_empty())
        .collect()
    } else {
        Vec::new()
    }
}

/// Files that a volume has so far, with where each is from.
#[derive(Default)]
struct Files(Vec<(String, String)>);

impl Files {
    /// Adds a file, and says with which others it overlaps: with itself, and with what is above or below it.
    fn add(&mut self, path: &str, of: &str, mut say: impl FnMut(String)) {
        let path = path.trim_end_matches('/');
        let shown = |path: &str, of: &str| match of {
            "" => quote(path),
            of => format!("{} ({of})", quote(path)),
        };
        let below = |path: &str, other: &str| format!("{path}/").starts_with(&format!("{other}/"));
        for (other, other_of) in self.0.iter().filter(|(other, _)| !path.is_empty() && !other.is_empty()) {
            if below(other, path) || below(path, other) {
                say(format!("{} with {}", shown(path, of), shown(other, other_of)));
            }
        }
        self.0.push((path.to_owned(), of.to_owned()));
    }
}
