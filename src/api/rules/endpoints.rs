//! Endpoints: addresses that traffic may be sent to, and their ports.

use serde_json::Value;

use super::at::{default, int, items_mut, list, maybe_text, same, sub, text};
use super::check::{Errors, PROTOCOLS, invalid_each, port_number, word};
use super::{GENERIC, Rules, Scope, ip};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    default: |endpoints| {
        for subset in items_mut(endpoints, "subsets") {
            for port in items_mut(subset, "ports") {
                default(port, "protocol", "TCP");
            }
        }
    },
    warnings: |endpoints, _| {
        let labels = crate::meta::labels(endpoints);
        if labels.get("endpoints.kubernetes.io/managed-by").is_some_and(|by| by == "endpoint-controller") {
            return Vec::new();
        }
        let mut said = Vec::new();
        for (n, subset) in list(endpoints, "subsets").iter().enumerate() {
            let path = Path::new("subsets").index(n);
            for field in ["addresses", "notReadyAddresses"] {
                for (n, address) in list(subset, field).iter().enumerate() {
                    said.extend(ip::advice(text(address, "ip"), &path.child(field).index(n).child("ip")));
                }
            }
        }
        said
    },
    validate,
    validate_update: Some(|new, old, errors| {
        if !same(sub(new, "subsets"), sub(old, "subsets")) {
            validate(new, errors);
        }
    }),
    ..GENERIC
};

fn validate(endpoints: &Value, errors: &mut Errors) {
    for (n, subset) in list(endpoints, "subsets").iter().enumerate() {
        let path = Path::new("subsets").index(n);
        if list(subset, "addresses").is_empty() && list(subset, "notReadyAddresses").is_empty() {
            errors.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for field in ["addresses", "notReadyAddresses"] {
            for (n, address) in list(subset, field).iter().enumerate() {
                check_address(errors, address, &path.child(field).index(n));
            }
        }
        let ports = list(subset, "ports");
        for (n, port) in ports.iter().enumerate() {
            check_port(errors, port, ports.len() > 1, &path.child("ports").index(n));
        }
    }
}

fn check_address(errors: &mut Errors, address: &Value, path: &Path) {
    let ip = text(address, "ip");
    ip::check(errors, ip, &[], &path.child("ip"));
    let host = text(address, "hostname");
    if !host.is_empty() {
        invalid_each(errors, names::dns1123_label(host), || path.child("hostname"), host);
    }
    if let Some(node) = maybe_text(address, "nodeName") {
        invalid_each(errors, names::dns1123_subdomain(node), || path.child("nodeName"), node);
    }
    ip::check_endpoint(errors, ip, &path.child("ip"));
}

fn check_port(errors: &mut Errors, port: &Value, named: bool, path: &Path) {
    let name = text(port, "name");
    if named && name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    } else if !name.is_empty() {
        invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
    }
    port_number(errors, int(port, "port").unwrap_or(0), &path.child("port"));
    word(errors, text(port, "protocol"), PROTOCOLS, &path.child("protocol"));
    if let Some(protocol) = maybe_text(port, "appProtocol") {
        invalid_each(errors, names::qualified_name(protocol), || path.child("appProtocol"), protocol);
    }
}
