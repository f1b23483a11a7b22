//! Nodes, and what nodes report of their drivers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{NONE, UNKNOWN, age, condition, items, name, text, text_or},
};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE: &str = "kubernetes.io/role";

pub(super) fn printers() -> Declared {
    let columns =
        "Name|Status|Roles|Age|Version|+Internal-IP|+External-IP|+OS-Image|+Kernel-Version|+Container-Runtime";
    vec![
        ("", "Node", Printer::of(columns, node)),
        (
            "node.k8s.io",
            "RuntimeClass",
            Printer::of("Name|Handler|Age", |o, now| vec![name(o), json!(text(&o["handler"])), age(o, now)]),
        ),
        (
            "storage.k8s.io",
            "CSINode",
            Printer::of("Name|Drivers:integer|Age", |o, now| {
                vec![name(o), json!(items(&o["spec"]["drivers"]).len()), age(o, now)]
            }),
        ),
    ]
}

fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = &object["status"]["nodeInfo"];
    let roles = roles(object);
    let kernel = match text(&info["architecture"]) {
        "" => text_or(&info["kernelVersion"], UNKNOWN).to_string(),
        architecture => format!("{} ({architecture})", text_or(&info["kernelVersion"], UNKNOWN)),
    };
    vec![
        name(object),
        json!(status(object)),
        json!(if roles.is_empty() { NONE.to_string() } else { roles.join(",") }),
        age(object, now),
        json!(text(&info["kubeletVersion"])),
        json!(address(object, "InternalIP")),
        json!(address(object, "ExternalIP")),
        json!(text_or(&info["osImage"], UNKNOWN)),
        json!(kernel),
        json!(text_or(&info["containerRuntimeVersion"], UNKNOWN)),
    ]
}

fn status(node: &Value) -> String {
    let ready = match condition(node, "Ready") {
        Some(ready) if ready["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if node["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn roles(node: &Value) -> Vec<&str> {
    let labels = meta::labels(node).iter();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => value.as_str().filter(|_| key == ROLE),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.into_iter().collect()
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = items(&node["status"]["addresses"]).iter().find(|address| address["type"] == kind);
    found.map_or(NONE, |address| text(&address["address"]))
}
