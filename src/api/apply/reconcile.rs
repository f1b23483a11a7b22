//! Sets that were written under an older schema, brought under today's: what has become one value is owned as one value.

use serde_json::Value;

use super::{
    atom::child,
    set::{FieldSet, Places, has_below, leaf, places},
    step::{self, Items, items},
};
use crate::schema::Node;

/// The set under this schema; `None` when it is as it was.
pub(super) fn reconcile(node: Node<'_>, set: &FieldSet) -> Option<FieldSet> {
    walk(node, &set.0).map(FieldSet)
}

fn walk(node: Node<'_>, at: &Places) -> Option<Places> {
    let mut changed: Option<Places> = None;
    for (step, place) in at {
        if !has_below(place) {
            continue;
        }
        let inner = match step::name(step) {
            Some(name) => child(Some(node), name),
            None => node.items(),
        };
        let Some(inner) = inner.filter(|inner| !inner.is_any() || inner.is_atomic_map()) else { continue };
        let place = if is_one_value(inner) {
            Some(leaf())
        } else {
            places(place).and_then(|below| walk(inner, below)).map(Value::Object)
        };
        if let Some(place) = place {
            changed.get_or_insert_with(|| at.clone()).insert(step.clone(), place);
        }
    }
    changed
}

fn is_one_value(node: Node<'_>) -> bool {
    node.is_atomic_map() || (node.is_list() && matches!(items(node), Items::Atomic))
}
