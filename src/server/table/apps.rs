//! Workloads that keep pods running.

use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{NONE, age, containers, labels, name, number, selector, typed_selector},
};

pub(super) fn printers() -> Declared {
    let replicated = "Name|Desired:integer|Current:integer|Ready:integer|Age|+Containers|+Images|+Selector";
    let daemons = "Name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age|+Containers|+Images|+Selector";
    vec![
        (
            "apps",
            "Deployment",
            Printer::of("Name|Ready|Up-to-date|Available|Age|+Containers|+Images|+Selector", deployment),
        ),
        ("apps", "ReplicaSet", Printer::of(replicated, replica_set)),
        ("", "ReplicationController", Printer::of(replicated, replication_controller)),
        ("apps", "StatefulSet", Printer::of("Name|Ready|Age|+Containers|+Images", stateful_set)),
        ("apps", "DaemonSet", Printer::of(daemons, daemon_set)),
        ("apps", "ControllerRevision", Printer::of("Name|Controller|Revision|Age", controller_revision)),
        ("autoscaling", "Scale", Printer::of("Name|Desired:integer|Available:integer|Age", scale)),
    ]
}

/// Replicas wanted: one where nothing is said.
fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn count(object: &Value, field: &str) -> Value {
    json!(number(&object["status"][field]))
}

fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(&object["spec"]["template"]["spec"]);
    let selected = typed_selector(&object["spec"]["selector"]).unwrap_or_else(|| "<invalid>".to_string());
    vec![
        name(object),
        json!(format!("{}/{}", number(&object["status"]["readyReplicas"]), wanted(object))),
        count(object, "updatedReplicas"),
        count(object, "availableReplicas"),
        age(object, now),
        names,
        images,
        json!(selected),
    ]
}

fn replicas(object: &Value, now: Timestamp, selected: String) -> Vec<Value> {
    let [names, images] = containers(&object["spec"]["template"]["spec"]);
    vec![
        name(object),
        json!(wanted(object)),
        count(object, "replicas"),
        count(object, "readyReplicas"),
        age(object, now),
        names,
        images,
        json!(selected),
    ]
}

fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    replicas(object, now, selector(&object["spec"]["selector"]))
}

fn replication_controller(object: &Value, now: Timestamp) -> Vec<Value> {
    replicas(object, now, labels(&object["spec"]["selector"]))
}

fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(&object["spec"]["template"]["spec"]);
    let ready = format!("{}/{}", number(&object["status"]["readyReplicas"]), wanted(object));
    vec![name(object), json!(ready), age(object, now), names, images]
}

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(&object["spec"]["template"]["spec"]);
    vec![
        name(object),
        count(object, "desiredNumberScheduled"),
        count(object, "currentNumberScheduled"),
        count(object, "numberReady"),
        count(object, "updatedNumberScheduled"),
        count(object, "numberAvailable"),
        json!(labels(&object["spec"]["template"]["spec"]["nodeSelector"])),
        age(object, now),
        names,
        images,
        json!(selector(&object["spec"]["selector"])),
    ]
}

fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let controller = meta::controller(object).map(|owner| {
        let (group, _) = meta::group_version(owner.api_version);
        let dot = if group.is_empty() { "" } else { "." };
        format!("{}{dot}{group}/{}", owner.kind.to_lowercase(), owner.name)
    });
    vec![name(object), json!(controller.as_deref().unwrap_or(NONE)), object["revision"].clone(), age(object, now)]
}

fn scale(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), json!(number(&object["spec"]["replicas"])), count(object, "replicas"), age(object, now)]
}
