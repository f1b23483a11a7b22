//! Apply configurations: what they set is merged into an object as its schema says, nothing is taken away.

use mk8s_api::{
    apply,
    schema::{ListType, Node},
};
use serde_json::Value;

/// The object with what the configuration sets. Where nothing is known of a field, lists can only be replaced.
pub(super) fn merge(object: &Value, configuration: &Value, root: Option<Node<'_>>) -> Result<Value, String> {
    if let Some(why) = root.and_then(|root| apply::misfit(root, configuration)) {
        return Err(format!("failed to convert patch object to typed object: {why}"));
    }
    let mut atomic = Vec::new();
    find_atomic(root, configuration, "", &mut atomic);
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
    let item_type = node.and_then(Node::items);
    // A key that is left out counts as its default.
    let key_of = |item: &Value, key: &str| item.get(key).cloned().or_else(|| item_type?.key_default(key));
    for item in from {
        let same = |known: &Value| match keys.is_empty() {
            true => known == item,
            false => keys.iter().all(|key| key_of(known, key) == key_of(item, key)),
        };
        match into.iter_mut().find(|known| same(known)) {
            Some(known) => merge_into(known, item, item_type),
            None => into.push(item.clone()),
        }
    }
}

/// Where the configuration sets something that can only be replaced as a whole.
fn find_atomic(node: Option<Node<'_>>, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if node.is_some_and(Node::is_atomic_map) {
                found.push(path.to_string());
            }
            for (name, value) in map {
                find_atomic(node.and_then(|node| node.child(name)), value, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => {
            let list = node.filter(|node| node.is_list());
            if list.is_none_or(|list| matches!(list.list_type(), ListType::Atomic | ListType::Unsaid)) {
                found.push(path.to_string());
            }
            for (index, item) in items.iter().enumerate().filter(|_| list.is_some()) {
                find_atomic(list.and_then(Node::items), item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use mk8s_api::schema;
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_of_custom_kinds_are_merged_by_their_type() {
        let ports = json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"},
            }},
        });
        let schema =
            schema::of_custom(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "byZone": {"type": "object", "additionalProperties": ports},
                "order": {"type": "array", "items": {"type": "string"}},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}}}));
        let object =
            json!({"spec": {"tags": ["a"], "byZone": {"z": [{"port": 80, "protocol": "TCP"}]}, "order": ["x"]}});
        let cases = [
            (json!({"spec": {"tags": ["b", "a"]}}), Ok(json!({"tags": ["a", "b"]}))),
            (
                json!({"spec": {"byZone": {"z": [{"port": 80, "name": "web"}, {"port": 443}]}}}),
                Ok(json!({"byZone": {"z": [{"port": 80, "protocol": "TCP", "name": "web"}, {"port": 443}]}})),
            ),
            (json!({"spec": {"order": ["y"]}}), Err(".spec.order")),
            (json!({"spec": {"open": {"any": ["y"]}}}), Err(".spec.open.any")),
        ];
        for (configuration, expected) in cases {
            let merged = merge(&object, &configuration, Some(schema.node()));
            match expected {
                Ok(fields) => {
                    let mut wanted = object.clone();
                    for (name, value) in fields.as_object().expect("fields") {
                        wanted["spec"][name] = value.clone();
                    }
                    assert_eq!(merged, Ok(wanted));
                }
                Err(place) => assert!(merged.is_err_and(|why| why.ends_with(&format!(": {place}"))), "{place}"),
            }
        }
    }
}
