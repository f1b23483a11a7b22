//! Lists that are sets, or maps by some of their items' fields: no item may stand in them twice.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::structural::Structural;
use crate::field::{FieldError, Path};

/// What stands twice in a list that may not hold it twice.
pub(super) fn validate(schema: &Structural, value: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    if !schema.keyed_lists {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(property) = schema.properties.get(name.as_str()) {
                    validate(property, value, &path.child(name.clone()), errors);
                } else if let Some(values) = schema.field(name) {
                    validate(values, value, &path.key(name.clone()), errors);
                }
            }
        }
        Value::Array(items) => {
            match schema.list_type.as_deref() {
                Some("set") => {
                    for index in repeated(items.iter().map(Value::to_string)) {
                        errors.push(FieldError::duplicate(&path.index(index), items[index].clone()));
                    }
                }
                Some("map") => keyed(schema, items, path, errors),
                _ => {}
            }
            if let Some(schema) = schema.items.as_deref() {
                for (index, item) in items.iter().enumerate() {
                    validate(schema, item, &path.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

fn keyed(schema: &Structural, items: &[Value], path: &Path, errors: &mut Vec<FieldError>) {
    if let Some((index, item)) = items.iter().enumerate().find(|(_, item)| !item.is_null() && !item.is_object()) {
        let detail = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(&path.index(index), item.clone(), detail));
        return;
    }
    let keys: Vec<Value> = items.iter().map(|item| key_of(schema, item)).collect();
    for index in repeated(keys.iter().map(Value::to_string)) {
        errors.push(FieldError::duplicate(&path.index(index), keys[index].clone()));
    }
}

fn key_of(schema: &Structural, item: &Value) -> Value {
    let pair = |key: &str| Some((key.to_owned(), item.get(key)?.clone()));
    Value::Object(schema.list_keys.iter().filter_map(|key| pair(key)).collect::<Map<_, _>>())
}

/// Where each text stands for the second time.
fn repeated(texts: impl Iterator<Item = String>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut second = Vec::new();
    for (index, text) in texts.enumerate() {
        let times = seen.entry(text).or_default();
        *times += 1;
        if *times == 2 {
            second.push(index);
        }
    }
    second
}
