//! Patches as documented upstream, and that no patch breaks anything.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::{Schema, schema_of};

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn pod() -> &'static Schema {
    schema_of("", "v1", "Pod").unwrap()
}

fn strategic(object: &str, patch: &str) -> Result<Value, String> {
    strategic::apply(pod(), yaml(object), &yaml(patch)).map_err(|error| error.to_string())
}

#[test]
fn strategic_merges() {
    let cases = [
        (
            "lists of maps merge by key",
            "{spec: {containers: [{name: a, image: x}, {name: b, image: y}]}}",
            "{spec: {containers: [{name: b, image: z}, {name: c, image: w}]}}",
            "{spec: {containers: [{name: a, image: x}, {name: b, image: z}, {name: c, image: w}]}}",
        ),
        (
            "an item is deleted by directive",
            "{spec: {containers: [{name: a}, {name: b}]}}",
            "{spec: {containers: [{name: a, $patch: delete}]}}",
            "{spec: {containers: [{name: b}]}}",
        ),
        (
            "a list is replaced by directive",
            "{spec: {containers: [{name: a}, {name: b}]}}",
            "{spec: {containers: [{$patch: replace}, {name: c}]}}",
            "{spec: {containers: [{name: c}]}}",
        ),
        (
            "a map is replaced by directive",
            "{metadata: {labels: {a: b, c: d}}}",
            "{metadata: {labels: {$patch: replace, e: f}}}",
            "{metadata: {labels: {e: f}}}",
        ),
        (
            "a map is emptied by directive",
            "{metadata: {labels: {a: b}}}",
            "{metadata: {labels: {$patch: delete}}}",
            "{metadata: {labels: {}}}",
        ),
        (
            "null removes",
            "{metadata: {labels: {a: b, c: d}}}",
            "{metadata: {labels: {a: null}}}",
            "{metadata: {labels: {c: d}}}",
        ),
        (
            "null for an absent field does nothing",
            "{metadata: {}}",
            "{metadata: {labels: null, annotations: {a: null}}}",
            "{metadata: {annotations: {}}}",
        ),
        (
            "plain lists merge as sets",
            "{metadata: {finalizers: [a/b]}}",
            "{metadata: {finalizers: [c/d, a/b]}}",
            "{metadata: {finalizers: [c/d, a/b]}}",
        ),
        (
            "items of a plain list are deleted",
            "{metadata: {finalizers: [a/b, c/d]}}",
            "{metadata: {$deleteFromPrimitiveList/finalizers: [a/b]}}",
            "{metadata: {finalizers: [c/d]}}",
        ),
        (
            "atomic lists are replaced",
            "{spec: {containers: [{name: a, command: [x, y]}]}}",
            "{spec: {containers: [{name: a, command: [z]}]}}",
            "{spec: {containers: [{name: a, command: [z]}]}}",
        ),
        (
            "the order is set",
            "{spec: {containers: [{name: a}, {name: b}, {name: c}]}}",
            "{spec: {$setElementOrder/containers: [{name: c}, {name: a}], containers: [{name: a, image: x}]}}",
            "{spec: {containers: [{name: b}, {name: c}, {name: a, image: x}]}}",
        ),
        (
            "kept keys",
            "{spec: {volumes: [{name: v, emptyDir: {}}]}}",
            "{spec: {volumes: [{name: v, $retainKeys: [name, hostPath], hostPath: {path: /x}}]}}",
            "{spec: {volumes: [{name: v, hostPath: {path: /x}}]}}",
        ),
        ("types may change", "{spec: {x: {a: b}}}", "{spec: {x: [1]}}", "{spec: {x: [1]}}"),
    ];
    for (name, object, patch, expected) in cases {
        assert_eq!(strategic(object, patch), Ok(yaml(expected)), "{name}");
    }
}

#[test]
fn strategic_refusals() {
    let cases = [
        (
            "{metadata: {labels: {}}}",
            "{metadata: {labels: {$patch: odd}}}",
            "unknown patch type: odd in map: map[$patch:odd]",
        ),
        (
            "{spec: {containers: [{name: a}]}}",
            "{spec: {containers: [{image: x}]}}",
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            "{spec: {containers: [{name: a}]}}",
            "{spec: {containers: [{name: a, $patch: merge}]}}",
            "merging lists cannot yet be specified in the patch",
        ),
        ("{spec: {}}", "{spec: {$retainKeys: x}}", "invalid patch format of retainKeys"),
        ("{spec: {}}", "{spec: {$retainKeys: [a], b: 1}}", "invalid patch format of retainKeys"),
        ("{spec: {}}", "{spec: {$setElementOrder: []}}", "invalid patch format of setElementOrder list"),
        ("{spec: {}}", "{spec: {$deleteFromPrimitiveList: []}}", "invalid patch format of primitive list"),
        (
            "{spec: {containers: []}}",
            "{spec: {$setElementOrder/containers: [{name: a}], containers: [{name: b}]}}",
            "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
        ),
    ];
    for (object, patch, expected) in cases {
        assert_eq!(strategic(object, patch), Err(expected.to_string()), "{patch}");
    }
}

#[test]
fn json_patches() {
    let object = json!({"a": {"b": 1, "x/y": {"~": 2}, "n": null}, "l": [1, 2]});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = object.clone();
        change(&mut changed);
        changed
    };
    let good = [
        (r#"[{"op":"add","path":"/a/c","value":2}]"#, with(&|o| o["a"]["c"] = json!(2))),
        (r#"[{"op":"add","path":"/a/c"}]"#, with(&|o| o["a"]["c"] = Value::Null)),
        (r#"[{"op":"add","path":"/l/-","value":3}]"#, with(&|o| o["l"] = json!([1, 2, 3]))),
        (r#"[{"op":"add","path":"/l/2","value":3}]"#, with(&|o| o["l"] = json!([1, 2, 3]))),
        (r#"[{"op":"add","path":"/l/-1","value":3}]"#, with(&|o| o["l"] = json!([1, 2, 3]))),
        (
            r#"[{"op":"add","path":"/l/0","value":[]},{"op":"add","path":"/l/0/-","value":3}]"#,
            with(&|o| o["l"] = json!([[3], 1, 2])),
        ),
        (r#"[{"op":"remove","path":"/l/-1"}]"#, with(&|o| o["l"] = json!([1]))),
        (r#"[{"op":"remove","path":"/a/x~1y/~0"}]"#, with(&|o| o["a"]["x/y"] = json!({}))),
        (r#"[{"op":"replace","path":"/a/b","value":null}]"#, with(&|o| o["a"]["b"] = Value::Null)),
        (r#"[{"op":"replace","path":"/a/new","value":1}]"#, with(&|o| o["a"]["new"] = json!(1))),
        (r#"[{"op":"replace","path":"","value":{"z":1}}]"#, json!({"z": 1})),
        (
            r#"[{"op":"test","path":"/a/b","value":1},{"op":"move","from":"/a/b","path":"/c"}]"#,
            json!({"a": {"x/y": {"~": 2}, "n": null}, "l": [1, 2], "c": 1}),
        ),
        (r#"[{"op":"copy","from":"/a/none","path":"/c"}]"#, with(&|o| o["c"] = Value::Null)),
        (
            r#"[{"op":"test","path":"/a/n","value":null},{"op":"test","path":"/a/none","value":null},{"op":"test","path":"/a/none"}]"#,
            object.clone(),
        ),
        (r#"[{"op":"test","path":"/l","value":[1,2]},{"op":"test","path":"/l/-2","value":1}]"#, object.clone()),
        (r#"[]"#, object.clone()),
    ];
    for (patch, expected) in good {
        assert_eq!(json_patch(&object, patch.as_bytes()).unwrap(), expected, "{patch}");
    }
    let bad = [
        (r#"["#, true, "error decoding patch: unexpected end of JSON input"),
        (
            r#"[1]"#,
            true,
            "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
        ),
        (
            r#"[{"op":"add","path":1}]"#,
            true,
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string",
        ),
        (r#"[{"op":"explode","path":"/a"}]"#, false, "Unexpected kind: explode"),
        (r#"[{"path":"/a"}]"#, false, "Unexpected kind: unknown"),
        (r#"[null]"#, false, "Unexpected kind: unknown"),
        (r#"[{"op":"test","path":"/a/b","value":2}]"#, false, "testing value /a/b failed: test failed"),
        (r#"[{"op":"test","path":"/a/b","value":null}]"#, false, "testing value /a/b failed: test failed"),
        (r#"[{"op":"test","path":"/a/n","value":{}}]"#, false, "testing value /a/n failed: test failed"),
        (r#"[{"op":"test","path":"","value":{}}]"#, false, "testing value  failed: test failed"),
        (
            r#"[{"op":"test","path":"/x/y","value":1}]"#,
            false,
            "test operation does not apply: is missing path: /x/y: missing value",
        ),
        (
            r#"[{"op":"test","path":"/l/2","value":1}]"#,
            false,
            "error in test for path: '/l/2': Unable to access invalid index: 2: invalid index referenced",
        ),
        (
            r#"[{"op":"test","value":1}]"#,
            false,
            "test operation failed to decode path: operation missing path field: missing value",
        ),
        (
            r#"[{"op":"remove","path":"/a/x"}]"#,
            false,
            "error in remove for path: '/a/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            r#"[{"op":"remove","path":""}]"#,
            false,
            "remove operation does not apply: doc is missing path: \"\": missing value",
        ),
        (
            r#"[{"op":"remove","path":"/l/-"}]"#,
            false,
            "error in remove for path: '/l/-': strconv.Atoi: parsing \"-\": invalid syntax",
        ),
        (
            r#"[{"op":"remove","path":"/l/-3"}]"#,
            false,
            "error in remove for path: '/l/-3': Unable to access invalid index: -3: invalid index referenced",
        ),
        (
            r#"[{"op":"remove","path":"/a/b/c"}]"#,
            false,
            "remove operation does not apply: doc is missing path: \"/a/b/c\": missing value",
        ),
        (
            r#"[{"op":"replace","path":"/x/y","value":1}]"#,
            false,
            "replace operation does not apply: doc is missing path: /x/y: missing value",
        ),
        (
            r#"[{"op":"replace","path":"/l/5","value":1}]"#,
            false,
            "replace operation does not apply: doc is missing key: /l/5: missing value",
        ),
        (
            r#"[{"op":"add","path":"/x/y","value":1}]"#,
            false,
            "add operation does not apply: doc is missing path: \"/x/y\": missing value",
        ),
        (
            r#"[{"op":"add","path":"/l/x","value":1}]"#,
            false,
            "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            r#"[{"op":"add","path":"/l/4","value":1}]"#,
            false,
            "error in add for path: '/l/4': Unable to access invalid index: 4: invalid index referenced",
        ),
        (
            r#"[{"op":"move","from":"/a/none","path":"/c"}]"#,
            false,
            "error in move for path: 'none': Unable to remove nonexistent key: none: missing value",
        ),
        (
            r#"[{"op":"move","from":"/a","path":"/a/b"}]"#,
            false,
            "move operation does not apply: doc is missing destination path: /a/b: missing value",
        ),
        (
            r#"[{"op":"move","path":"/a/b"}]"#,
            false,
            "move operation failed to decode from: operation, missing from field: missing value",
        ),
        (
            r#"[{"op":"copy","from":"/l/9","path":"/c"}]"#,
            false,
            "error in copy for from: '/l/9': Unable to access invalid index: 9: invalid index referenced",
        ),
    ];
    for (patch, malformed, expected) in bad {
        let error = json_patch(&object, patch.as_bytes()).unwrap_err();
        assert_eq!((error.is_malformed(), error.to_string().as_str()), (malformed, expected), "{patch}");
    }
    let many = vec![json!({"op": "add", "path": "/x", "value": 1}); JSON_PATCH_MAX_OPERATIONS + 1];
    assert!(json_patch(&object, &serde_json::to_vec(&many).unwrap()).unwrap_err().is_too_large());
    let doubling: Vec<Value> = (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/{n}")})).collect();
    assert!(json_patch(&json!({"a": {"b": "c"}}), &serde_json::to_vec(&doubling).unwrap()).is_err());
    let twice =
        [json!({"op": "copy", "from": "/a", "path": "/a/x"}), json!({"op": "copy", "from": "/a", "path": "/a/y"})];
    let doubling: Vec<&Value> = twice.iter().cycle().take(60).collect();
    let error =
        json_patch(&json!({"a": {"b": "c".repeat(1000)}}), &serde_json::to_vec(&doubling).unwrap()).unwrap_err();
    assert!(matches!(error, PatchError::TooMuchCopied(_) | PatchError::TooDeep(_)), "{error}");
}

#[test]
fn merge_patches() {
    // The table of RFC 7386, appendix A.
    let cases = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    for (object, patch, expected) in cases {
        let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        assert_eq!(merge_patch(parse(object), &parse(patch)), parse(expected), "{object} {patch}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0i64..4).prop_map(Value::from),
        "[a-c]".prop_map(Value::from),
        Just(Value::from("delete")),
        Just(Value::from("replace")),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let key = prop_oneof![
            Just("spec"),
            Just("metadata"),
            Just("containers"),
            Just("name"),
            Just("labels"),
            Just("finalizers"),
            Just("ports"),
            Just("volumes"),
            Just("$patch"),
            Just("$retainKeys"),
            Just("$setElementOrder/containers"),
            Just("$deleteFromPrimitiveList/finalizers"),
            Just("$setElementOrder"),
            Just("env"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
            )),
        ]
    })
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

proptest! {
    #[test]
    fn no_strategic_patch_panics(object in any_value(), patch in any_value()) {
        let _ = strategic::apply(pod(), object, &patch);
    }

    #[test]
    fn a_merge_patch_twice_is_once(object in any_value(), patch in any_value()) {
        let once = merge_patch(object, &patch);
        prop_assert_eq!(merge_patch(once.clone(), &patch), once);
    }

    #[test]
    fn an_object_is_its_own_merge_patch(object in any_value()) {
        if !has_null(&object) {
            prop_assert_eq!(merge_patch(object.clone(), &object), object);
        }
    }

    #[test]
    fn no_json_patch_panics(object in any_value(), path in "(/[a-z0-9~-]{0,3}){0,4}", op in "add|remove|replace|move|copy|test") {
        let patch = json!([{"op": op, "path": path, "from": "/spec", "value": 1}]);
        let _ = json_patch(&object, patch.to_string().as_bytes());
    }
}
