//! What to send so that an object becomes what its file says now: additions and changes against the live object, deletions
//! of what the last applied file had and this one has not. Fields that others set stay.
//!
//! With a schema the answer is a strategic merge patch (lists merge by key), without one a JSON merge patch.

use mk8s_api::schema::Node;
use serde_json::{Map, Value, json};

/// The patch; an empty object when nothing is to be done.
pub(crate) fn patch(schema: Option<Node<'_>>, original: &Value, modified: &Value, current: &Value) -> Value {
    object(schema, original, modified, current).into()
}

fn object(schema: Option<Node<'_>>, original: &Value, modified: &Value, current: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, wanted) in modified.as_object().into_iter().flatten() {
        let child = schema.and_then(|node| node.child(key));
        let (before, now) = (&original[key], &current[key]);
        match (wanted, now) {
            (Value::Null, Value::Null) => {}
            (Value::Object(_), Value::Object(_)) => {
                let mut inner = object(child, before, wanted, now);
                if let Some(fields) =
                    wanted.as_object().filter(|_| !inner.is_empty() && child.is_some_and(|node| node.retains_keys()))
                {
                    inner.insert("$retainKeys".to_owned(), fields.keys().cloned().collect::<Vec<_>>().into());
                }
                if !inner.is_empty() {
                    patch.insert(key.clone(), inner.into());
                }
            }
            (Value::Array(wanted), Value::Array(now)) if child.is_some_and(|node| node.merges()) => {
                let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
                list(child, key, before, wanted, now, &mut patch);
            }
            (wanted, now) if same(wanted, now) => {}
            (wanted, _) => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    for key in original.as_object().into_iter().flatten().map(|(key, _)| key) {
        if modified.get(key).is_none() && current.get(key).is_some() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

/// Equal, numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

fn list(
    schema: Option<Node<'_>>,
    key: &str,
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    patch: &mut Map<String, Value>,
) {
    match schema.and_then(|node| node.merge_key()) {
        Some(merge_key) => keyed_list(schema, key, merge_key, original, modified, current, patch),
        None => set_list(key, original, modified, current, patch),
    }
}

/// A list of scalars that merges as a set.
fn set_list(key: &str, original: &[Value], modified: &[Value], current: &[Value], patch: &mut Map<String, Value>) {
    let added: Vec<Value> = modified.iter().filter(|item| !current.contains(item)).cloned().collect();
    let gone: Vec<Value> =
        original.iter().filter(|item| !modified.contains(item) && current.contains(item)).cloned().collect();
    if added.is_empty() && gone.is_empty() {
        return;
    }
    patch.insert(format!("$setElementOrder/{key}"), modified.to_vec().into());
    if !gone.is_empty() {
        patch.insert(format!("$deleteFromPrimitiveList/{key}"), gone.into());
    }
    if !added.is_empty() {
        patch.insert(key.to_owned(), added.into());
    }
}

fn keyed_list(
    schema: Option<Node<'_>>,
    key: &str,
    merge_key: &str,
    original: &[Value],
    modified: &[Value],
    current: &[Value],
    patch: &mut Map<String, Value>,
) {
    if !(unique(modified, merge_key) && unique(current, merge_key)) {
        // Items cannot be told apart by the key (a port for TCP and UDP): the list is replaced as a whole.
        if modified != current {
            let mut whole = vec![json!({"$patch": "replace"})];
            whole.extend(modified.iter().cloned());
            patch.insert(key.to_owned(), whole.into());
        }
        return;
    }
    let item_schema = schema.and_then(|node| node.items());
    let find = |list: &[Value], item: &Value| list.iter().find(|other| other[merge_key] == item[merge_key]).cloned();
    let mut changes: Vec<Value> = Vec::new();
    for item in modified {
        let Some(now) = find(current, item) else {
            changes.push(item.clone());
            continue;
        };
        let before = find(original, item).unwrap_or_default();
        let mut inner = object(item_schema, &before, item, &now);
        if !inner.is_empty() {
            if let Some(fields) = item.as_object().filter(|_| {
                item_schema.is_some_and(|node| node.retains_keys()) || schema.is_some_and(|node| node.retains_keys())
            }) {
                inner.insert("$retainKeys".to_owned(), fields.keys().cloned().collect::<Vec<_>>().into());
            }
            inner.insert(merge_key.to_owned(), item[merge_key].clone());
            changes.push(inner.into());
        }
    }
    for item in original {
        if find(modified, item).is_none() && find(current, item).is_some() {
            changes.push(json!({"$patch": "delete", merge_key: item[merge_key]}));
        }
    }
    if changes.is_empty() {
        return;
    }
    let order: Vec<Value> = modified.iter().map(|item| json!({merge_key: item[merge_key]})).collect();
    patch.insert(format!("$setElementOrder/{key}"), order.into());
    patch.insert(key.to_owned(), changes.into());
}

fn unique(items: &[Value], merge_key: &str) -> bool {
    items.iter().enumerate().all(|(index, item)| {
        item.get(merge_key).is_some() && !items[..index].iter().any(|other| other[merge_key] == item[merge_key])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(containers: Value, replicas: Value) -> Value {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": {"app": "x"}},
            "spec": {"template": {"spec": {"containers": containers}}}});
        if !replicas.is_null() {
            object["spec"]["replicas"] = replicas;
        }
        object
    }

    fn schema() -> Option<Node<'static>> {
        mk8s_api::schema::schema_of("apps", "v1", "Deployment").map(|schema| schema.node())
    }

    #[test]
    fn fields_of_others_stay_and_own_ones_go() {
        let original = deployment(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]), json!(3));
        let modified = deployment(json!([{"name": "a", "image": "2"}]), Value::Null);
        let current = deployment(
            json!([{"name": "a", "image": "1", "imagePullPolicy": "Always"}, {"name": "b", "image": "1"}, {"name": "sidecar", "image": "s"}]),
            json!(3),
        );
        let expected = json!({"spec": {"replicas": null, "template": {"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "a", "image": "2"}, {"name": "b", "$patch": "delete"}]}}}});
        assert_eq!(patch(schema(), &original, &modified, &current), expected);
    }

    #[test]
    fn nothing_to_do_is_an_empty_patch() {
        let modified = deployment(json!([{"name": "a", "image": "1", "env": [{"name": "A", "value": "1"}]}]), json!(1));
        let mut current = modified.clone();
        current["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log".into();
        current["status"] = json!({"replicas": 1});
        assert_eq!(patch(schema(), &modified, &modified, &current), json!({}));
        assert_eq!(patch(None, &modified, &modified, &modified), json!({}));
    }

    #[test]
    fn without_a_schema_lists_are_whole() {
        let (old, new) = (json!({"spec": {"l": [{"name": "a"}], "gone": 1}}), json!({"spec": {"l": [{"name": "b"}]}}));
        let current = json!({"spec": {"l": [{"name": "a"}], "gone": 1, "other": 2}});
        assert_eq!(patch(None, &old, &new, &current), json!({"spec": {"l": [{"name": "b"}], "gone": null}}));
    }

    #[test]
    fn strategies_retain_keys() {
        let mut original = deployment(json!([]), Value::Null);
        original["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
        let mut modified = deployment(json!([]), Value::Null);
        modified["spec"]["strategy"] = json!({"type": "Recreate"});
        let expected =
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null, "$retainKeys": ["type"]}}});
        assert_eq!(patch(schema(), &original, &modified, &original), expected);
    }

    #[test]
    fn a_port_for_two_protocols_replaces_the_list() {
        let schema = mk8s_api::schema::schema_of("", "v1", "Service").map(|schema| schema.node());
        let service = |ports: Value| json!({"spec": {"ports": ports}});
        let old = service(json!([{"port": 53, "protocol": "UDP"}]));
        let new = service(json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]));
        let got = patch(schema, &old, &new, &old);
        assert_eq!(got["spec"]["ports"][0], json!({"$patch": "replace"}));
        assert_eq!(got["spec"]["ports"].as_array().map(Vec::len), Some(3));
    }
}
