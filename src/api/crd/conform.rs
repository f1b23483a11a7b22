//! The form in which a custom object is kept: metadata as every object has it, no field that the schema does not know,
//! defaults where something is missing.

use serde_json::{Map, Value};

use super::{
    embedded,
    structural::{Additional, Structural},
};
use crate::schema::DecodeError;

/// What is done to an object that comes from a client; the paths of what it may not have.
pub fn received(schema: &Structural, object: &mut Value) -> Result<Vec<String>, DecodeError> {
    let unknown = shaped(schema, object)?;
    default(schema, object);
    Ok(unknown)
}

/// The same without defaults.
pub fn shaped(schema: &Structural, object: &mut Value) -> Result<Vec<String>, DecodeError> {
    let mut unknown = embedded::coerce_root(object, false)?;
    let mut pruned = Pruned { at: Vec::new(), unknown: Vec::new() };
    prune_root(schema, object, &mut pruned);
    drop_nulls(object, schema);
    pruned.unknown.sort();
    unknown.append(&mut pruned.unknown);
    embedded::coerce(schema, object, &mut unknown, false)?;
    Ok(unknown)
}

/// What is done to an object that was stored when the schema was another one: it is not refused any more.
pub fn stored(schema: &Structural, object: &mut Value) {
    let mut unknown = embedded::coerce_root(object, true).unwrap_or_default();
    prune_root(schema, object, &mut Pruned { at: Vec::new(), unknown: Vec::new() });
    drop_nulls(object, schema);
    // Nothing is refused here: what is malformed is dropped.
    let _ = embedded::coerce(schema, object, &mut unknown, true);
    default(schema, object);
}

/// As [`stored`], for what is about to be stored: defaults are those of the version that was written.
pub fn to_store(schema: &Structural, object: &mut Value) {
    prune_root(schema, object, &mut Pruned { at: Vec::new(), unknown: Vec::new() });
}

/// Drops what the schema does not know, from a value that is no whole object unless it is embedded.
pub fn prune_value(schema: &Structural, value: &mut Value) {
    prune(value, Some(schema), &mut Pruned { at: Vec::new(), unknown: Vec::new() });
}

const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

struct Pruned {
    at: Vec<String>,
    unknown: Vec<String>,
}

impl Pruned {
    fn below<T>(&mut self, step: String, walk: impl FnOnce(&mut Pruned) -> T) -> T {
        self.at.push(step);
        let done = walk(self);
        self.at.pop();
        done
    }

    fn field<T>(&mut self, name: &str, walk: impl FnOnce(&mut Pruned) -> T) -> T {
        let step = if self.at.is_empty() { name.to_owned() } else { format!(".{name}") };
        self.below(step, walk)
    }

    fn note(&mut self, name: &str) {
        let path = self.field(name, |pruned| pruned.at.concat());
        self.unknown.push(path);
    }
}

fn prune_root(schema: &Structural, object: &mut Value, pruned: &mut Pruned) {
    let Value::Object(fields) = object else { return };
    if schema.preserves_unknown {
        skip_fields(fields, schema, true, pruned);
    } else {
        prune_fields(fields, schema, true, pruned);
    }
}

fn prune(value: &mut Value, schema: Option<&Structural>, pruned: &mut Pruned) {
    let preserved = schema.filter(|schema| schema.preserves_unknown);
    if let Some(schema) = preserved {
        return skip(value, schema, pruned);
    }
    match (value, schema) {
        (Value::Object(fields), None) => {
            fields.keys().for_each(|name| pruned.note(name));
            fields.clear();
        }
        (Value::Object(fields), Some(schema)) => prune_fields(fields, schema, schema.embedded, pruned),
        (Value::Array(items), schema) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            for (index, item) in items.iter_mut().enumerate() {
                pruned.below(format!("[{index}]"), |pruned| prune(item, schema, pruned));
            }
        }
        _ => {}
    }
}

fn prune_fields(fields: &mut Map<String, Value>, schema: &Structural, resource: bool, pruned: &mut Pruned) {
    fields.retain(|name, value| {
        if resource && META.contains(&name.as_str()) {
            return true;
        }
        match (schema.properties.get(name.as_str()), &schema.additional) {
            (Some(property), _) => pruned.field(name, |pruned| prune(value, Some(property), pruned)),
            (None, Some(Additional::Schema(values))) => pruned.field(name, |pruned| prune(value, Some(values), pruned)),
            (None, Some(Additional::Any(_))) => pruned.field(name, |pruned| prune(value, None, pruned)),
            (None, None) => {
                if !META.contains(&name.as_str()) || !pruned.at.is_empty() {
                    pruned.note(name);
                }
                return false;
            }
        }
        true
    });
}

/// Where unknown fields are kept, those that are known are still looked into.
fn skip(value: &mut Value, schema: &Structural, pruned: &mut Pruned) {
    match value {
        Value::Object(fields) => skip_fields(fields, schema, schema.embedded, pruned),
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for (index, item) in items.iter_mut().enumerate() {
                pruned.below(format!("[{index}]"), |pruned| skip(item, schema, pruned));
            }
        }
        _ => {}
    }
}

fn skip_fields(fields: &mut Map<String, Value>, schema: &Structural, resource: bool, pruned: &mut Pruned) {
    for (name, value) in fields.iter_mut().filter(|(name, _)| !(resource && META.contains(&name.as_str()))) {
        match (schema.properties.get(name.as_str()), &schema.additional) {
            (Some(property), _) => pruned.field(name, |pruned| prune(value, Some(property), pruned)),
            (None, Some(Additional::Schema(values))) => pruned.field(name, |pruned| prune(value, Some(values), pruned)),
            (None, Some(Additional::Any(_))) => pruned.field(name, |pruned| prune(value, None, pruned)),
            (None, None) => {}
        }
    }
}

/// Drops nulls where there may be none, unless a default takes their place.
fn drop_nulls(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let Some(schema) = schema.field(name) else { return true };
            if value.is_null() {
                return schema.nullable || schema.default.is_some();
            }
            drop_nulls(value, schema);
            true
        }),
        Value::Array(items) => {
            if let Some(schema) = schema.items.as_deref() {
                items.iter_mut().for_each(|item| drop_nulls(item, schema));
            }
        }
        _ => {}
    }
}

/// Sets the defaults of what is missing.
pub fn default(schema: &Structural, value: &mut Value) {
    if !schema.defaults {
        return;
    }
    let is_unset = |value: &Value, schema: &Structural| value.is_null() && !schema.nullable;
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(set) = &property.default else { continue };
                if fields.get(&**name).is_none_or(|value| is_unset(value, property)) {
                    fields.insert(name.to_string(), set.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                let Some(property) = schema.field(name) else { continue };
                if is_unset(value, property)
                    && let Some(set) = &property.default
                {
                    *value = set.clone();
                }
                default(property, value);
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for item in items {
                if is_unset(item, schema)
                    && let Some(set) = &schema.default
                {
                    *item = set.clone();
                }
                default(schema, item);
            }
        }
        _ => {}
    }
}
