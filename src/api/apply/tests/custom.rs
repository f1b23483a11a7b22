//! Lists in maps and in lists, keys with defaults and keys that may be text or number, as custom kinds have them.

use serde_json::{Value, json};

use super::super::{
    Counted, Versions, Writer,
    configuration::{self, ApplyError},
};
use crate::schema::{self, Node, Schema};

const VERSION: &str = "example.com/v1";

struct Tabs(Schema);

impl Versions for Tabs {
    fn node(&self, _: &str) -> Option<Node<'_>> {
        Some(self.0.node())
    }

    fn convert(&self, object: &Value, _: &str) -> Option<Value> {
        Some(object.clone())
    }
}

fn tabs() -> Tabs {
    let port = json!({
        "type": "object",
        "required": ["port"],
        "properties": {
            "port": {"x-kubernetes-int-or-string": true},
            "protocol": {"type": "string", "default": "TCP"},
            "weight": {"x-kubernetes-int-or-string": true, "default": 0},
            "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        },
    });
    let ports = json!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol", "weight"],
        "items": port,
    });
    let open = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"inner": {"type": "object", "properties": {"known": {"type": "string"}}}},
    });
    Tabs(schema::of_custom(&json!({
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {
            "byZone": {"type": "object", "additionalProperties": ports},
            "tags": {"type": "object", "additionalProperties": {
                "type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"},
            }},
            "whole": {"type": "object", "additionalProperties": {
                "type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"},
            }},
            "rows": {"type": "array", "items": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}},
            "open": open,
        }}},
    })))
}

/// An object that two managers apply to, one after the other; what each owns and what came of it.
fn applied(first: Value, second: Value) -> Result<(Value, Vec<String>), ApplyError> {
    let (tabs, mut live) = (tabs(), Value::Null);
    for (name, spec) in [("a", first), ("b", second)] {
        let configuration = json!({"apiVersion": VERSION, "kind": "Tab", "metadata": {"name": "t"}, "spec": spec});
        let writer = Writer {
            name,
            api_version: VERSION,
            subresource: "",
            now: "2026-01-01T00:00:00Z",
            counted: &Counted::All,
            versions: &tabs,
        };
        let (mut object, managers) = if live.is_null() {
            (configuration.clone(), configuration::create(&writer, &configuration)?)
        } else {
            let done = configuration::apply(&writer, &json!({}), &live, &configuration, false, &Ok)?;
            (done.object.unwrap_or_else(|| live.clone()), done.managers)
        };
        object["metadata"]["managedFields"] = managers.encode().unwrap_or_default();
        live = object;
    }
    let entries = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let owned = entries.iter().map(|entry| format!("{}: {}", entry["manager"], entry["fieldsV1"]["f:spec"]));
    Ok((live["spec"].clone(), owned.collect()))
}

#[test]
fn lists_in_maps_are_merged_by_their_type() {
    let cases = [
        (
            json!({"tags": {"x": ["a", "b"]}}),
            json!({"tags": {"x": ["c"], "y": ["d"]}}),
            json!({"tags": {"x": ["a", "b", "c"], "y": ["d"]}}),
            [
                r#""a": {"f:tags":{"f:x":{".":{},"v:\"a\"":{},"v:\"b\"":{}}}}"#,
                r#""b": {"f:tags":{"f:x":{".":{},"v:\"c\"":{}},"f:y":{".":{},"v:\"d\"":{}}}}"#,
            ],
        ),
        // A key may be text or number, and counts as its default when it is left out.
        (
            json!({"byZone": {"z": [{"port": 80, "names": ["n"]}, {"port": "http"}]}}),
            json!({"byZone": {"z": [{"port": 80, "protocol": "TCP", "weight": 0, "names": ["m"]}]}}),
            json!({"byZone": {"z": [{"port": 80, "protocol": "TCP", "weight": 0, "names": ["n", "m"]}, {"port": "http"}]}}),
            [
                r#""a": {"f:byZone":{"f:z":{".":{},"k:{\"port\":\"http\",\"protocol\":\"TCP\",\"weight\":0}":{".":{},"f:port":{}},"k:{\"port\":80,\"protocol\":\"TCP\",\"weight\":0}":{".":{},"f:names":{"v:\"n\"":{}},"f:port":{}}}}}"#,
                r#""b": {"f:byZone":{"f:z":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\",\"weight\":0}":{".":{},"f:names":{"v:\"m\"":{}},"f:port":{},"f:protocol":{},"f:weight":{}}}}}"#,
            ],
        ),
        (
            json!({"open": {"inner": {"known": "k", "any": {"deep": 1}}}}),
            json!({"open": {"inner": {"any": {"other": 2}}, "more": true}}),
            json!({"open": {"inner": {"known": "k", "any": {"deep": 1, "other": 2}}, "more": true}}),
            [
                r#""a": {"f:open":{"f:inner":{"f:any":{".":{},"f:deep":{}},"f:known":{}}}}"#,
                r#""b": {"f:open":{"f:inner":{"f:any":{".":{},"f:other":{}}},"f:more":{}}}"#,
            ],
        ),
    ];
    for (first, second, expected, owners) in cases {
        let (spec, owned) = applied(first, second).expect("no conflicts");
        assert_eq!(spec, expected);
        assert_eq!(owned, owners);
    }
}

#[test]
fn what_is_one_value_conflicts_as_one() {
    let cases = [
        (json!({"whole": {"x": {"a": "1"}}}), json!({"whole": {"x": {"b": "2"}}}), ".spec.whole.x"),
        // A list of lists is one value unless it says otherwise, whatever its items say.
        (json!({"rows": [[1, 2]]}), json!({"rows": [[3]]}), ".spec.rows"),
        (
            json!({"byZone": {"z": [{"port": 80, "protocol": "UDP", "weight": "high"}], "y": []}}),
            json!({"byZone": {"z": [{"port": 80, "protocol": "UDP", "weight": "high"}], "y": []}}),
            "",
        ),
    ];
    for (first, second, place) in cases {
        let found = match applied(first, second) {
            Ok(_) => String::new(),
            Err(ApplyError::Conflicts(conflicts)) => conflicts.iter().map(|conflict| conflict.field()).collect(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, place);
    }
}

#[test]
fn items_that_cannot_be_told_apart_are_refused() {
    let cases = [
        (json!({"tags": {"x": ["a", "a"]}}), ".spec.tags.x: duplicate entries for key [=\"a\"]"),
        (
            json!({"byZone": {"z": [{"port": 1}, {"port": 1, "weight": 0}]}}),
            ".spec.byZone.z: duplicate entries for key [port=1,protocol=\"TCP\",weight=0]",
        ),
        (
            json!({"tags": {"x": [null]}}),
            ".spec.tags.x: element 0: associative list without keys has an element that's an explicit null",
        ),
        (json!({"rows": [1]}), ".spec.rows[0]: expected list, got &{1}"),
        (json!({"nope": 1}), ".spec.nope: field not declared in schema"),
    ];
    for (spec, expected) in cases {
        let error = applied(spec, json!({})).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}
