//! Merging a configuration into an object, and pruning what nobody wants any more, by the schema's list types.

use mk8s_api::schema::Node;
use serde_json::{Map, Value};

use super::fields::{Element, Fields, Items, element, is_atomic, items};

/// The type of what an element leads to.
pub(super) fn child<'a>(node: Node<'a>, element: &Element) -> Option<Node<'a>> {
    match element {
        Element::Field(name) => node.child(name),
        Element::Key(_) | Element::Item(_) => node.items(),
    }
}

/// The value that an element leads to.
pub(super) fn at<'v>(node: Node<'_>, value: &'v Value, wanted: &Element) -> Option<&'v Value> {
    match wanted {
        Element::Field(name) => value.get(name),
        Element::Key(_) | Element::Item(_) => {
            let kind = items(node);
            value.as_array()?.iter().find(|item| element(&kind, item).as_ref() == Some(wanted))
        }
    }
}

/// `canonical` with only those fields that `sent` has; both are the same object, one of them completed.
pub(super) fn restrict(canonical: &Value, sent: &Value) -> Value {
    match (canonical, sent) {
        (Value::Object(canonical), Value::Object(sent)) => {
            let kept = canonical.iter().filter_map(|(key, value)| {
                Some((key.clone(), restrict(value, sent.get(key).filter(|v| !v.is_null())?)))
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        (Value::Array(canonical), Value::Array(sent)) if canonical.len() == sent.len() => {
            Value::Array(canonical.iter().zip(sent).map(|(value, sent)| restrict(value, sent)).collect())
        }
        _ => canonical.clone(),
    }
}

/// The live value with what the configuration says.
pub(super) fn merge(node: Node<'_>, live: Value, configuration: &Value) -> Value {
    if is_atomic(node, configuration)
        && !configuration.as_object().is_some_and(|map| map.is_empty() && live.is_object())
    {
        return configuration.clone();
    }
    match (live, configuration) {
        (Value::Object(mut live), Value::Object(configuration)) => {
            for (name, value) in configuration {
                let merged = match (live.remove(name), node.child(name)) {
                    (Some(old), Some(child)) => merge(child, old, value),
                    _ => value.clone(),
                };
                live.insert(name.clone(), merged);
            }
            Value::Object(live)
        }
        (Value::Array(live), Value::Array(configuration)) => Value::Array(merge_list(node, live, configuration)),
        _ => configuration.clone(),
    }
}

/// Items that are there keep their places, new ones follow.
fn merge_list(node: Node<'_>, mut live: Vec<Value>, configuration: &[Value]) -> Vec<Value> {
    let kind = items(node);
    for item in configuration {
        let wanted = element(&kind, item);
        let same = live.iter().position(|old| wanted.is_some() && element(&kind, old) == wanted);
        match (same, &kind, node.items()) {
            (Some(at), Items::Keyed(_), Some(child)) => live[at] = merge(child, std::mem::take(&mut live[at]), item),
            (Some(_), _, _) => {}
            (None, _, _) => live.push(item.clone()),
        }
    }
    live
}

/// Removes what was wanted `before`, is not wanted `now`, and is wanted by none of the `others`.
pub(super) fn prune(node: Node<'_>, object: &mut Value, before: &Fields, now: Option<&Fields>, others: &[&Fields]) {
    for (place, before) in &before.below {
        let now = now.and_then(|now| now.below.get(place));
        let others: Vec<&Fields> = others.iter().filter_map(|other| other.below.get(place)).collect();
        if now.is_none() && others.is_empty() && (before.below.is_empty() || !matches!(place, Element::Field(_))) {
            remove(node, object, place);
            continue;
        }
        let Some(child) = child(node, place) else { continue };
        let Some(value) = at_mut(node, object, place) else { continue };
        prune(child, value, before, now, &others);
        let emptied = value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        if emptied && now.is_none() && others.is_empty() {
            remove(node, object, place);
        }
    }
}

fn at_mut<'v>(node: Node<'_>, value: &'v mut Value, wanted: &Element) -> Option<&'v mut Value> {
    match wanted {
        Element::Field(name) => value.get_mut(name),
        Element::Key(_) | Element::Item(_) => {
            let kind = items(node);
            value.as_array_mut()?.iter_mut().find(|item| element(&kind, item).as_ref() == Some(wanted))
        }
    }
}

fn remove(node: Node<'_>, value: &mut Value, wanted: &Element) {
    match (wanted, value) {
        (Element::Field(name), Value::Object(map)) => {
            map.remove(name);
        }
        (_, Value::Array(list)) => {
            let kind = items(node);
            list.retain(|item| element(&kind, item).as_ref() != Some(wanted));
        }
        _ => {}
    }
}
