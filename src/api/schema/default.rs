//! Defaults that need nothing but the schema.

use serde_json::Value;

use super::graph::{Field, Node, Presence, Shape, ShapeId};

pub(super) fn default(root: Node<'_>, object: &mut Value) {
    walk(root, root.id, object);
}

fn walk(root: Node<'_>, id: ShapeId, value: &mut Value) {
    match (root.graph.shape(id), value) {
        (Shape::Object(object), Value::Object(map)) if object.has_defaults => {
            for field in &object.fields {
                if let Some(default) = field.extra.as_ref().and_then(|extra| extra.default.as_ref())
                    && map.get(&*field.name).is_none_or(|value| is_unset(field, value))
                {
                    map.insert(field.name.to_string(), default.clone());
                }
                if let Some(value) = map.get_mut(&*field.name) {
                    walk(root, field.shape, value);
                }
            }
        }
        (Shape::Map(values), Value::Object(map)) if leads_on(root, values.shape) => {
            map.values_mut().for_each(|value| walk(root, values.shape, value));
        }
        (Shape::List(items), Value::Array(list)) if leads_on(root, items.shape) => {
            list.iter_mut().for_each(|value| walk(root, items.shape, value));
        }
        _ => {}
    }
}

/// A pointer is unset when it is nil; a value cannot be told from zero.
fn is_unset(field: &Field, value: &Value) -> bool {
    match field.presence {
        Presence::Given | Presence::AlwaysOrNull => value.is_null(),
        Presence::NonZero | Presence::Always => match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Array(list) => list.is_empty(),
            _ => false,
        },
    }
}

fn leads_on(root: Node<'_>, id: ShapeId) -> bool {
    match root.graph.shape(id) {
        Shape::Object(object) => object.has_defaults,
        Shape::List(_) | Shape::Map(_) => true,
        _ => false,
    }
}
