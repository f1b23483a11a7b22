//! EndpointSlice: a bounded piece of a Service's endpoints, all of one address type.

use serde_json::Value;

use super::at::{default_pointer, get, items_mut, list, map, maybe_text, remove, same, sub, text, texts};
use super::check::{Errors, PROTOCOLS, immutable, invalid_each, member, required};
use super::{GENERIC, Generation, Rules, Scope, ip};
use crate::field::{FieldError, Path};
use crate::names;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::None,
    default: |slice| {
        for port in items_mut(slice, "ports") {
            default_pointer(port, "name", "");
            default_pointer(port, "protocol", "TCP");
        }
    },
    warnings: |slice, old| {
        const OURS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
        let mut said = Vec::new();
        if old.is_none() && text(slice, "addressType") == "FQDN" {
            said.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        let manager = crate::meta::labels(slice).get("endpointslice.kubernetes.io/managed-by");
        if manager.and_then(Value::as_str).is_some_and(|manager| OURS.contains(&manager)) {
            return said;
        }
        for (n, endpoint) in list(slice, "endpoints").iter().enumerate() {
            let path = Path::new("endpoints").index(n).child("addresses");
            said.extend(
                texts(endpoint, "addresses").enumerate().filter_map(|(n, text)| ip::advice(text, &path.index(n))),
            );
        }
        said
    },
    prepare_create: |slice| {
        crate::meta::set(slice, "generation", 1);
        drop_topology(slice, &[]);
    },
    prepare_update: |new, old| {
        let changed = ["endpoints", "ports"].iter().any(|field| !same(sub(new, field), sub(old, field)));
        if changed || crate::meta::labels(new) != crate::meta::labels(old) {
            super::meta::bump_generation(new);
        }
        if !same(sub(new, "endpoints"), sub(old, "endpoints")) {
            let before = list(old, "endpoints").iter().filter_map(node_label);
            drop_topology(new, &before.map(str::to_owned).collect::<Vec<_>>());
        }
    },
    validate: |slice, errors| {
        check_head(slice, errors);
        check_endpoints(slice, errors);
    },
    validate_update: Some(|new, old, errors| {
        check_head(new, errors);
        if !same(sub(new, "endpoints"), sub(old, "endpoints")) {
            check_endpoints(new, errors);
        }
        immutable(errors, get(new, "addressType"), get(old, "addressType"), &Path::new("addressType"));
    }),
    ..GENERIC
};

/// The name of its node, as endpoints said it before they had a field for it.
fn node_label(endpoint: &Value) -> Option<&str> {
    map(endpoint, "deprecatedTopology").get("kubernetes.io/hostname").and_then(Value::as_str)
}

/// Drops what this version has for reading only; a node that an endpoint had before stays known.
fn drop_topology(slice: &mut Value, nodes_before: &[String]) {
    for endpoint in items_mut(slice, "endpoints") {
        let node = node_label(endpoint).filter(|node| nodes_before.iter().any(|before| before == node));
        let node = node.filter(|node| names::dns1123_subdomain(node).is_empty()).map(str::to_owned);
        if let Some(node) = node {
            default_pointer(endpoint, "nodeName", node);
        }
        remove(endpoint, "deprecatedTopology");
    }
}

fn check_head(slice: &Value, errors: &mut Errors) {
    let kind = text(slice, "addressType");
    if required(errors, kind, &Path::new("addressType")) {
        member(errors, kind, &["FQDN", "IPv4", "IPv6"], &Path::new("addressType"));
    }
    let (ports, path) = (list(slice, "ports"), Path::new("ports"));
    if ports.len() > MAX_PORTS {
        errors.push(FieldError::too_many(&path, ports.len(), MAX_PORTS));
        return;
    }
    for (n, port) in ports.iter().enumerate() {
        let path = path.index(n);
        let name = text(port, "name");
        if !name.is_empty() {
            invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
        }
        if ports[..n].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        member(errors, text(port, "protocol"), PROTOCOLS, &path.child("protocol"));
        if let Some(protocol) = maybe_text(port, "appProtocol") {
            invalid_each(errors, names::qualified_name(protocol), || path.child("appProtocol"), protocol);
        }
    }
}

fn check_endpoints(slice: &Value, errors: &mut Errors) {
    let (endpoints, path) = (list(slice, "endpoints"), Path::new("endpoints"));
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(FieldError::too_many(&path, endpoints.len(), MAX_ENDPOINTS));
        return;
    }
    let kind = text(slice, "addressType");
    for (n, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(n);
        let addresses_path = path.child("addresses");
        let count = list(endpoint, "addresses").len();
        if count == 0 {
            errors.push(FieldError::required(&addresses_path, "must contain at least 1 address"));
        } else if count > MAX_ADDRESSES {
            errors.push(FieldError::too_many(&addresses_path, count, MAX_ADDRESSES));
        }
        for (n, address) in texts(endpoint, "addresses").enumerate() {
            check_address(errors, kind, address, &addresses_path, n);
        }
        if let Some(node) = maybe_text(endpoint, "nodeName") {
            invalid_each(errors, names::dns1123_subdomain(node), || path.child("nodeName"), node);
        }
        if let Some(host) = maybe_text(endpoint, "hostname") {
            invalid_each(errors, names::dns1123_label(host), || path.child("hostname"), host);
        }
        for (field, list_field) in [("forZones", "forZones"), ("forNodes", "forNodes")] {
            let zones = list(sub(endpoint, "hints"), list_field);
            let path = path.child("hints").child(field);
            if zones.len() > 8 {
                errors.push(FieldError::too_many(&path, zones.len(), 8));
                continue;
            }
            for (n, zone) in zones.iter().enumerate() {
                let name = text(zone, "name");
                if zones[..n].iter().any(|other| text(other, "name") == name) {
                    errors.push(FieldError::duplicate(&path.index(n).child("name"), name));
                }
                let check: names::Check =
                    if field == "forZones" { names::label_value } else { names::dns1123_subdomain };
                invalid_each(errors, check(name), || path.index(n).child("name"), name);
            }
        }
    }
}

fn check_address(errors: &mut Errors, kind: &str, address: &str, path: &Path, n: usize) {
    match kind {
        "IPv4" | "IPv6" => {
            if !ip::check(errors, address, &[], &path.index(n)) {
                return;
            }
            if ip::is_v6(address) != (kind == "IPv6") {
                errors.push(FieldError::invalid(path, address, format!("must be an {kind} address")));
            }
            ip::check_endpoint(errors, address, &path.index(n));
        }
        "FQDN" => {
            let name = address.strip_suffix('.').unwrap_or(address);
            let wrong = names::dns1123_subdomain(name);
            if name.is_empty() {
                errors.push(FieldError::required(&path.index(n), ""));
            } else if !wrong.is_empty() {
                errors.push(FieldError::invalid(&path.index(n), name, wrong.join(",")));
            } else if !name.contains('.') {
                errors.push(FieldError::invalid(
                    &path.index(n),
                    name,
                    "should be a domain with at least two segments separated by dots",
                ));
            }
        }
        _ => {}
    }
}
