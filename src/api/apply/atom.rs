//! What a value is to those who walk it beside its type: one leaf, a list of items, or a map of fields.

use serde_json::Value;

use super::step::{Items, items};
use crate::schema::Node;

/// The form of a value under a type. A type that allows anything takes the form of its value: maps are walked, lists are
/// one value.
#[derive(Clone, Copy)]
pub(super) enum Atom<'a> {
    /// One value: a scalar, or a list or map that is owned as a whole.
    Leaf,
    List(Items<'a>),
    Map,
}

pub(super) fn atom<'a>(node: Option<Node<'a>>, value: &Value) -> Atom<'a> {
    let known = node.filter(|node| !node.is_any());
    let atomic_map = node.is_some_and(Node::is_atomic_map);
    match known {
        Some(node) if node.is_struct() || node.is_map() => match value {
            Value::Object(_) | Value::Null if !atomic_map => Atom::Map,
            _ => Atom::Leaf,
        },
        Some(node) if node.is_list() => match value {
            Value::Array(_) | Value::Null => match items(node) {
                Items::Atomic => Atom::Leaf,
                items => Atom::List(items),
            },
            _ => Atom::Leaf,
        },
        Some(_) => Atom::Leaf,
        None => match value {
            Value::Object(_) | Value::Null if !atomic_map => Atom::Map,
            _ => Atom::Leaf,
        },
    }
}

/// The type of a field of a map or struct; `None` where anything may stand.
pub(super) fn child<'a>(node: Option<Node<'a>>, name: &str) -> Option<Node<'a>> {
    node.and_then(|node| node.child(name))
}

/// Whether the type names the field, as structs do and maps do not.
pub(super) fn declares(node: Option<Node<'_>>, name: &str) -> bool {
    node.is_some_and(|node| node.is_struct() && node.child(name).is_some())
}

pub(super) fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
