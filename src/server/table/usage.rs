//! What nodes and pods use.

use jiff::Timestamp;
use mk8s_api::quantity::Quantity;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{items, name, text},
};

pub(super) fn printers() -> Declared {
    let columns = "Name|cpu|memory|Window";
    vec![
        ("metrics.k8s.io", "NodeMetrics", Printer::of(columns, |object, _| cells(object, &[&object["usage"]]))),
        ("metrics.k8s.io", "PodMetrics", Printer::of(columns, pod)),
    ]
}

fn pod(object: &Value, _: Timestamp) -> Vec<Value> {
    let usages: Vec<&Value> = items(&object["containers"]).iter().map(|container| &container["usage"]).collect();
    cells(object, &usages)
}

fn cells(object: &Value, usages: &[&Value]) -> Vec<Value> {
    let sum = |resource: &str| {
        let amounts = usages.iter().filter_map(|usage| Quantity::from_json(&usage[resource]).ok());
        json!(amounts.fold(Quantity::ZERO, |sum, amount| sum + amount).to_string())
    };
    vec![name(object), sum("cpu"), sum("memory"), json!(text(&object["window"]))]
}
