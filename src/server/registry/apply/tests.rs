//! Field sets, merging and pruning over the schema of a Deployment.

use mk8s_api::schema::schema_of;
use serde_json::json;

use super::{fields::Fields, *};

fn deployment() -> &'static Schema {
    schema_of("apps", "v1", "Deployment").expect("a built-in kind")
}

fn containers(list: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": list}}}})
}

#[test]
fn field_sets_are_written_as_upstream_writes_them() {
    let object = json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["x"]}, "spec": {"replicas": 1, "template": {"spec": {"containers": [
        {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "command": ["a", "b"]}]}}}});
    let fields = Fields::of(deployment().node(), &object);
    let json = fields.to_json();
    assert_eq!(
        json,
        json!({
            "f:metadata": {"f:finalizers": {"v:\"x\"": {}}, "f:labels": {"f:a": {}}},
            "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                ".": {}, "f:command": {}, "f:image": {}, "f:name": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}},
        })
    );
    assert_eq!(Fields::from_json(&json), fields);
}

#[test]
fn lists_are_merged_by_their_keys() {
    let live = containers(json!([{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "1"}]));
    let configuration = containers(json!([{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]));
    let merged = merge::merge(deployment().node(), live, &configuration);
    let expected = containers(
        json!([{"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}]),
    );
    assert_eq!(merged, expected);
}

#[test]
fn what_nobody_wants_goes() {
    let node = deployment().node();
    let before = Fields::of(
        node,
        &json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"paused": true, "template": {"spec": {"containers": [{"name": "x", "image": "1"}, {"name": "y", "image": "1"}]}}}}),
    );
    let now = Fields::of(
        node,
        &json!({"metadata": {"labels": {"a": "1"}}, "spec": {"template": {"spec": {"containers": [{"name": "y"}]}}}}),
    );
    let other = Fields::of(node, &json!({"metadata": {"labels": {"b": "1"}}}));
    let mut object = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"paused": true, "replicas": 1, "template": {"spec": {"containers": [{"name": "x", "image": "1", "tty": true}, {"name": "y", "image": "1"}]}}}});
    merge::prune(node, &mut object, &before, Some(&now), &[&other]);
    assert_eq!(
        object,
        json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "y"}]}}}})
    );
}

#[test]
fn only_what_was_sent_is_wanted() {
    let sent = json!({"spec": {"replicas": 1, "x": null, "l": [{"a": "1000m"}]}});
    let canonical = json!({"spec": {"replicas": 1, "strategy": {}, "l": [{"a": "1", "b": {}}]}, "status": {}});
    assert_eq!(merge::restrict(&canonical, &sent), json!({"spec": {"replicas": 1, "l": [{"a": "1"}]}}));
}

#[test]
fn what_a_write_changes_is_found_in_lists_too() {
    let node = deployment().node();
    let old = containers(json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]));
    let new = containers(json!([{"name": "a", "image": "2", "args": ["x"]}, {"name": "c", "image": "1"}]));
    let (before, after) = (Fields::of(node, &old), Fields::of(node, &new));
    let list = |items: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": items}}}});
    assert_eq!(
        after.changed(node, Some(&new), &before, Some(&old)).to_json(),
        list(json!({
            "k:{\"name\":\"a\"}": {"f:image": {}},
            "k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}},
        }))
    );
    assert_eq!(
        before.without(&after).to_json(),
        list(json!({"k:{\"name\":\"b\"}": {".": {}, "f:image": {}, "f:name": {}}}))
    );
    assert!(after.changed(node, Some(&new), &after, Some(&new)).is_empty());
}

#[test]
fn the_oldest_writers_become_one() {
    let field = |name: &str| Fields::from_json(&json!({"f:data": {format!("f:{name}"): {}}}));
    let mut managers = Managers::default();
    for n in 10..23 {
        let writer = Manager {
            name: format!("w{n}"),
            api_version: "v1".into(),
            subresource: String::new(),
            time: format!("2026-01-01T00:00:{n}Z"),
            applies: false,
            fields: Fields::default(),
        };
        managers = managers.written(writer, &field(&format!("x{n}")), &Fields::default());
    }
    let mut object = json!({"metadata": {}});
    managers.write(&mut object);
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = entries.iter().filter_map(|entry| entry["manager"].as_str()).collect();
    assert_eq!(names, ["ancient-changes", "w14", "w15", "w16", "w17", "w18", "w19", "w20", "w21", "w22"]);
    assert_eq!(entries[0]["fieldsV1"], json!({"f:data": {"f:x10": {}, "f:x11": {}, "f:x12": {}, "f:x13": {}}}));
    assert_eq!(entries[0]["time"], "2026-01-01T00:00:13Z");
}
