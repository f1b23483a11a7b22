//! The fields of a configuration: what a manager owns who applies it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    atom::{Atom, atom, child, declares},
    set::{FieldSet, Places, leaf, member},
    step::{self, Items},
};
use crate::schema::Node;

/// The fields that an object has.
pub(super) fn fields(node: Node<'_>, object: &Value) -> FieldSet {
    match walk(Some(node), object) {
        Some(Value::Object(places)) => FieldSet(places),
        _ => FieldSet::default(),
    }
}

/// The place of a value, or `None` when it is nobody's: a list without items, a struct without fields.
fn walk(node: Option<Node<'_>>, value: &Value) -> Option<Value> {
    match (atom(node, value), value) {
        (Atom::Map, Value::Object(fields)) => map(node, fields),
        (Atom::List(items), Value::Array(list)) => list_items(items, node, list),
        (Atom::Leaf, _) => Some(leaf()),
        // Null, whose place is its parent's to decide.
        (Atom::Map | Atom::List(_), _) => None,
    }
}

fn map(node: Option<Node<'_>>, fields: &Map<String, Value>) -> Option<Value> {
    let mut places = Places::new();
    for (name, value) in fields {
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let below = walk(child(node, name), value);
        let place = match (below, empty || !declares(node, name)) {
            (Some(Value::Object(below)), true) => member(below),
            (Some(below), _) => below,
            (None, true) => leaf(),
            (None, false) => continue,
        };
        places.insert(step::field(name), place);
    }
    (!places.is_empty()).then_some(Value::Object(places))
}

fn list_items(items: Items<'_>, node: Option<Node<'_>>, list: &[Value]) -> Option<Value> {
    let mut places = Places::new();
    let mut twice = BTreeSet::new();
    for item in list {
        let Ok(step) = items.step(item) else { continue };
        if places.contains_key(&step) {
            twice.insert(step);
            continue;
        }
        let place = match items {
            Items::Keyed(_) => match walk(items.of(node), item) {
                Some(Value::Object(below)) => member(below),
                _ => leaf(),
            },
            _ => leaf(),
        };
        places.insert(step, place);
    }
    for step in twice {
        places.insert(step, leaf());
    }
    (!places.is_empty()).then_some(Value::Object(places))
}
