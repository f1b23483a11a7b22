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
