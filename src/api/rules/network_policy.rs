//! NetworkPolicy: peers, ports and ranges.

use serde_json::{Value, json};

use super::at::{default_pointer, get, has, int, items_mut, list, set, sub, sub_mut, text, texts};
use super::check::{self, Errors, invalid_each, member, port_number, required};
use super::{GENERIC, Generation, Rules, Scope, ip};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    default: set_defaults,
    validate: |policy, errors| validate(policy, &[], errors),
    // Ranges that were there before may stay, whatever is wrong with them.
    validate_update: Some(|new, old, errors| {
        let before: Vec<&str> = ranges(old).into_iter().map(|(range, _)| range).collect();
        validate(new, &before, errors);
    }),
    warnings: |policy, _| ranges(policy).into_iter().flat_map(|(range, path)| ip::cidr_advice(range, &path)).collect(),
    ..GENERIC
};

/// All ranges of a policy, with those that are excepted, and where they stand.
fn ranges(policy: &Value) -> Vec<(&str, Path)> {
    let mut found = Vec::new();
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (r, rule) in list(sub(policy, "spec"), direction).iter().enumerate() {
            for (p, peer) in list(rule, peers).iter().enumerate() {
                let Some(block) = get(peer, "ipBlock") else { continue };
                let path = Path::new("spec").child(direction).index(r).child(peers).index(p).child("ipBlock");
                found.push((text(block, "cidr"), path.child("cidr")));
                found.extend(
                    texts(block, "except").enumerate().map(|(n, range)| (range, path.child("except").index(n))),
                );
            }
        }
    }
    found
}

fn set_defaults(policy: &mut Value) {
    let Some(spec) = sub_mut(policy, "spec") else { return };
    if list(spec, "policyTypes").is_empty() {
        let with_egress = !list(spec, "egress").is_empty();
        set(spec, "policyTypes", if with_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
    for direction in ["ingress", "egress"] {
        for rule in items_mut(spec, direction) {
            for port in items_mut(rule, "ports") {
                default_pointer(port, "protocol", "TCP");
            }
        }
    }
}

fn validate(policy: &Value, before: &[&str], errors: &mut Errors) {
    let (spec, path) = (sub(policy, "spec"), Path::new("spec"));
    check::label_selector(errors, sub(spec, "podSelector"), &path.child("podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (n, rule) in list(spec, direction).iter().enumerate() {
            let path = path.child(direction).index(n);
            for (n, port) in list(rule, "ports").iter().enumerate() {
                check_port(errors, port, &path.child("ports").index(n));
            }
            for (n, peer) in list(rule, peers).iter().enumerate() {
                check_peer(errors, peer, before, &path.child(peers).index(n));
            }
        }
    }
    let types = list(spec, "policyTypes");
    let path = path.child("policyTypes");
    if types.len() > 2 {
        errors.push(FieldError::invalid(
            &path,
            Value::from(types.to_vec()),
            "may not specify more than two policyTypes",
        ));
        return;
    }
    for (n, kind) in types.iter().enumerate() {
        member(errors, kind.as_str().unwrap_or(""), &["Ingress", "Egress"], &path.index(n));
    }
}

fn check_port(errors: &mut Errors, port: &Value, path: &Path) {
    if has(port, "protocol") {
        member(errors, text(port, "protocol"), &["TCP", "UDP", "SCTP"], &path.child("protocol"));
    }
    let (port_path, end_path) = (path.child("port"), path.child("endPort"));
    let end = int(port, "endPort");
    match get(port, "port") {
        Some(Value::String(name)) => {
            if let Some(end) = end {
                errors.push(FieldError::invalid(&end_path, end, "may not be specified when `port` is non-numeric"));
            }
            invalid_each(errors, names::port_name(name), || port_path.clone(), name);
        }
        Some(number) => {
            let number = number.as_i64().unwrap_or(0);
            port_number(errors, number, &port_path);
            if let Some(end) = end {
                if end < number {
                    errors.push(FieldError::invalid(&end_path, number, "must be greater than or equal to `port`"));
                }
                port_number(errors, end, &end_path);
            }
        }
        None => {
            if let Some(end) = end {
                errors.push(FieldError::invalid(&end_path, end, "may not be specified when `port` is not specified"));
            }
        }
    }
}

fn check_peer(errors: &mut Errors, peer: &Value, before: &[&str], path: &Path) {
    let mut peers = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = get(peer, field) {
            peers += 1;
            check::label_selector(errors, selector, &path.child(field));
        }
    }
    if let Some(block) = get(peer, "ipBlock") {
        peers += 1;
        check_block(errors, block, before, &path.child("ipBlock"));
    }
    if peers == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    } else if peers > 1 && has(peer, "ipBlock") {
        errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
    }
}

fn check_block(errors: &mut Errors, block: &Value, before: &[&str], path: &Path) {
    let cidr = text(block, "cidr");
    if !required(errors, cidr, &path.child("cidr")) {
        return;
    }
    ip::check_cidr(errors, cidr, before, &path.child("cidr"));
    let Some((base, length)) = ip::parse_cidr(cidr) else { return };
    let Ok(network) = ipnet::IpNet::new(base, length) else { return };
    for (n, except) in texts(block, "except").enumerate() {
        let path = path.child("except").index(n);
        ip::check_cidr(errors, except, before, &path);
        let Some((inner, inner_length)) = ip::parse_cidr(except) else { continue };
        if !network.contains(&inner) || length >= inner_length {
            errors.push(FieldError::invalid(&path, except, "must be a strict subset of `cidr`"));
        }
    }
}
