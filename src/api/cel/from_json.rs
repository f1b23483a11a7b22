//! JSON to values under a schema: numbers, times and bytes get the types that their schema names.

use serde_json::Value as Json;

use super::error::EvalError;
use super::library::times;
use super::schema::{DeclType, Kind};
use super::value::{Entries, List, Map, Text, Value};
use crate::decode;

impl<'a> Value<'a> {
    /// The value of JSON with a schema.
    pub fn of_schema(json: &'a Json, of: Option<&'a DeclType>) -> Result<Value<'a>, EvalError> {
        let Some(of) = of else { return Ok(Value::dynamic(json)) };
        if json.is_null() {
            return if of.nullable {
                Ok(Value::Null)
            } else {
                Err(EvalError::other("invalid data, got null for schema with nullable=false"))
            };
        }
        let wrong =
            |expected: &str| Err(EvalError::other(format!("invalid data, expected {expected}, got {}", go_type(json))));
        match (&of.kind, json) {
            (Kind::IntOrString, Json::String(text)) => Ok(Value::String(Text::Borrowed(text))),
            (Kind::IntOrString, Json::Number(number)) if number.is_i64() => Ok(Value::dynamic(json)),
            (Kind::IntOrString, _) => {
                Err(EvalError::other("invalid data, expected XIntOrString value to be either a string or integer"))
            }
            (Kind::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
            (Kind::Bool, _) => wrong("bool"),
            (Kind::Int, Json::Number(number)) => match whole(number) {
                Some(value) => Ok(Value::Int(value)),
                None => wrong("int"),
            },
            (Kind::Int, _) => wrong("int"),
            (Kind::Double, Json::Number(number)) => Ok(Value::Double(number.as_f64().unwrap_or(f64::NAN))),
            (Kind::Double, _) => wrong("float"),
            (Kind::List { items, order }, Json::Array(list)) => {
                Ok(Value::List(List::Json { items: list, of: Some(items), order: Some(order) }))
            }
            (Kind::List { .. }, _) => {
                Err(EvalError::other("invalid data, expected an array for the provided schema with type=array"))
            }
            (Kind::Map { values, .. }, Json::Object(map)) => {
                Ok(Value::Map(Map::Json { map, of: Entries::Values(values) }))
            }
            (Kind::Object { .. }, Json::Object(map)) => Ok(Value::Map(Map::Json { map, of: Entries::Fields(of) })),
            (Kind::Map { .. } | Kind::Object { .. }, _) => {
                Err(EvalError::other("invalid data, expected a map for the provided schema with type=object"))
            }
            (kind, Json::String(text)) => of_text(kind, text),
            _ => wrong("string"),
        }
    }
}

/// A whole number, also where it is written with a fraction of nothing.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64().and_then(decode::whole))
}

fn of_text<'a>(kind: &Kind, text: &'a str) -> Result<Value<'a>, EvalError> {
    let invalid = |what: &str| EvalError::other(format!("Invalid {what} {text}"));
    match kind {
        Kind::Duration => times::parse_schema_duration(text)
            .map(Value::Duration)
            .map_err(|why| EvalError::other(format!("Invalid duration {text}: {why}"))),
        Kind::Date => times::parse_date(text).map(Value::Timestamp).ok_or_else(|| invalid("date formatted string")),
        Kind::DateTime => times::parse_schema_timestamp(text)
            .map(Value::Timestamp)
            .ok_or_else(|| invalid("date-time formatted string")),
        Kind::Bytes => {
            let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
            decoded.map(|bytes| Value::Bytes(bytes.into())).map_err(|_| invalid("byte formatted string"))
        }
        _ => Ok(Value::String(Text::Borrowed(text))),
    }
}

fn go_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}
