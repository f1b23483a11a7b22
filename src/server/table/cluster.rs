//! Devices, migrations and other kinds of the cluster as a whole.

use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{age, items, name, text},
};

pub(super) fn printers() -> Declared {
    let devices = "resource.k8s.io";
    let name_and_age = || Printer::of("Name|Age", |o, now| vec![name(o), age(o, now)]);
    vec![
        (devices, "DeviceClass", name_and_age()),
        (devices, "ResourceClaimTemplate", name_and_age()),
        (devices, "ResourceClaim", Printer::of("Name|State|Age", claim)),
        (devices, "ResourceSlice", Printer::of("Name|Node|Driver|Pool|Age", slice)),
        ("storagemigration.k8s.io", "StorageVersionMigration", Printer::of("Name|Resource|Status", migration)),
    ]
}

fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let deleted = meta::is_deleting(object);
    let allocated = status["allocation"].is_object();
    let words = [
        (deleted, "deleted"),
        (!allocated && !deleted, "pending"),
        (allocated, "allocated"),
        (allocated && !items(&status["reservedFor"]).is_empty(), "reserved"),
    ];
    let state: Vec<&str> = words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect();
    vec![name(object), json!(state.join(",")), age(object, now)]
}

fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        json!(text(&spec["nodeName"])),
        json!(text(&spec["driver"])),
        json!(text(&spec["pool"]["name"])),
        age(object, now),
    ]
}

fn migration(object: &Value, _now: Timestamp) -> Vec<Value> {
    let resource = &object["spec"]["resource"];
    let group = text(&resource["group"]);
    let dot = if group.is_empty() { "" } else { "." };
    let mut states = items(&object["status"]["conditions"])
        .iter()
        .rev()
        .filter(|condition| condition["status"] == "True")
        .map(|c| text(&c["type"]));
    let state = states.find(|state| ["Running", "Failed", "Succeeded"].contains(state)).unwrap_or("Unknown");
    vec![name(object), json!(format!("{}{dot}{group}", text(&resource["resource"]))), json!(state)]
}
