//! What differs between two states of an object, found by one walk over both.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    atom::{Atom, atom, child, is_void},
    set::{FieldSet, Places, leaf, member},
    step::{self, Items},
};
use crate::schema::Node;

/// How a state came from another.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Difference {
    /// What is there no more.
    pub(super) removed: FieldSet,
    /// What is new or has another value.
    pub(super) changed: FieldSet,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What names an object and what only the server writes there: nobody owns it.
const ADDRESS: [&str; 2] = ["apiVersion", "kind"];
const SERVERS: [&str; 9] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Compares two states of one object, but for what nobody owns.
pub(super) fn compare(node: Node<'_>, old: &Value, new: &Value) -> Difference {
    let node = Some(node);
    let (mut removed, mut changed) = (Places::new(), Places::new());
    let whole = maps(node, old, new, &[ADDRESS[0], ADDRESS[1], "metadata"]);
    let below = maps(child(node, "metadata"), part(old), part(new), &SERVERS);
    for (places, found, metadata) in
        [(&mut removed, whole.removed, below.removed), (&mut changed, whole.changed, below.changed)]
    {
        if let Some(Value::Object(found)) = found {
            *places = found;
        }
        if let Some(metadata) = metadata {
            places.insert(step::field("metadata"), metadata);
        }
    }
    Difference { removed: FieldSet(removed), changed: FieldSet(changed) }
}

fn part(object: &Value) -> &Value {
    object.get("metadata").unwrap_or(&Value::Null)
}

/// Takes out of the fields of a configuration what nobody owns.
pub(super) fn forget_address(fields: &mut FieldSet) {
    for name in ADDRESS {
        fields.0.remove(&step::field(name));
    }
    let step = step::field("metadata");
    let Some(Value::Object(metadata)) = fields.0.get_mut(&step) else { return };
    metadata.remove(".");
    for name in SERVERS {
        metadata.remove(&step::field(name));
    }
    if metadata.is_empty() {
        fields.0.remove(&step);
    }
}

/// The places of one value, where something differs.
#[derive(Default)]
struct Found {
    removed: Option<Value>,
    changed: Option<Value>,
}

impl Found {
    fn below(removed: Places, changed: Places) -> Found {
        let some = |places: Places| (!places.is_empty()).then_some(Value::Object(places));
        Found { removed: some(removed), changed: some(changed) }
    }
}

fn both(node: Option<Node<'_>>, old: &Value, new: &Value) -> Found {
    match (atom(node, old), atom(node, new)) {
        (Atom::Map, Atom::Map) if !(is_void(old) && is_void(new)) => maps(node, old, new, &[]),
        (Atom::List(items), Atom::List(_)) if !(is_void(old) && is_void(new)) => lists(items, node, old, new),
        // Another form altogether: what was below is gone, what is below now is new, and so is the place.
        (Atom::Map, Atom::Leaf) if old.is_object() => {
            Found { removed: maps(node, old, &Value::Null, &[]).removed, changed: Some(leaf()) }
        }
        (Atom::Leaf, Atom::Map) if new.is_object() => Found {
            removed: None,
            changed: Some(match maps(node, &Value::Null, new, &[]).changed {
                Some(Value::Object(below)) => member(below),
                _ => leaf(),
            }),
        },
        _ if old == new => Found::default(),
        _ => Found { removed: None, changed: Some(leaf()) },
    }
}

/// Both in the order of their names, side by side.
fn maps(node: Option<Node<'_>>, old: &Value, new: &Value, skipped: &[&str]) -> Found {
    let none = Map::new();
    let (mut removed, mut changed) = (Places::new(), Places::new());
    let counted = |(name, _): &(&String, &Value)| !skipped.contains(&name.as_str());
    let mut left = old.as_object().unwrap_or(&none).iter().filter(counted).peekable();
    let mut right = new.as_object().unwrap_or(&none).iter().filter(counted).peekable();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return Found::below(removed, changed),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let old = if order.is_le() { left.next() } else { None };
        let new = if order.is_ge() { right.next() } else { None };
        match (old, new) {
            (Some((name, old)), Some((_, new))) => {
                let found = both(child(node, name), old, new);
                if let Some(place) = found.removed {
                    removed.insert(step::field(name), place);
                }
                if let Some(place) = found.changed {
                    changed.insert(step::field(name), place);
                }
            }
            (Some((name, old)), None) => drop(removed.insert(step::field(name), whole(child(node, name), old))),
            (None, Some((name, new))) => drop(changed.insert(step::field(name), whole(child(node, name), new))),
            (None, None) => {}
        }
    }
}

fn lists(items: Items<'_>, node: Option<Node<'_>>, old: &Value, new: &Value) -> Found {
    if old == new {
        return Found::default();
    }
    let mut steps: BTreeMap<String, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for item in old.as_array().into_iter().flatten() {
        if let Ok(step) = items.step(item) {
            steps.entry(step).or_default().0.push(item);
        }
    }
    for item in new.as_array().into_iter().flatten() {
        if let Ok(step) = items.step(item) {
            steps.entry(step).or_default().1.push(item);
        }
    }
    let item_type = match items {
        Items::Keyed(_) => items.of(node),
        _ => None,
    };
    let (mut removed, mut changed) = (Places::new(), Places::new());
    for (step, (old, new)) in steps {
        match (old.as_slice(), new.as_slice()) {
            ([old], [new]) => {
                let found = both(item_type, old, new);
                if let Some(place) = found.removed {
                    removed.insert(step.clone(), place);
                }
                if let Some(place) = found.changed {
                    changed.insert(step, place);
                }
            }
            ([old], []) => drop(removed.insert(step, whole(item_type, old))),
            ([], [new]) => drop(changed.insert(step, whole(item_type, new))),
            // Items that stand twice are one value.
            ([_, _, ..], [_, _, ..]) if old == new => {}
            ([_, _, ..], [_, _, ..]) => drop(changed.insert(step, leaf())),
            ([_, _, ..], rest) => {
                if let [new] = rest {
                    changed.insert(step.clone(), whole(item_type, new));
                }
                removed.insert(step, leaf());
            }
            (rest, _) => {
                if let [old] = rest {
                    removed.insert(step.clone(), whole(item_type, old));
                }
                changed.insert(step, leaf());
            }
        }
    }
    Found::below(removed, changed)
}

/// The place of a value of which one of the two states has nothing: it is a member, and so is all that is below it.
fn whole(node: Option<Node<'_>>, value: &Value) -> Value {
    let mut below = Places::new();
    match (atom(node, value), value) {
        (Atom::Map, Value::Object(fields)) => {
            for (name, value) in fields {
                below.insert(step::field(name), whole(child(node, name), value));
            }
        }
        (Atom::List(items), Value::Array(list)) => {
            let item_type = match items {
                Items::Keyed(_) => items.of(node),
                _ => None,
            };
            for item in list {
                let Ok(step) = items.step(item) else { continue };
                let place = if below.contains_key(&step) { leaf() } else { whole(item_type, item) };
                below.insert(step, place);
            }
        }
        _ => {}
    }
    member(below)
}
