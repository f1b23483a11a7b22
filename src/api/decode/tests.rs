use expect_test::{Expect, expect};

use super::*;

fn check(body: &str, media: Media, validation: FieldValidation, expected: Expect) {
    let schema = crate::schema::schema_of("", "v1", "ConfigMap").expect("a built-in kind");
    let target = Target { group: "", version: "v1", kind: "ConfigMap", schema };
    let shown = match object(body.as_bytes(), media, target, validation) {
        Ok(decoded) => format!("{} {:?}", decoded.object, decoded.warnings),
        Err(status) => format!("{} {}", status.code, status.message),
    };
    expected.assert_eq(&shown);
}

#[test]
fn json() {
    use FieldValidation::{Ignore, Strict, Warn};
    let json = |body, validation, expected| check(body, Media::Json, validation, expected);
    json(
        r#"{"data":{"a":"1","a":"2"},"metadata":{"name":"x","nope":1},"foo":null}"#,
        Warn,
        expect![[
            r#"{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"x"}} ["duplicate field \"data.a\"", "unknown field \"metadata.nope\"", "unknown field \"foo\""]"#
        ]],
    );
    json(
        r#"{"data":{"a":"1","a":"2"},"metadata":{"name":"x","nope":1},"foo":null}"#,
        Strict,
        expect![[
            r#"400 ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "data.a", unknown field "metadata.nope", unknown field "foo""#
        ]],
    );
    json(
        r#"{"data":{"a":"1","a":"2"},"metadata":{"name":"x","nope":1}}"#,
        Ignore,
        expect![[r#"{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"x"}} []"#]],
    );
    json(
        r#"{"zoo":1,"metadata":{"odd":1,"name":"x","nope":1},"bar":1}"#,
        Strict,
        expect![[
            r#"400 ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "zoo", unknown field "metadata.odd", unknown field "metadata.nope", unknown field "bar""#
        ]],
    );
    json(
        r#"{"data":{"a":1}}"#,
        Warn,
        expect![[
            r#"400 ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string"#
        ]],
    );
    json(
        r#"{"kind":"Pod","apiVersion":"v1"}"#,
        Warn,
        expect![[
            r#"400 Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (ConfigMap): unknown conversion"#
        ]],
    );
    json(
        r#"{"kind":"Nope","apiVersion":"v1"}"#,
        Warn,
        expect![[
            r#"400 Nope in version "v1" cannot be handled as a ConfigMap: no kind "Nope" is registered for version "v1""#
        ]],
    );
    json(
        r#"{"kind":"ConfigMap","apiVersion":"v2"}"#,
        Warn,
        expect!["400 the API version in the data (v2) does not match the expected API version (v1)"],
    );
    json(
        r#"{"kind":7}"#,
        Warn,
        expect![[
            r#"400 ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.kind of type string"#
        ]],
    );
    json(
        r#"{"kind":"#,
        Warn,
        expect![[
            r#"400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({"kind":)"#
        ]],
    );
    json(
        r#"{} {}"#,
        Warn,
        expect![
            "400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: invalid character '{' after top-level value ({} {})"
        ],
    );
    json(
        "",
        Warn,
        expect![
            "400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"
        ],
    );
    json(
        "[1]",
        Warn,
        expect![[
            r#"400 the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b315d)"#
        ]],
    );
    let deep = "[".repeat(1000);
    assert!(parse(deep.as_bytes(), Media::Json).is_err());
}

#[test]
fn yaml() {
    use FieldValidation::{Strict, Warn};
    let yaml = |body, validation, expected| check(body, Media::Yaml, validation, expected);
    yaml(
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  1: x\n  true: y\nmetadata: {name: a}\n",
        Warn,
        expect![[r#"{"apiVersion":"v1","data":{"1":"x","true":"y"},"kind":"ConfigMap","metadata":{"name":"a"}} []"#]],
    );
    yaml(
        "data:\n  a: x\n  a: y\nfoo: 1\n",
        Strict,
        expect![[
            r#"400 ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:
  line 3: key "a" already set in map, unknown field "foo""#
        ]],
    );
    yaml(
        "data:\n  a: x\n  a: y\n  a: z\nfoo: 1\n",
        Warn,
        expect![[
            r#"{"apiVersion":"v1","data":{"a":"z"},"kind":"ConfigMap","metadata":{}} ["line 3: key \"a\" already set in map", "line 4: key \"a\" already set in map", "unknown field \"foo\""]"#
        ]],
    );
    yaml(
        "zoo: 1\nmetadata: {odd: 1, nope: 1}\nbar: 1\n",
        Strict,
        expect![[
            r#"400 ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "bar", unknown field "metadata.nope", unknown field "metadata.odd", unknown field "zoo""#
        ]],
    );
    yaml(
        "data: [",
        Warn,
        expect![
            "400 the object provided is unrecognized (must be of type ConfigMap): yaml: did not find expected node content at line 2 column 1, while parsing a flow node (646174613a205b)"
        ],
    );
    let deep = "[".repeat(1000);
    assert!(parse(deep.as_bytes(), Media::Yaml).is_err());
}
