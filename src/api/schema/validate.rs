//! What a schema alone can refuse: missing required fields and values outside of an enum.
//!
//! `status` is not looked at: it is written by controllers, whose half-filled states Kubernetes lets pass. Neither is
//! `metadata`, which has rules of its own, nor those of objects within the object. A required list or
//! number is not looked at either: Go cannot tell an absent one from a zero one, and what zero means is a rule of the kind.

use serde_json::Value;

use super::graph::{Field, Node, Presence, Shape, ShapeId};
use crate::field::{FieldError, Path};

/// Where the walk is: a list on the stack that becomes a [`Path`] only when something is wrong.
enum At<'a> {
    Top(&'a Path),
    Name(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
    Key(&'a At<'a>, &'a str),
}

impl At<'_> {
    fn path(&self) -> Path {
        match self {
            At::Top(path) => (*path).clone(),
            At::Name(parent, name) => parent.path().child((*name).to_owned()),
            At::Index(parent, index) => parent.path().index(*index),
            At::Key(parent, key) => parent.path().key(*key),
        }
    }
}

pub(super) fn validate(root: Node<'_>, object: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    let (Shape::Object(shape), Value::Object(map)) = (root.shape(), object) else { return };
    let top = At::Top(path);
    for field in shape.fields.iter().filter(|field| !matches!(&*field.name, "metadata" | "status")) {
        check(root, &shape.go, field, map.get(&*field.name), &At::Name(&top, &field.name), errors);
    }
}

/// What the schema calls required although it may be empty, or although something else is said when it is not there.
const MAY_BE_EMPTY: [(&str, &str); 10] = [
    ("v1.DaemonSetSpec", "selector"),
    ("v1.ForNode", "name"),
    ("v1.ForZone", "name"),
    ("v1.GroupResource", "group"),
    ("v1.HTTPHeader", "value"),
    ("v1.LabelSelectorRequirement", "key"),
    ("v1.LabelSelectorRequirement", "operator"),
    ("v1.OpaqueDeviceConfiguration", "parameters"),
    ("v1.Sysctl", "value"),
    ("v1.TokenRequest", "audience"),
];

fn check(root: Node<'_>, owner: &str, field: &Field, value: Option<&Value>, at: &At<'_>, errors: &mut Vec<FieldError>) {
    let value = value.filter(|value| !value.is_null());
    let required = field.required && !MAY_BE_EMPTY.contains(&(owner, &*field.name));
    match value {
        None if required && wants_value(root, field) => errors.push(FieldError::required(&at.path(), "")),
        None => {}
        Some(Value::String(text)) if text.is_empty() => {
            let is_string = matches!(root.graph.shape(field.shape), Shape::String);
            if required && is_string && field.presence == Presence::Always {
                errors.push(FieldError::required(&at.path(), ""));
            }
        }
        Some(value) => {
            let values = field.extra.as_ref().map_or(&[][..], |extra| &extra.values);
            walk(root, field.shape, values, value, at, errors);
        }
    }
}

/// Whether absence can be told from zero: a pointer, or a string (whose zero nobody wants).
fn wants_value(root: Node<'_>, field: &Field) -> bool {
    match field.presence {
        Presence::AlwaysOrNull => true,
        Presence::Always => matches!(root.graph.shape(field.shape), Shape::String),
        Presence::Given => matches!(root.graph.shape(field.shape), Shape::Object(_)),
        Presence::NonZero => false,
    }
}

fn is_object(root: Node<'_>, field: &Field) -> bool {
    matches!(root.graph.shape(field.shape), Shape::Object(_))
}

fn walk(root: Node<'_>, id: ShapeId, values: &[Box<str>], value: &Value, at: &At<'_>, errors: &mut Vec<FieldError>) {
    match (root.graph.shape(id), value) {
        (Shape::String, Value::String(text)) if !values.is_empty() && !values.iter().any(|known| **known == **text) => {
            errors.push(FieldError::not_supported(&at.path(), text.as_str(), values));
        }
        (Shape::Object(object), Value::Object(map)) if object.has_rules => {
            let is_own = |field: &&Field| !(is_object(root, field) && matches!(&*field.name, "metadata" | "status"));
            for field in object.fields.iter().filter(is_own) {
                check(root, &object.go, field, map.get(&*field.name), &At::Name(at, &field.name), errors);
            }
        }
        (Shape::List(items), Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                walk(root, items.shape, values, item, &At::Index(at, index), errors);
            }
        }
        (Shape::Map(inner), Value::Object(map)) => {
            for (key, item) in map {
                walk(root, inner.shape, &[], item, &At::Key(at, key), errors);
            }
        }
        _ => {}
    }
}
