//! Node: taints, addresses of pods, amounts of resources, and what a registered node keeps.

use std::cmp::Ordering;

use serde_json::Value;

use super::at::{flag, get, int, list, map, set, sub, sub_mut, text, texts};
use super::check::{Errors, label_key, positive};
use super::{GENERIC, Rules, Scope, features, ip, resources};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Cluster,
    default: set_defaults,
    prepare_update: |new, old| super::at::keep(new, old, "status"),
    validate,
    validate_update: Some(|new, old, errors| {
        validate(new, errors);
        check_change(new, old, errors);
    }),
    validate_status_update: |new, old, errors| {
        check_declared_features(errors, new);
        check_change(new, old, errors);
    },
    warnings,
    gated: features::NODE,
    selectable: &[("spec.unschedulable", |node| flag(sub(node, "spec"), "unschedulable").unwrap_or(false).to_string())],
    ..GENERIC
};

fn set_defaults(node: &mut Value) {
    if let Some(status) = node.get_mut("status")
        && get(status, "allocatable").is_none()
        && !map(status, "capacity").is_empty()
    {
        let capacity = sub(status, "capacity").clone();
        set(status, "allocatable", capacity);
    }
    if let Some(spec) = sub_mut(node, "spec") {
        pair_cidrs(spec);
    }
}

/// `podCIDR` is the first of `podCIDRs`; the one fills the other, and is believed when they differ.
fn pair_cidrs(spec: &mut Value) {
    let one = text(spec, "podCIDR").to_string();
    let first = texts(spec, "podCIDRs").next().map(str::to_string);
    match (one.is_empty(), first) {
        (false, first) if first.as_ref() != Some(&one) => set(spec, "podCIDRs", vec![one]),
        (true, Some(first)) if !first.is_empty() => set(spec, "podCIDR", first),
        _ => {}
    }
}

fn validate(node: &Value, errors: &mut Errors) {
    let spec = sub(node, "spec");
    check_taints(errors, list(spec, "taints"));
    check_amounts(errors, node);
    if let Some(size) = int(sub(sub(sub(node, "status"), "nodeInfo"), "swap"), "capacity") {
        positive(errors, size, &Path::new("metadata").child("nodeSwapStatus").child("capacity"));
    }
    check_declared_features(errors, node);
    let cidrs: Vec<&str> = texts(spec, "podCIDRs").collect();
    let path = Path::new("spec").child("podCIDRs");
    for (n, cidr) in cidrs.iter().enumerate() {
        ip::check_cidr(errors, cidr, &[], &path.index(n));
    }
    if cidrs.len() > 1 {
        let v6 = cidrs.iter().filter(|cidr| ip::parse_cidr(cidr).is_some_and(|(address, _)| address.is_ipv6())).count();
        if v6 == 0 || v6 == cidrs.len() || cidrs.len() > 2 {
            errors.push(FieldError::invalid(
                &path,
                sub(spec, "podCIDRs").clone(),
                "may specify no more than one CIDR for each IP family",
            ));
        }
    }
}

fn check_amounts(errors: &mut Errors, node: &Value) {
    for field in ["capacity", "allocatable"] {
        for (name, amount) in map(sub(node, "status"), field) {
            resources::quantity_value(errors, name, amount, || Path::new("status").child(field).child(name.clone()));
        }
    }
}

pub(super) const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn check_taints(errors: &mut Errors, taints: &[Value]) {
    let path = Path::new("metadata").child("taints");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (n, taint) in taints.iter().enumerate() {
        let path = path.index(n);
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        label_key(errors, key, || path.child("key"));
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(&path.child("value"), value, wrong.join(";")));
        }
        super::check::word(errors, effect, EFFECTS, &path.child("effect"));
        if seen.contains(&(key, effect)) {
            let mut error = FieldError::duplicate(&path, taint.clone()).with_shown("Taint");
            error.detail = "taints must be unique by key and effect pair".into();
            errors.push(error);
        } else {
            seen.push((key, effect));
        }
    }
}

/// Features that the kubelet says it has: names in order, each once.
fn check_declared_features(errors: &mut Errors, node: &Value) {
    let path = Path::new("status").child("declaredFeatures");
    let features: Vec<&str> = texts(sub(node, "status"), "declaredFeatures").collect();
    for (n, pair) in features.windows(2).enumerate() {
        let path = path.index(n + 1);
        match pair[0].cmp(pair[1]) {
            Ordering::Less => {}
            Ordering::Equal => errors.push(FieldError::duplicate(&path, pair[1])),
            Ordering::Greater => {
                errors.push(FieldError::invalid(&path, pair[1], "list must be sorted alphabetically"));
            }
        }
    }
}

/// Old names of labels of nodes, why they are not to be used, and what they became.
const OLD_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        "topology.kubernetes.io/zone",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
        "node.kubernetes.io/instance-type",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9", ""),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead", ""),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead", ""),
];

/// Why a label of nodes is not to be used any more.
pub(super) fn deprecated_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _, _)| *old == key).map(|(_, why, _)| *why)
}

/// What a label of nodes is called today.
pub(super) fn new_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _, new)| *old == key && !new.is_empty()).map(|(_, _, new)| *new)
}

/// Advice about a label selector that chooses nodes.
pub(super) fn selector_advice(selector: &Value, path: &Path) -> Vec<String> {
    let expressions = list(selector, "matchExpressions").iter().enumerate().filter_map(|(n, expression)| {
        let (key, path) = (text(expression, "key"), path.child("matchExpressions").index(n).child("key"));
        deprecated_label(key).map(|why| format!("{path}: {key} is {why}"))
    });
    let labels = map(selector, "matchLabels").keys().filter_map(|key| {
        let path = path.child("matchLabels").child(key.clone());
        deprecated_label(key).map(|why| format!("{path}: {why}"))
    });
    expressions.chain(labels).collect()
}

fn warnings(node: &Value, _: Option<&Value>) -> Vec<String> {
    let spec = sub(node, "spec");
    let mut said = Vec::new();
    if get(spec, "configSource").is_some() {
        said.push("spec.configSource: the feature is removed".to_owned());
    }
    if !text(spec, "externalID").is_empty() {
        said.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    for (n, range) in texts(spec, "podCIDRs").enumerate() {
        said.extend(ip::cidr_advice(range, &Path::new("spec").child("podCIDRs").index(n)));
    }
    said
}

/// What a node may not become.
fn check_change(new: &Value, old: &Value, errors: &mut Errors) {
    check_taints(errors, list(sub(new, "spec"), "taints"));
    check_amounts(errors, new);
    let addresses = list(sub(new, "status"), "addresses");
    for (n, address) in addresses.iter().enumerate() {
        if addresses[..n].contains(address) {
            errors.push(FieldError::duplicate(&Path::new("status").child("addresses").index(n), address.clone()));
        }
    }
    let (spec, old_spec) = (sub(new, "spec"), sub(old, "spec"));
    let cidrs = list(old_spec, "podCIDRs");
    if !cidrs.is_empty() && cidrs != list(spec, "podCIDRs") {
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        ));
    }
    let provider = text(old_spec, "providerID");
    if !provider.is_empty() && provider != text(spec, "providerID") {
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        ));
    }
    if text(spec, "externalID") != text(old_spec, "externalID") {
        errors.push(FieldError::forbidden(&Path::new("spec").child("externalID"), "may not be updated"));
    }
}
