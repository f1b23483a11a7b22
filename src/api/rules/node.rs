//! Node: taints, addresses of pods, amounts of resources, and what a registered node keeps.

use serde_json::Value;

use super::at::{flag, get, list, map, set, sub, sub_mut, text, texts};
use super::check::{Errors, label_key};
use super::{GENERIC, Rules, Scope, ip, resources};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Cluster,
    default: set_defaults,
    prepare_update: |new, old| super::at::keep(new, old, "status"),
    validate,
    validate_update: Some(validate_update),
    validate_status_update: validate_update,
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

/// `podCIDR` is the first of `podCIDRs`; whichever is given fills the other.
fn pair_cidrs(spec: &mut Value) {
    let one = text(spec, "podCIDR").to_string();
    let first = texts(spec, "podCIDRs").next().map(str::to_string);
    match (one.is_empty(), first) {
        (false, None) => set(spec, "podCIDRs", vec![one]),
        (true, Some(first)) => set(spec, "podCIDR", first),
        _ => {}
    }
}

fn validate(node: &Value, errors: &mut Errors) {
    let spec = sub(node, "spec");
    check_taints(errors, list(spec, "taints"));
    check_amounts(errors, node);
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
            let mut error = FieldError::duplicate(&path, taint.clone());
            error.detail = "taints must be unique by key and effect pair".into();
            errors.push(error);
        } else {
            seen.push((key, effect));
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
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
    check_taints(errors, list(spec, "taints"));
}
