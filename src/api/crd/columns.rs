//! The columns of a kind's tables: `additionalPrinterColumns`.

use serde_json::{Value, json};

use crate::{
    at::{int, list, text},
    json_path::{Template, value_text},
};

/// One column, and where its cells are found.
#[derive(Clone, Debug)]
pub struct PrinterColumn {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: u32,
    /// `None` when the path is none: the column stays empty.
    path: Option<Template>,
}

impl PrinterColumn {
    /// The columns of a version, beside the name: one that tells the age when none are given.
    pub fn all(version: &Value) -> Vec<PrinterColumn> {
        match list(version, "additionalPrinterColumns") {
            [] => vec![PrinterColumn::read(&json!({
                "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
                "description": "Time since the object was created",
            }))],
            columns => columns.iter().map(PrinterColumn::read).collect(),
        }
    }

    fn read(column: &Value) -> PrinterColumn {
        let path = text(column, "jsonPath");
        let description = match text(column, "description") {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            given => given.to_owned(),
        };
        PrinterColumn {
            name: text(column, "name").to_owned(),
            kind: text(column, "type").to_owned(),
            format: text(column, "format").to_owned(),
            description,
            priority: int(column, "priority").and_then(|priority| u32::try_from(priority).ok()).unwrap_or(0),
            path: Template::parse(&format!("{{{path}}}")).ok(),
        }
    }

    /// The cell of an object; dates are left as they are, for whoever knows the time.
    pub fn cell(&self, object: &Value) -> Value {
        let found = self.path.as_ref().and_then(|path| path.find(object).ok()?.first().copied().cloned());
        match (&*self.kind, found) {
            (_, None) => Value::Null,
            ("string", Some(value)) => value_text(&value).into(),
            (_, Some(Value::Null)) => Value::Null,
            ("integer", Some(value)) => match (value.as_i64(), value.as_f64()) {
                (Some(number), _) => number.into(),
                (None, Some(number)) => (number as i64).into(),
                (None, None) => Value::Null,
            },
            ("number", Some(value @ Value::Number(_))) => value,
            ("boolean", Some(value @ Value::Bool(_))) => value,
            ("date", Some(value @ Value::String(_))) => value,
            _ => Value::Null,
        }
    }
}
