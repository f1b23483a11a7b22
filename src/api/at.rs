//! Reading and completing objects that are held as JSON, the way a Go struct reads: `null` is absent, and an
//! absent field has its zero value. A value of a wrong type reads as absent too; the schema has refused it before.

use serde_json::{Map, Value};
use std::sync::LazyLock;

static NULL: Value = Value::Null;
static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// The field's value unless absent or null.
pub fn get<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).filter(|found| !found.is_null())
}

/// The field's value, null when absent: for reading on below it.
pub fn sub<'a>(value: &'a Value, field: &str) -> &'a Value {
    value.get(field).unwrap_or(&NULL)
}

pub fn has(value: &Value, field: &str) -> bool {
    get(value, field).is_some()
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

pub fn maybe_text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

pub fn int(value: &Value, field: &str) -> Option<i64> {
    value.get(field).and_then(Value::as_i64)
}

pub fn flag(value: &Value, field: &str) -> Option<bool> {
    value.get(field).and_then(Value::as_bool)
}

pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn map<'a>(value: &'a Value, field: &str) -> &'a Map<String, Value> {
    value.get(field).and_then(Value::as_object).unwrap_or(&EMPTY)
}

/// The texts of a list of texts.
pub fn texts<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    list(value, field).iter().filter_map(Value::as_str)
}

/// Whether two fields are the same, an absent one equal to an empty map or list.
pub fn same(left: &Value, right: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match (left, right) {
        (left, right) if empty(left) && empty(right) => true,
        (Value::Object(left), Value::Object(right)) => {
            let in_both = left.iter().all(|(key, value)| same(value, right.get(key).unwrap_or(&NULL)));
            in_both && right.iter().all(|(key, value)| left.contains_key(key) || empty(value))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (left, right) => left == right,
    }
}

pub fn get_mut<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    value.get_mut(field).filter(|found| !found.is_null())
}

pub fn items_mut<'a>(value: &'a mut Value, field: &str) -> &'a mut [Value] {
    match value.get_mut(field) {
        Some(Value::Array(items)) => items,
        _ => &mut [],
    }
}

/// The map in the field, made when absent or null. `None` when the value is no map or the field holds another type.
pub fn map_mut<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    let fields = value.as_object_mut()?;
    let slot = fields.entry(field).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

/// The list in the field, made when absent or null. `None` when the value is no map or the field holds another type.
pub fn list_mut<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    let fields = value.as_object_mut()?;
    let slot = fields.entry(field).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut()
}

/// As [`map_mut`], as a value.
pub fn sub_mut<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    map_mut(value, field)?;
    value.get_mut(field)
}

pub fn set(value: &mut Value, field: &str, to: impl Into<Value>) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(field.to_string(), to.into());
    }
}

pub fn remove(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}

/// Sets a field that is absent, null or the zero of a field that is no pointer (`""`, `0`).
pub fn default(value: &mut Value, field: &str, to: impl Into<Value>) {
    let Some(fields) = value.as_object_mut() else { return };
    let unset = match fields.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        _ => false,
    };
    if unset {
        fields.insert(field.to_string(), to.into());
    }
}

/// Sets a field that is absent or null (a pointer in Go).
pub fn default_pointer(value: &mut Value, field: &str, to: impl Into<Value>) {
    let Some(fields) = value.as_object_mut() else { return };
    if fields.get(field).is_none_or(Value::is_null) {
        fields.insert(field.to_string(), to.into());
    }
}

/// Takes the field of `old`, its absence included.
pub fn keep(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(kept) => set(new, field, kept.clone()),
        None => remove(new, field),
    }
}
