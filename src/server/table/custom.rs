//! Custom resources: the columns that their definitions name.

use std::sync::Arc;

use jiff::Timestamp;
use mk8s_api::{crd::PrinterColumn, meta};
use serde_json::{Value, json};

use super::{Column, Printer, text};

/// How objects of a custom kind are printed: their name, and then what the definition says.
pub fn custom_printer(columns: Vec<PrinterColumn>) -> Printer {
    let name = Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: "Name of the object, unique in its namespace".into(),
        priority: 0,
    };
    let others = columns.iter().map(|column| Column {
        name: column.name.clone(),
        kind: column.kind.clone(),
        format: column.format.clone(),
        description: column.description.clone(),
        priority: column.priority,
    });
    let all = std::iter::once(name).chain(others).collect();
    let columns: Arc<[PrinterColumn]> = columns.into();
    Printer::new(all, move |object, now| {
        let cells = columns.iter().map(|column| cell(column, object, now));
        std::iter::once(json!(meta::name(object))).chain(cells).collect()
    })
}

fn cell(column: &PrinterColumn, object: &Value, now: Timestamp) -> Value {
    match column.cell(object) {
        Value::String(moment) if column.kind == "date" => match meta::parse_time(&moment) {
            Some(_) => json!(text::since(&json!(moment), now)),
            None => json!("<invalid>"),
        },
        cell => cell,
    }
}
