//! Merging a configuration into an object, by the list and map types of the schema.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    atom::{Atom, atom, child, is_void},
    step::Items,
};
use crate::schema::Node;

/// The live object with all that the configuration says.
pub(super) fn merge(node: Node<'_>, live: &Value, configuration: &Value) -> Value {
    both(Some(node), live, configuration)
}

fn both(node: Option<Node<'_>>, live: &Value, wanted: &Value) -> Value {
    match (atom(node, live), atom(node, wanted)) {
        (Atom::Map, Atom::Map) if !(is_void(live) && is_void(wanted)) => maps(node, live, wanted),
        (Atom::List(items), Atom::List(_)) if !(is_void(live) && is_void(wanted)) => lists(items, node, live, wanted),
        _ => wanted.clone(),
    }
}

fn maps(node: Option<Node<'_>>, live: &Value, wanted: &Value) -> Value {
    let mut merged = live.as_object().cloned().unwrap_or_default();
    for (name, value) in wanted.as_object().unwrap_or(&Map::new()) {
        let value = match merged.get(name) {
            Some(old) => both(child(node, name), old, value),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Value::Object(merged)
}

/// Items of both keep the order of the configuration among themselves; those of the live list alone stay where they are
/// between them.
fn lists(items: Items<'_>, node: Option<Node<'_>>, live: &Value, wanted: &Value) -> Value {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let (live, wanted) = (list(live), list(wanted));
    let steps =
        |list: &[Value]| -> Vec<String> { list.iter().map(|item| items.step(item).unwrap_or_default()).collect() };
    let (left, right) = (steps(&live), steps(&wanted));
    let mut in_live: HashMap<&str, Option<&Value>> = HashMap::new();
    for (step, item) in left.iter().zip(&live) {
        // An item that stands twice is not merged with.
        in_live.entry(step).and_modify(|known| *known = None).or_insert(Some(item));
    }
    let in_wanted: HashMap<&str, &Value> = right.iter().map(String::as_str).zip(&wanted).collect();
    let mut shared = right.iter().filter(|step| in_live.contains_key(step.as_str())).map(String::as_str);
    let mut next = shared.next();
    let mut done: HashSet<&str> = HashSet::new();
    let mut merged = Vec::with_capacity(live.len().max(wanted.len()));
    let item_type = match items {
        Items::Keyed(_) => items.of(node),
        _ => None,
    };
    let merge_item = |step: &str| {
        let wanted = in_wanted.get(step).copied()?;
        Some(match in_live.get(step).copied().flatten() {
            Some(old) => both(item_type, old, wanted),
            None => wanted.clone(),
        })
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
            if a == b {
                done.insert(a);
                merged.extend(merge_item(a));
                (l, r) = (l + 1, r + 1);
                next = shared.next();
                continue;
            }
            if in_wanted.contains_key(a.as_str()) && next.is_some_and(|next| next != a) {
                // It comes later, in the configuration's order.
                l += 1;
                continue;
            }
        }
        if let Some(a) = left.get(l) {
            if !in_wanted.contains_key(a.as_str()) {
                merged.push(live[l].clone());
                l += 1;
                continue;
            }
            if done.contains(a.as_str()) {
                l += 1;
            }
        }
        if let Some(b) = right.get(r) {
            done.insert(b);
            merged.extend(merge_item(b));
            r += 1;
            if next == Some(b) {
                next = shared.next();
            }
        }
    }
    Value::Array(merged)
}
