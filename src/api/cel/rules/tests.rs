//! Rules of schemas: what authors are told, and what objects are held to.

use expect_test::{Expect, expect};
use serde_json::{Value as Json, json};

use super::{Rules, check};
use crate::field::Path;

fn schema(properties: Json, rules: Json) -> Json {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties, "x-kubernetes-validations": rules}}})
}

fn validate(schema: &Json, object: &Json, old: Option<&Json>) -> String {
    let outcome = Rules::compile(schema).expect("rules").validate(&Path::root(), object, old);
    let errors = outcome.errors.iter().map(ToString::to_string);
    errors.chain(outcome.warnings.iter().map(|warning| format!("warning: {warning}"))).collect::<Vec<_>>().join("\n")
}

#[test]
fn rules_hold_or_are_told() {
    let properties = json!({
        "replicas": {"type": "integer"},
        "min": {"type": "integer"},
        "name": {"type": "string", "maxLength": 10},
        "a-b": {"type": "boolean"},
        "namespace": {"type": "string"},
        "port": {"x-kubernetes-int-or-string": true},
        "when": {"type": "string", "format": "date-time"},
        "took": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "ratio": {"type": "number"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    });
    let object = json!({"spec": {
        "replicas": 3, "min": 1, "name": "abc", "a-b": true, "namespace": "x", "port": 80, "when": "2020-01-01T00:00:00Z",
        "took": "1h", "data": "YWJj", "ratio": 1, "labels": {"a.b/c": "d"}, "set": ["a", "b"], "open": {"x": 1},
    }});
    for rule in [
        "self.replicas >= self.min",
        "self.name.startsWith('a') && self.a__dash__b",
        "self.__namespace__ == 'x' && self.namespace == 'x'",
        "type(self.port) == int && self.port == 80 || self.port == '80'",
        "self.when < timestamp('2021-01-01T00:00:00Z') && self.took == duration('60m')",
        "self.data == b'abc' && self.ratio == 1.0",
        "self.labels['a.b/c'] == 'd' && self.labels.all(k, v, k.size() > v.size())",
        "self.set == ['b', 'a'] && self.set + ['a', 'c'] == ['a', 'b', 'c']",
        "!has(self.open.x) || true",
        "self == self && !has(self.missing) || true",
    ] {
        let found = validate(&schema(properties.clone(), json!([{"rule": rule}])), &object, None);
        let unknown = ["self.open.x", "self.missing"].iter().any(|name| rule.contains(name));
        assert_eq!(found.is_empty(), !unknown, "{rule}: {found}");
    }
    let failing = json!([
        {"rule": "self.replicas < self.min"},
        {"rule": "self.replicas < self.min", "message": " replicas is too large "},
        {"rule": "self.replicas < 1", "messageExpression": "'replicas is ' + string(self.replicas)", "fieldPath": ".replicas", "reason": "FieldValueForbidden"},
        {"rule": "self.port.startsWith('a')"},
        {"rule": "self.labels['x'] == 'y'", "message": "labelled"},
    ]);
    expect![[r#"
        spec: Invalid value: failed rule: self.replicas < self.min
        spec: Invalid value: replicas is too large
        spec.replicas: Forbidden: replicas is 3
        spec: Invalid value: "object": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.port.startsWith('a')
        spec: Invalid value: "object": no such key: x evaluating rule: labelled"#]]
    .assert_eq(&validate(&schema(properties, failing), &object, None));
}

#[test]
fn transitions_are_judged_with_the_old_value() {
    let schema = json!({"type": "object", "properties": {
        "level": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self >= oldSelf", "message": "level only grows"},
            {"rule": "!oldSelf.hasValue() || self <= oldSelf.value() + 1", "optionalOldSelf": true},
            {"rule": "self < 10", "message": "below ten"},
        ]},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "number": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.number == oldSelf.number", "message": "numbers stay"}],
        }},
    }});
    let old = json!({"level": 3, "ports": [{"name": "b", "number": 2}, {"name": "a", "number": 1}]});
    assert_eq!(validate(&schema, &json!({"level": 1}), None), "");
    assert_eq!(validate(&schema, &json!({"level": 2}), Some(&old)), "level: Invalid value: 2: level only grows");
    assert_eq!(
        validate(&schema, &json!({"level": 5}), Some(&old)),
        "level: Invalid value: 5: failed rule: !oldSelf.hasValue() || self <= oldSelf.value() + 1"
    );
    let ports =
        |number: i64| json!({"level": 3, "ports": [{"name": "a", "number": number}, {"name": "c", "number": 9}]});
    assert_eq!(validate(&schema, &ports(1), Some(&old)), "");
    assert_eq!(validate(&schema, &ports(7), Some(&old)), "ports[0]: Invalid value: numbers stay");
    // What an update does not touch is only warned of.
    let broken = json!({"level": 20});
    assert_eq!(validate(&schema, &broken, Some(&broken)), "warning: level: Invalid value: 20: below ten");
}

#[test]
fn the_root_knows_its_metadata() {
    let schema = json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name == 'x' && self.kind == 'Thing'", "message": "must be x"},
    ], "properties": {"spec": {"type": "object"}}});
    let object = |name: &str| json!({"apiVersion": "a/v1", "kind": "Thing", "metadata": {"name": name, "labels": {}}});
    assert_eq!(validate(&schema, &object("x"), None), "");
    assert_eq!(validate(&schema, &object("y"), None), "<nil>: Invalid value: must be x");
}

#[test]
fn budgets_end_the_rules() {
    let schema = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [
        {"rule": "self.all(x, self.all(y, x == y))"},
        {"rule": "false"},
    ]}}});
    let list: Vec<i64> = vec![1; 2000];
    assert_eq!(
        validate(&schema, &json!({"list": list}), None),
        "list: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.all(x, self.all(y, x == y))"
    );
}

#[track_caller]
fn told(schema: Json, expected: Expect) {
    let errors = check(&schema, &Path::new("openAPIV3Schema"));
    expected.assert_eq(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn authors_are_told_what_is_wrong_with_rules() {
    let number = json!({"n": {"type": "integer"}});
    told(schema(number.clone(), json!([{"rule": "self.n > 1"}])), expect![""]);
    told(
        schema(number.clone(), json!([{"rule": "self.x > 1"}])),
        expect![[r#"
            openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.x \u003e 1","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:5: undefined field 'x'
             | self.x > 1
             | ....^"#]],
    );
    told(
        schema(
            number.clone(),
            json!([
                {"rule": " "},
                {"rule": "true", "message": " "},
                {"rule": "true", "message": "a\nb"},
                {"rule": "true\n"},
                {"rule": "true &&\ntrue"},
                {"rule": "true", "reason": "Other"},
                {"rule": "true", "fieldPath": ".x"},
                {"rule": "true", "fieldPath": ".n"},
            ]),
        ),
        expect![[r#"
            openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified
            openAPIV3Schema.properties[spec].x-kubernetes-validations[1].message: Invalid value: " ": must be non-empty if specified
            openAPIV3Schema.properties[spec].x-kubernetes-validations[2].message: Invalid value: "a\nb": must not contain line breaks
            openAPIV3Schema.properties[spec].x-kubernetes-validations[4].message: Required value: message must be specified if rule contains line breaks
            openAPIV3Schema.properties[spec].x-kubernetes-validations[5].reason: Unsupported value: "Other": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"
            openAPIV3Schema.properties[spec].x-kubernetes-validations[6].fieldPath: Invalid value: ".x": must be a valid path"#]],
    );
    told(
        schema(
            number,
            json!([
                {"rule": "self.n"},
                {"rule": "true", "messageExpression": "self.n"},
                {"rule": "true", "optionalOldSelf": true},
            ]),
        ),
        expect![[r#"
            openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.n","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: cel expression must evaluate to a bool
            openAPIV3Schema.properties[spec].x-kubernetes-validations[1].messageExpression: Invalid value: {"Rule":"true","Message":"","MessageExpression":"self.n","Reason":null,"FieldPath":"","OptionalOldSelf":null}: messageExpression must evaluate to a string
            openAPIV3Schema.properties[spec].x-kubernetes-validations[2].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"#]],
    );
    told(
        schema(
            json!({"l": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}),
            json!([]),
        ),
        expect![
            "openAPIV3Schema.properties[spec].properties[l].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within openAPIV3Schema.properties[spec].properties[l]"
        ],
    );
}

#[test]
fn costs_are_estimated_from_bounds() {
    let texts = |max_items: Json, max_length: Json| {
        let mut items = json!({"type": "string"});
        let mut list = json!({"type": "array"});
        if !max_length.is_null() {
            items["maxLength"] = max_length;
        }
        if !max_items.is_null() {
            list["maxItems"] = max_items;
        }
        list["items"] = items;
        schema(json!({"l": list}), json!([{"rule": "self.l.all(x, self.l.all(y, x == y))"}]))
    };
    told(texts(json!(10), json!(10)), expect![""]);
    told(
        texts(Json::Null, Json::Null),
        expect![[r#"
            openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
            openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
            openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
}
