//! Server-side printing: objects as `meta.k8s.io/v1 Table`, with Kubernetes' columns.
//!
//! Reading order: [`render`], then [`columns`] (how a kind's columns are declared), then one file per group of kinds.
//! A kind without columns of its own prints Name and Created At, as upstream does.
//!
//! Invariant: pure; the time comes in as an argument, and any JSON is printable.

mod apps;
mod batch;
mod cluster;
mod columns;
mod config;
mod custom;
mod extension;
mod networking;
mod nodes;
mod pods;
mod policy;
mod rbac;
mod services;
mod storage;
mod text;
mod usage;

#[cfg(test)]
mod tests;

pub use columns::{Column, Printer};
pub use custom::custom_printer;

use jiff::Timestamp;
use serde_json::{Value, json};

/// What each row carries of its object (`includeObject=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    /// Reads the query parameter; unknown words are the caller's 400.
    pub fn parse(text: &str) -> Option<Include> {
        match text {
            "" | "Metadata" => Some(Include::Metadata),
            "None" => Some(Include::None),
            "Object" => Some(Include::Object),
            _ => None,
        }
    }
}

/// A table of `objects`, all of one kind. The caller sets `metadata` (resourceVersion, continue, ...) of the answer.
pub fn render(group: &str, kind: &str, objects: &[Value], include: Include, now: Timestamp) -> Value {
    render_with(printer_of(group, kind), objects, include, now)
}

/// As [`render`], with columns that come from elsewhere (custom resources).
pub fn render_with(printer: &Printer, objects: &[Value], include: Include, now: Timestamp) -> Value {
    let rows: Vec<Value> = objects.iter().map(|object| row(printer, object, include, now)).collect();
    json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "Table",
        "metadata": {},
        "columnDefinitions": printer.definitions(),
        "rows": rows,
    })
}

/// How objects of a kind are printed.
pub fn printer_of(group: &str, kind: &str) -> &'static Printer {
    columns::find(group, kind).unwrap_or_else(|| columns::generic())
}

fn row(printer: &Printer, object: &Value, include: Include, now: Timestamp) -> Value {
    let mut row = json!({"cells": printer.cells(object, now)});
    if let Some(conditions) = pods::row_conditions(object).filter(|_| object["kind"] == "Pod") {
        row["conditions"] = conditions;
    }
    match include {
        Include::None => {}
        Include::Object => row["object"] = object.clone(),
        Include::Metadata => {
            row["object"] = json!({
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadata",
                "metadata": object["metadata"],
            });
        }
    }
    row
}
