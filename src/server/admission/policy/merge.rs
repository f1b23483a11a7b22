//! Apply configurations: what they set is merged into an object as its schema says, nothing is taken away.

use mk8s_api::schema::{self, ListType, Node};
use serde_json::{Map, Value};

/// The object with what the configuration sets. The kind is group, version and name.
pub(super) fn merge(object: &Value, configuration: &Value, kind: &(String, String, String)) -> Result<Value, String> {
    let (group, version, name) = kind;
    let root = schema::schema_of(group, version, name).map(|schema| schema.node());
    let mut atomic = Vec::new();
    if let Some(root) = root {
        find_atomic(root, configuration, "", &mut atomic);
    } else {
        find_lists(configuration, "", &mut atomic);
    }
    if !atomic.is_empty() {
        let places = atomic.join(", ");
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {places}"));
    }
    let mut merged = object.clone();
    merge_into(&mut merged, configuration, root);
    Ok(merged)
}

fn merge_into(into: &mut Value, from: &Value, node: Option<Node<'_>>) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                let child = node.and_then(|node| node.child(name));
                match into.get_mut(name) {
                    Some(known) => merge_into(known, value, child),
                    None => drop(into.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => merge_lists(into, from, node),
        (into, from) => *into = from.clone(),
    }
}

fn merge_lists(into: &mut Vec<Value>, from: &[Value], node: Option<Node<'_>>) {
    let keys: Vec<&str> = node.map(|node| node.list_map_keys().collect()).unwrap_or_default();
    for item in from {
        let same = |known: &Value| match keys.is_empty() {
            true => known == item,
            false => keys.iter().all(|key| known.get(key) == item.get(key)),
        };
        match into.iter_mut().find(|known| same(known)) {
            Some(known) => merge_into(known, item, node.and_then(Node::items)),
            None => into.push(item.clone()),
        }
    }
}

/// Where the configuration sets something that can only be replaced as a whole.
fn find_atomic(node: Node<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if node.is_atomic_map() {
                found.push(path.to_string());
            }
            children(node, map, path, found);
        }
        Value::Array(items) => {
            if matches!(node.list_type(), ListType::Atomic | ListType::Unsaid) && node.is_list() {
                found.push(path.to_string());
            }
            for (index, item) in items.iter().enumerate() {
                if let Some(items) = node.items() {
                    find_atomic(items, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        _ => {}
    }
}

fn children(node: Node<'_>, map: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for (name, value) in map {
        if let Some(child) = node.child(name) {
            find_atomic(child, value, &format!("{path}.{name}"), found);
        }
    }
}

/// Without a schema every list is one that can only be replaced.
fn find_lists(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| find_lists(value, &format!("{path}.{name}"), found)),
        Value::Array(_) => found.push(path.to_string()),
        _ => {}
    }
}
