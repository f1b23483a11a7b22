//! These schemas and values, therefore these objects and errors.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Definition, Structural, conform, publish, structural::NotStructural, validate};
use crate::field::Path;

fn read(schema: Value) -> Structural {
    Structural::read(&schema).expect("a structural schema")
}

fn check(schema: Value, value: Value, expected: Expect) {
    let errors = validate::value(&read(schema), &value, None, &Path::root());
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expected.assert_eq(&errors.join("\n"));
}

#[test]
fn alternatives_tell_the_best_failure() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "object",
        "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
        "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}}});
    check(
        schema.clone(),
        json!({"a": {}}),
        expect![[r#"
        <nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found none valid
        a.x: Required value"#]],
    );
    check(
        schema,
        json!({"a": {"x": "", "y": ""}}),
        expect![[
            r#"<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
        ]],
    );
    let schema =
        json!({"type": "object", "not": {"required": ["b"]}, "anyOf": [{"required": ["a"]}, {"minProperties": 2}]});
    check(
        schema,
        json!({"b": 1}),
        expect![[r#"
        <nil>: Invalid value: "": "" must validate at least one schema (anyOf)
        a: Required value
        <nil>: Invalid value: "": "" must not validate the schema (not)"#]],
    );
}

#[test]
fn values_are_held_to_their_restrictions() {
    let schema = json!({"type": "object", "properties": {
        "s": {"type": "string", "minLength": 2, "maxLength": 3},
        "n": {"type": "number", "multipleOf": 0.5, "exclusiveMaximum": true, "maximum": 2},
        "i": {"type": "integer", "format": "int32"},
        "l": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "boolean"}},
        "m": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string", "format": "ipv4"}},
        "d": {"type": "string", "format": "date-time", "nullable": true}}});
    check(
        schema.clone(),
        json!({"s": "x", "n": 2.25, "i": 3_000_000_000_i64, "l": [], "m": {"a": "1.2.3.4", "b": "x"}, "d": "now"}),
        expect![[r#"
            d: Invalid value: "now": d in body must be of type date-time: "now"
            <nil>: Invalid value: "": Checked value must be of type integer with format int32 in i
            l: Invalid value: 0: l in body should have at least 1 items
            m: Too many: 2: must have at most 1 item
            m.b: Invalid value: "x": m.b in body must be of type ipv4: "x"
            n: Invalid value: 2.25: n in body should be a multiple of 0.5
            n: Invalid value: 2.25: n in body should be less than 2
            s: Invalid value: "x": s in body should be at least 2 chars long"#]],
    );
    check(
        schema.clone(),
        json!({"s": "long", "l": [true, false, true], "d": null}),
        expect![[r#"
        l: Too many: 3: must have at most 2 items
        s: Too long: may not be more than 3 bytes"#]],
    );
    check(
        schema,
        json!({"s": null, "i": 2.0, "n": 1, "l": ["x"]}),
        expect![[r#"
        l[0]: Invalid value: "string": l[0] in body must be of type boolean: "string"
        n: Invalid value: 1: factor MultipleOf declared for n must be positive: 0
        s: Invalid value: "null": s in body must be of type string: "null""#]],
    );
}

#[test]
fn objects_take_their_form() {
    let schema = read(json!({"type": "object", "properties": {
        "a": {"type": "object", "properties": {"b": {"type": "integer", "default": 1}}, "default": {}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object", "properties": {"x": {"type": "string"}}}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string", "default": "z"}}}},
        "inner": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
    }}));
    let mut object = json!({
        "apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "wrong": 1}, "extra": 1,
        "open": {"any": 1, "known": {"x": "y", "q": 1}}, "list": [{"m": 1}, {"n": "a"}],
        "inner": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "odd": 1}, "spec": {"deep": []}},
    });
    let unknown = conform::received(&schema, &mut object).expect("metadata is fine");
    expect!["metadata.wrong extra list[0].m open.known.q inner.metadata.odd"].assert_eq(&unknown.join(" "));
    expect![[r#"{"a":{"b":1},"apiVersion":"g/v1","inner":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"deep":[]}},"kind":"K","list":[{"n":"z"},{"n":"a"}],"metadata":{"name":"n"},"open":{"any":1,"known":{"x":"y"}}}"#]].assert_eq(&object.to_string());
    let mut wrong = json!({"metadata": {"name": 1}});
    let error = conform::received(&schema, &mut wrong).expect_err("a name is text");
    expect!["json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"]
        .assert_eq(&error.to_string());
    let mut stored = json!({"metadata": {"name": 1, "labels": {"a": "b"}}});
    conform::stored(&schema, &mut stored);
    expect![[r#"{"a":{"b":1},"metadata":{"labels":{"a":"b"}}}"#]].assert_eq(&stored.to_string());
}

#[test]
fn what_is_not_structural_is_not_read() {
    assert_eq!(Structural::read(&json!({"$ref": "#/x"})), Err(NotStructural::Unsupported("$ref")));
    assert_eq!(Structural::read(&json!({"items": [{}]})), Err(NotStructural::Items));
}

#[test]
fn kubectl_is_told_what_it_can_cope_with() {
    let mut schema = json!({"type": "object", "required": ["a", "b"], "properties": {
        "a": {"type": "string", "nullable": true}, "b": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}]},
        "c": {"type": "array", "nullable": true, "items": {"type": "string"}}}});
    publish::restrict_to_v2(&mut schema);
    expect![[
        r#"{"properties":{"a":{},"b":{"x-kubernetes-int-or-string":true},"c":{}},"required":["b"],"type":"object"}"#
    ]]
    .assert_eq(&schema.to_string());
    assert_eq!(publish::name("stable.example.com", "v1", "CronTab"), "com.example.stable.v1.CronTab");
}

fn tabs(schema: Value) -> Definition {
    let definition = json!({
        "metadata": {"name": "tabs.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
        "status": {
            "acceptedNames": {"plural": "tabs", "kind": "Tab"},
            "conditions": [{"type": "Established", "status": "True"}],
        },
    });
    Definition::read(&definition).expect("a definition")
}

#[test]
fn rules_that_fail_on_what_did_not_change_are_only_told() {
    let color = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != 'red'", "message": "no red"}]});
    let spec = json!({"type": "object", "properties": {"color": color, "size": {"type": "integer"}}});
    let definition = tabs(json!({"type": "object", "properties": {"spec": spec}}));
    let object = |color: &str, size: i64| json!({"spec": {"color": color, "size": size}});
    for (new, expected) in [
        (object("red", 2), expect![[r#"warning: spec.color: Invalid value: "red": no red"#]]),
        (object("blue", 2), expect![""]),
    ] {
        let mut warnings = Vec::new();
        let errors = definition.versions[0].validate_update(&new, &object("red", 1), &mut warnings);
        let errors = errors.iter().map(ToString::to_string);
        let warnings = warnings.iter().map(|warning| format!("warning: {warning}"));
        expected.assert_eq(&errors.chain(warnings).collect::<Vec<_>>().join("\n"));
    }
    let errors = definition.versions[0].validate_update(&object("red", 1), &object("blue", 1), &mut Vec::new());
    expect![[r#"spec.color: Invalid value: "red": no red"#]].assert_eq(&errors[0].to_string());
}

#[test]
fn dates_and_times_are_those_of_the_rfc() {
    let schema = read(json!({"type": "object", "properties": {"d": {"type": "string", "format": "date-time"}}}));
    for (text, holds) in [
        ("2020-01-01T00:00:00Z", true),
        ("2020-01-01T00:00:00.5+02:00", true),
        ("2020-01-01 00:00:00Z", false),
        ("2020-01-01T00:00:00+0200", false),
        ("2020-01-01T00:00:60Z", false),
        ("2020-01-01T00:00:00", false),
    ] {
        let errors = validate::value(&schema, &json!({"d": text}), None, &Path::root());
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let refusal = format!(r#"d: Invalid value: "{text}": d in body must be of type date-time: "{text}""#);
        assert_eq!(errors, if holds { vec![] } else { vec![refusal] }, "{text}");
    }
}

#[test]
fn fields_of_atomic_maps_are_forgiven_one_by_one() {
    let map = json!({"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
        "color": {"type": "string", "enum": ["blue"]}, "size": {"type": "string"}}});
    let schema = read(json!({"type": "object", "properties": {"map": map}}));
    let object = |color: &str, size: &str| json!({"map": {"color": color, "size": size}});
    let old = object("red", "a");
    assert!(validate::value(&schema, &object("red", "b"), Some(&old), &Path::root()).is_empty());
    let errors = validate::value(&schema, &object("green", "a"), Some(&old), &Path::root());
    expect![[r#"map.color: Unsupported value: "green": supported values: "blue""#]].assert_eq(&errors[0].to_string());
}

#[test]
fn embedded_objects_are_applied_with_their_metadata() {
    let template =
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}});
    let definition = tabs(json!({"type": "object", "properties": {"template": template}}));
    let node = definition.versions[0].fields.node();
    let path = |steps: &[&str]| steps.iter().try_fold(node, |node, step| node.child(step));
    assert!(path(&["template", "kind"]).is_some());
    assert!(path(&["template", "metadata", "ownerReferences"]).is_some_and(|list| list.list_map_keys().eq(["uid"])));
    assert!(path(&["template", "nope"]).is_none());
}
