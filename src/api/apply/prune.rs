//! Pruning: what a manager applied before and applies no more goes, unless somebody else owns it.

use serde_json::{Map, Value};

use super::{
    atom::{Atom, atom, child, declares},
    extract,
    set::{FieldSet, Places, below, enlist, has_below, is_member, places},
    step::{self, Items},
};
use crate::schema::Node;

/// What the walks below need of an object in several versions of its kind.
pub trait Versions {
    /// The type of the kind's objects in a version; `None` when there is none.
    fn node(&self, api_version: &str) -> Option<Node<'_>>;

    /// The object in another version. `None` when it cannot be had.
    fn convert(&self, object: &Value, api_version: &str) -> Option<Value>;
}

/// Takes out of the merged object what is in `before` and not owned any more; `owned` has the fields of all managers by
/// version, those just applied among them. The result is in the version of `before`; `None` when nothing goes.
pub(super) fn prune(
    versions: &dyn Versions,
    merged: &Value,
    before: &FieldSet,
    version: &str,
    owned: &[(String, FieldSet)],
) -> Option<Value> {
    let mine = owned.iter().find(|(other, _)| other == version).map(|(_, fields)| fields);
    if mine.is_some_and(|mine| before.without(mine).is_empty()) {
        return None;
    }
    let node = versions.node(version)?;
    let merged = versions.convert(merged, version)?;
    let before = named(Some(node), before);
    let mut pruned = merged.clone();
    remove(Some(node), &mut pruned, &before.0);
    let others = owned.iter().filter(|(other, _)| other != version);
    for (version, fields) in owned.iter().filter(|(other, _)| other == version).chain(others) {
        let (Some(node), Some(whole), Some(left)) =
            (versions.node(version), versions.convert(&merged, version), versions.convert(&pruned, version))
        else {
            continue;
        };
        pruned = add_back(node, whole, &left, fields);
    }
    let pruned = versions.convert(&pruned, version)?;
    let mut gone = named(Some(node), &extract::fields(node, &merged));
    gone.subtract(&named(Some(node), &extract::fields(node, &pruned)));
    let gone = gone.shared(&before);
    if gone.is_empty() {
        return None;
    }
    let mut left = merged;
    remove(Some(node), &mut left, &gone.0);
    Some(left)
}

/// The whole object without what neither the pruned one nor a manager has.
fn add_back(node: Node<'_>, mut whole: Value, pruned: &Value, owned: &FieldSet) -> Value {
    let node = Some(node);
    let fields =
        |object: &Value| node.map(|node| named(Some(node), &extract::fields(node, object))).unwrap_or_default();
    let mut gone = fields(&whole);
    gone.subtract(&fields(pruned));
    gone.subtract(&named(node, owned));
    remove(node, &mut whole, &gone.0);
    whole
}

/// The set with all named fields as members that have members below them. Maps and items are left as they are.
fn named(node: Option<Node<'_>>, set: &FieldSet) -> FieldSet {
    fn walk(node: Option<Node<'_>>, at: &Places) -> Places {
        let mut all = Places::new();
        for (step, place) in at {
            let inner = match step::name(step) {
                Some(name) => child(node, name),
                None => node.and_then(Node::items),
            };
            let below = match places(place) {
                Some(below) if has_below(place) => walk(inner, below),
                _ => place.as_object().cloned().unwrap_or_default(),
            };
            let below = Value::Object(below);
            let is_named = step::name(step).is_some_and(|name| declares(node, name));
            all.insert(step.clone(), if is_named && !is_member(&below) { enlist(&below) } else { below });
        }
        all
    }
    FieldSet(walk(node, &set.0))
}

/// Takes the members of a set out of an object. What is emptied stays, empty.
fn remove(node: Option<Node<'_>>, value: &mut Value, gone: &Places) {
    match atom(node, value) {
        Atom::Map => {
            let Value::Object(fields) = value else { return };
            for (step, place) in gone {
                let Some(name) = step::name(step) else { continue };
                if is_member(place) {
                    fields.remove(name);
                } else if let (Some(inner), Some(below)) = (fields.get_mut(name), places(place)) {
                    remove(child(node, name), inner, below);
                }
            }
        }
        Atom::List(items) => {
            let Value::Array(list) = value else { return };
            let item_type = match items {
                Items::Keyed(_) => items.of(node),
                _ => None,
            };
            list.retain_mut(|item| {
                let Some(place) = items.step(item).ok().and_then(|step| gone.get(&step)) else { return true };
                if is_member(place) {
                    return false;
                }
                if let Some(below) = places(place) {
                    remove(item_type, item, below);
                }
                true
            });
        }
        // One value, of which no part can go.
        Atom::Leaf => match value {
            Value::Object(fields) if below_any(gone) => *fields = Map::new(),
            Value::Array(list) if below_any(gone) => list.clear(),
            _ => {}
        },
    }
}

fn below_any(gone: &Places) -> bool {
    gone.values().any(|place| is_member(place) || below(place).next().is_some())
}
