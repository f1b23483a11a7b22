//! Services and what is behind them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{NONE, age, items, labels, name, number, shortened, text, text_or, texts},
};

/// So many addresses or ports of a list are shown.
const SHOWN: usize = 3;

pub(super) fn printers() -> Declared {
    vec![
        ("", "Service", Printer::of("Name|Type|Cluster-IP|External-IP|Port(s)|Age|+Selector", service)),
        ("", "Endpoints", Printer::of("Name|Endpoints|Age", endpoints)),
        ("discovery.k8s.io", "EndpointSlice", Printer::of("Name|AddressType|Ports|Endpoints|Age", endpoint_slice)),
    ]
}

fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let ports: Vec<String> = items(&spec["ports"]).iter().map(port).collect();
    vec![
        name(object),
        json!(text(&spec["type"])),
        json!(text_or(&spec["clusterIPs"][0], NONE)),
        json!(external(object)),
        json!(if ports.is_empty() { NONE.to_string() } else { ports.join(",") }),
        age(object, now),
        json!(labels(&spec["selector"])),
    ]
}

fn port(port: &Value) -> String {
    let (number_, protocol) = (number(&port["port"]), text(&port["protocol"]));
    match number(&port["nodePort"]) {
        0 => format!("{number_}/{protocol}"),
        node_port => format!("{number_}:{node_port}/{protocol}"),
    }
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let given = texts(&spec["externalIPs"]);
    match text(&spec["type"]) {
        "ClusterIP" | "NodePort" if given.is_empty() => NONE.to_string(),
        "ClusterIP" | "NodePort" => given.join(","),
        "LoadBalancer" => {
            let all = [load_balancer(service), given].concat();
            if all.is_empty() { "<pending>".to_string() } else { all.join(",") }
        }
        "ExternalName" => text(&spec["externalName"]).to_string(),
        _ => "<unknown>".to_string(),
    }
}

/// Addresses or names of a load balancer, sorted.
pub(super) fn load_balancer(object: &Value) -> Vec<String> {
    let ingress = items(&object["status"]["loadBalancer"]["ingress"]);
    let addresses: BTreeSet<&str> =
        ingress.iter().map(|i| text_or(&i["ip"], text(&i["hostname"]))).filter(|a| !a.is_empty()).collect();
    addresses.into_iter().map(str::to_string).collect()
}

fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut list = Vec::new();
    for subset in items(&object["subsets"]) {
        let addresses = items(&subset["addresses"]).iter().map(|address| text(&address["ip"]));
        let ports = items(&subset["ports"]);
        if ports.is_empty() {
            list.extend(addresses.clone().map(str::to_string));
        }
        for port in ports {
            list.extend(addresses.clone().map(|ip| joined(ip, number(&port["port"]))));
        }
    }
    let shown = match items(&object["subsets"]).is_empty() {
        true => NONE.to_string(),
        false if list.is_empty() => String::new(),
        false => shortened(&list, SHOWN),
    };
    vec![name(object), json!(shown), age(object, now)]
}

fn joined(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let port = |port: &Value| match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None => text_or(&port["name"], "*").to_string(),
    };
    let ports: Vec<String> = items(&object["ports"]).iter().map(port).collect();
    let addresses: Vec<String> =
        items(&object["endpoints"]).iter().flat_map(|endpoint| texts(&endpoint["addresses"])).collect();
    vec![
        name(object),
        json!(text(&object["addressType"])),
        json!(if ports.is_empty() { UNSET_LIST.to_string() } else { shortened(&ports, SHOWN) }),
        json!(if addresses.is_empty() { UNSET_LIST.to_string() } else { shortened(&addresses, SHOWN) }),
        age(object, now),
    ]
}

/// What an empty list of a slice is shown as.
const UNSET_LIST: &str = "<unset>";
