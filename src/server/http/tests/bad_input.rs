//! Bad requests, as a table: what is sent, and the code, reason and message of the refusal. An ellipsis
//! in a message stands for anything.

use serde_json::{Value, json};

use super::{Api, CONFIG_MAPS, read};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";
const MIB: usize = 1 << 20;

/// Method, path, content type and body; code, reason and message.
type Case<'a> = (&'a str, String, &'a str, Vec<u8>, u16, &'a str, &'a str);

fn post<'a>(path: &str, body: impl Into<Vec<u8>>, code: u16, reason: &'a str, message: &'a str) -> Case<'a> {
    ("POST", path.into(), JSON, body.into(), code, reason, message)
}

fn put<'a>(path: &str, body: Value, code: u16, reason: &'a str, message: &'a str) -> Case<'a> {
    ("PUT", path.into(), JSON, body.to_string().into_bytes(), code, reason, message)
}

fn patch<'a>(
    kind: &'a str,
    path: &str,
    body: impl Into<Vec<u8>>,
    code: u16,
    reason: &'a str,
    message: &'a str,
) -> Case<'a> {
    ("PATCH", path.into(), kind, body.into(), code, reason, message)
}

fn matches(message: &str, expected: &str) -> bool {
    let Some((start, rest)) = expected.split_once('…') else { return message == expected };
    let Some(mut left) = message.strip_prefix(start) else { return false };
    let (between, end) = rest.rsplit_once('…').unwrap_or(("", rest));
    for part in between.split('…') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

/// Sends every case, and compares at the end, so that one run shows all differences.
async fn check(api: &Api, cases: Vec<Case<'_>>) {
    let mut wrong = Vec::new();
    for (method, path, content_type, body, code, reason, message) in cases {
        let shown = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(100)]));
        let headers: &[(&str, &str)] = if content_type.is_empty() { &[] } else { &[("content-type", content_type)] };
        let (got, status) = read(api.raw(method, &path, headers, body).await).await;
        let said = status["message"].as_str().unwrap_or_default();
        let is_status = status["kind"] == "Status" && status["status"] == "Failure" && status["code"] == got;
        if got != code
            || status["reason"].as_str().unwrap_or_default() != reason
            || !matches(said, message)
            || !is_status
        {
            wrong.push(format!("{shown}\n  wanted {code} {reason} {message}\n  got    {got} {status}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// No refused request has left a trace.
async fn count(api: &Api, path: &str) -> usize {
    api.get(path).await.1["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn bodies_that_are_no_objects() {
    let api = Api::new().await;
    let deep_list = "[".repeat(200_000);
    let deep_object = r#"{"a":"#.repeat(200_000);
    let deep_field = format!(r#"{{"metadata":{{"name":"d"}},"data":{}1{}}}"#, "[".repeat(110), "]".repeat(110));
    let unrecognized = |why: &str| format!("the object provided is unrecognized (must be of type ConfigMap): {why}");
    let json_error = |why: &str| unrecognized(&format!("couldn't get version/kind; json parse error: {why}"));
    let wanted: Vec<(&str, Vec<u8>, String)> = vec![
        (JSON, b"".into(), json_error("unexpected end of JSON input (<empty>)")),
        (JSON, b"{".into(), json_error("unexpected end of JSON input ({)")),
        (JSON, b"{\"metadata\":}".into(), json_error("invalid character '}' looking for beginning of value ({\"metadata\":})")),
        (JSON, b"{} {}".into(), json_error("invalid character '{' after top-level value ({} {})")),
        (JSON, b"k8s".into(), json_error("invalid character 'k' looking for beginning of value (6b3873)")),
        (JSON, b"{\"data\":{\"a\":\"\xff\"}}".into(), json_error("invalid UTF-8 in string ({\"data\":{\"a\":\"\u{fffd}\"}})")),
        (JSON, b"{\"data\":{\"a\":\"\\ud800\"}}".into(), json_error("…")),
        (JSON, b"\xef\xbb\xbf{}".into(), json_error("…")),
        (JSON, b"\"x\"".into(), json_error("json: cannot unmarshal string into Go value of type struct {…")),
        (JSON, b"null".into(), json_error("json: cannot unmarshal null into Go value of type struct {…")),
        (JSON, deep_list.clone().into(), json_error("exceeded max depth…")),
        (JSON, deep_object.into(), json_error("exceeded max depth…")),
        (JSON, deep_field.into(), json_error("exceeded max depth…")),
        (YAML, b"a: [".into(), unrecognized("yaml: …")),
        (YAML, b"a: b: c".into(), unrecognized("yaml: …")),
        (YAML, b"a: \xff".into(), unrecognized("yaml: …")),
        (YAML, b"- a\n".into(), json_error("json: cannot unmarshal array into Go value of type struct {…")),
        (YAML, b"".into(), json_error("json: cannot unmarshal null into Go value of type struct {…")),
        (YAML, deep_list.into(), unrecognized("yaml: …")),
        (YAML, "- ".repeat(100_000).into(), unrecognized("yaml: …")),
        (
            YAML,
            format!("a: &a {}\nb: [{}]", "x".repeat(MIB), "*a,".repeat(1000)).into(),
            unrecognized("yaml: document contains excessive aliasing…"),
        ),
        (
            YAML,
            b"a: &a [x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e]\n".into(),
            unrecognized("yaml: …"),
        ),
        (PROTOBUF, b"{}".into(), unrecognized("provided data does not appear to be a protobuf message…")),
        (PROTOBUF, b"k8s\0\xff\xff\xff".into(), unrecognized("proto: …")),
        (
            PROTOBUF,
            b"k8s\0\x0a\x07\x0a\x02v9\x12\x01X".into(),
            unrecognized("no kind \"X\" is registered for version \"v9\"…"),
        ),
    ];
    let cases = wanted
        .iter()
        .map(|(kind, body, message)| ("POST", CONFIG_MAPS.into(), *kind, body.clone(), 400, "BadRequest", &**message));
    check(&api, cases.collect()).await;
    assert_eq!(count(&api, CONFIG_MAPS).await, 0);
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let large = |size: usize| format!(r#"{{"metadata":{{"name":"b"}},"data":{{"k":"{}"}}}}"#, "x".repeat(size));
    let one = format!("{CONFIG_MAPS}/a");
    let operations = |n: usize| json!(vec![json!({"op": "add", "path": "/data/k", "value": "1"}); n]).to_string();
    let copies = json!(
        (0..40).map(|n| json!({"op": "copy", "from": "/data", "path": format!("/data/k{n}")})).collect::<Vec<_>>()
    );
    let limit = "Request entity too large: limit is 3145728";
    let too_large = "RequestEntityTooLarge";
    check(
        &api,
        vec![
            post(CONFIG_MAPS, large(3 * MIB), 413, too_large, limit),
            ("POST", CONFIG_MAPS.into(), YAML, large(3 * MIB).into(), 413, too_large, limit),
            ("PUT", one.clone(), JSON, large(3 * MIB).into(), 413, too_large, limit),
            patch(JSON_PATCH, &one, large(3 * MIB), 413, too_large, limit),
            patch(MERGE, &one, large(3 * MIB), 413, too_large, limit),
            patch(APPLY, &format!("{one}?fieldManager=m"), large(3 * MIB), 413, too_large, limit),
            ("DELETE", one.clone(), JSON, large(3 * MIB).into(), 413, too_large, limit),
            post(
                CONFIG_MAPS,
                large(MIB + 1),
                422,
                "Invalid",
                "ConfigMap \"b\" is invalid: []: Too long: may not be more than 1048576 bytes",
            ),
            patch(
                JSON_PATCH,
                &one,
                operations(10_001),
                413,
                too_large,
                "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
            ),
            patch(
                JSON_PATCH,
                &one,
                copies.to_string(),
                422,
                "Invalid",
                "the server rejected our request due to an error in our request",
            ),
        ],
    )
    .await;
    assert_eq!(count(&api, CONFIG_MAPS).await, 1);
}

#[tokio::test]
async fn bodies_that_are_to_blow_up() {
    let api = Api::new().await;
    let manager = |n: usize| {
        json!({"manager": format!("m{n}"), "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "time": "2024-01-01T00:00:00Z", "fieldsV1": {"f:data": {"f:a": {}}}})
    };
    let managers: Vec<Value> = (0..10_000).map(manager).collect();
    let crowded = json!({"metadata": {"name": "m", "managedFields": managers}, "data": {"a": "b"}});
    let (code, made) = api.post(CONFIG_MAPS, crowded).await;
    assert_eq!(code, 201, "{}", made["message"]);
    let (code, _) = api.delete(&format!("{CONFIG_MAPS}/m")).await;
    assert_eq!(code, 200);
    let definition = |string: Value| {
        json!({"metadata": {"name": "ks.a.io"}, "spec": {"group": "a.io", "scope": "Cluster", "names": {"plural": "ks", "kind": "K"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"s": string}}}}]}})
        .to_string()
    };
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let no_pattern = "…must be a valid regular expression, but isn't: …";
    let rule = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self.matches('(a{1000}){1000}')"}]});
    check(
        &api,
        vec![
            post(
                definitions,
                definition(json!({"type": "string", "pattern": "a{1000}{1000}{1000}"})),
                422,
                "Invalid",
                no_pattern,
            ),
            post(
                definitions,
                definition(json!({"type": "string", "pattern": "(".repeat(1000)})),
                422,
                "Invalid",
                no_pattern,
            ),
            post(
                definitions,
                definition(json!({"$ref": "#"})),
                422,
                "Invalid",
                "…$ref: Forbidden: $ref is not supported…",
            ),
            post(definitions, definition(rule), 422, "Invalid", "…"),
        ],
    )
    .await;
}

#[tokio::test]
async fn fields_that_are_unknown_double_or_wrong() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let one = format!("{CONFIG_MAPS}/a?fieldValidation=Strict");
    let wrong = |what: &str| {
        format!("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal {what}")
    };
    let (of_data, of_labels, of_immutable, of_metadata) = (
        wrong("number into Go struct field ConfigMap.data of type string"),
        wrong("array into Go struct field ObjectMeta.metadata.labels of type map[string]string"),
        wrong("string into Go struct field ConfigMap.immutable of type bool"),
        wrong("string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"),
    );
    check(
        &api,
        vec![
            post(&strict, r#"{"metadata":{"name":"b","x":1},"dat":{}}"#, 400, "BadRequest",
                "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"metadata.x\", unknown field \"dat\""),
            post(&strict, r#"{"metadata":{"name":"b"},"data":{"a":"1","a":"2"}}"#, 400, "BadRequest",
                "…strict decoding error: duplicate field \"data.a\""),
            ("POST", strict.clone(), YAML, "metadata: {name: b}\ndata:\n  a: x\n  a: y\n".into(), 400, "BadRequest",
                "…strict decoding error: yaml: unmarshal errors:\n  line 4: key \"a\" already set in map"),
            ("PUT", one.clone(), JSON, r#"{"metadata":{"name":"a"},"dat":{}}"#.into(), 400, "BadRequest", "…unknown field \"dat\""),
            patch(MERGE, &one, r#"{"dat":{}}"#, 422, "Invalid", "…: strict decoding error: unknown field \"dat\""),
            patch(MERGE, &one, r#"{"data":{"a":"1","a":"2"}}"#, 422, "Invalid", "…: strict decoding error: duplicate field \"data.a\""),
            patch(STRATEGIC, &one, r#"{"data":{"b":"1"},"dat":{"x":1}}"#, 422, "Invalid",
                " \"\" is invalid: patch: Invalid value: \"map[dat:map[x:1] data:map[b:1]]\": strict decoding error: unknown field \"dat\""),
            patch(JSON_PATCH, &one, r#"[{"op":"add","path":"/data/b","value":"1","x":1}]"#, 422, "Invalid",
                "…: strict decoding error: json patch unknown field \"[0].x\""),
            post(&format!("{CONFIG_MAPS}?fieldValidation=Sometimes"), "{}", 422, "Invalid",
                "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Sometimes\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""),
            post(&format!("{CONFIG_MAPS}?dryRun=Maybe"), "{}", 422, "Invalid",
                "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Maybe\"]: supported values: \"All\""),
            ("PUT", format!("{CONFIG_MAPS}/a?fieldManager=a%07b"), JSON, "{}".into(), 422, "Invalid",
                "UpdateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\ab\": invalid character U+0007 (at position 1)"),
            patch(MERGE, &format!("{CONFIG_MAPS}/a?fieldManager={}", "x".repeat(129)), "{}", 422, "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"),
            patch(MERGE, &format!("{CONFIG_MAPS}/a?force=true"), "{}", 422, "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"),
            post(CONFIG_MAPS, r#"{"metadata":{"name":"b"},"data":{"a":1}}"#, 400, "BadRequest", &of_data),
            post(CONFIG_MAPS, r#"{"metadata":{"name":"b","labels":[]}}"#, 400, "BadRequest", &of_labels),
            post(CONFIG_MAPS, r#"{"metadata":{"name":"b"},"immutable":"yes"}"#, 400, "BadRequest", &of_immutable),
            post(CONFIG_MAPS, r#"{"metadata":"b"}"#, 400, "BadRequest", &of_metadata),
            post(CONFIG_MAPS, r#"{"metadata":{"name":"b","creationTimestamp":"today"}}"#, 400, "BadRequest", "…parsing time \"today\" as…"),
            post(CONFIG_MAPS, r#"{"metadata":{"name":"b"},"binaryData":{"a":"%%%"}}"#, 400, "BadRequest", "…illegal base64 data at input byte 0"),
            post(PODS, r#"{"metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"much"}}}]}}"#, 400, "BadRequest",
                "…quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
            post(PODS, r#"{"metadata":{"name":"b"},"spec":{"containers":{}}}"#, 400, "BadRequest",
                "…cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
            post(PODS, r#"{"metadata":{"name":"b"},"spec":{"terminationGracePeriodSeconds":9223372036854775808}}"#, 400, "BadRequest", "…cannot unmarshal number 9223372036854775808 into…"),
            post(DEPLOYMENTS, r#"{"metadata":{"name":"b"},"spec":{"replicas":1e100}}"#, 400, "BadRequest", "…cannot unmarshal number … into Go struct field DeploymentSpec.spec.replicas of type int32…"),
            post(CONFIG_MAPS, r#"{"kind":"Secret","apiVersion":"v1"}"#, 400, "BadRequest", "Secret in version \"v1\" cannot be handled as a ConfigMap: …"),
            post(CONFIG_MAPS, r#"{"kind":"ConfigMap","apiVersion":"v2"}"#, 400, "BadRequest",
                "the API version in the data (v2) does not match the expected API version (v1)"),
            patch(MERGE, &format!("{CONFIG_MAPS}/a"), r#"{"data":{"a":1}}"#, 422, "Invalid",
                "…: json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
            patch(STRATEGIC, &format!("{CONFIG_MAPS}/a"), r#"{"data":[1]}"#, 422, "Invalid",
                " \"\" is invalid: patch: Invalid value: \"map[data:[1]]\": …"),
        ],
    )
    .await;
    assert_eq!(count(&api, CONFIG_MAPS).await, 1);
}

#[tokio::test]
async fn patches_that_are_none() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let one = format!("{CONFIG_MAPS}/a");
    let apply = format!("{one}?fieldManager=m");
    let deep = json!([
        {"op": "add", "path": "/data/x", "value": serde_json::from_str::<Value>(&format!("{}{}", "[".repeat(90), "]".repeat(90))).expect("a list")},
        {"op": "copy", "from": "/data/x", "path": format!("/data/x{}", "/0".repeat(89))},
    ]);
    let rejected = "the server rejected our request due to an error in our request";
    let strict = format!("{apply}&fieldValidation=Strict");
    let accepted = "415: Unsupported Media Type";
    check(
        &api,
        vec![
            patch(JSON, &one, "{}", 415, "UnsupportedMediaType", accepted),
            patch("", &one, "{}", 415, "UnsupportedMediaType", accepted),
            patch(JSON_PATCH, &one, "{", 400, "BadRequest", "error decoding patch: unexpected end of JSON input"),
            patch(JSON_PATCH, &one, "{}", 400, "BadRequest", "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
            patch(JSON_PATCH, &one, "[1]", 400, "BadRequest", "error decoding patch: …"),
            patch(JSON_PATCH, &one, r#"[{"op":"dance","path":"/data"}]"#, 422, "Invalid", rejected),
            patch(JSON_PATCH, &one, r#"[{"op":"add","path":"data","value":1}]"#, 422, "Invalid", rejected),
            patch(JSON_PATCH, &one, r#"[{"op":"remove","path":"/data/none"}]"#, 422, "Invalid", rejected),
            patch(JSON_PATCH, &one, r#"[{"op":"test","path":"/data/k","value":"2"}]"#, 422, "Invalid", rejected),
            patch(JSON_PATCH, &one, r#"[{"op":"add","path":"/data/a/b/c","value":"2"}]"#, 422, "Invalid", rejected),
            patch(JSON_PATCH, &one, deep.to_string(), 422, "Invalid", rejected),
            patch(JSON_PATCH, &one, r#"[{"op":"replace","path":"","value":3}]"#, 422, "Invalid", rejected),
            patch(MERGE, &one, "[", 400, "BadRequest", "error decoding patch: unexpected end of JSON input"),
            patch(MERGE, &one, "[]", 400, "BadRequest", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
            patch(MERGE, &one, r#"{"a":"#.repeat(100_000), 400, "BadRequest", "error decoding patch: exceeded max depth…"),
            patch(MERGE, &one, r#"{"metadata":{"name":"b"}}"#, 400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)"),
            patch(MERGE, &one, r#"{"metadata":{"namespace":"b"}}"#, 400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request"),
            patch(MERGE, &one, r#"{"metadata":{"resourceVersion":"1"}}"#, 409, "Conflict", "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"),
            patch(MERGE, &one, r#"{"metadata":{"uid":"x"}}"#, 422, "Invalid", "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable"),
            patch(MERGE, &format!("{CONFIG_MAPS}/none"), "{}", 404, "NotFound", "configmaps \"none\" not found"),
            patch(STRATEGIC, &one, "7", 400, "BadRequest", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
            patch(STRATEGIC, &one, r#"{"data":{"$patch":"explode"}}"#, 400, "BadRequest", "unknown patch type: explode in map: …"),
            patch(APPLY, &one, "{}", 422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"),
            patch(
                APPLY,
                &strict,
                "apiVersion: v1\nkind: ConfigMap\ndata:\n  x: a\n  x: b\n",
                400,
                "BadRequest",
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"x\" already set in map",
            ),
            patch(APPLY, &apply, "a: [", 400, "BadRequest", "…yaml: …"),
            patch(APPLY, &apply, "metadata: {name: a}", 400, "BadRequest", "…"),
            patch(APPLY, &apply, r#"{"apiVersion":"v1","kind":"Secret"}"#, 400, "BadRequest", "invalid object type: /v1, Kind=Secret"),
            patch(APPLY, &apply, r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}"#, 400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)"),
            patch(APPLY, &apply, r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[{}]}}"#, 400, "BadRequest", "metadata.managedFields must be nil"),
        ],
    )
    .await;
    assert_eq!(api.get(&one).await.1["data"], json!({"k": "1"}));
}

#[tokio::test]
async fn names_and_paths_that_are_wrong() {
    let api = Api::new().await;
    let named = |name: &str| json!({"metadata": {"name": name}}).to_string();
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let upper = format!("ConfigMap \"Up\" is invalid: metadata.name: Invalid value: \"Up\": {subdomain}");
    let slash = format!("ConfigMap \"a/b\" is invalid: metadata.name: Invalid value: \"a/b\": {subdomain}");
    check(
        &api,
        vec![
            post(CONFIG_MAPS, named("Up"), 422, "Invalid", &upper),
            post(CONFIG_MAPS, named("a/b"), 422, "Invalid", &slash),
            post(
                CONFIG_MAPS,
                named(&"x".repeat(254)),
                422,
                "Invalid",
                "…metadata.name: Invalid value: …must be no more than 253 characters",
            ),
            post(
                CONFIG_MAPS,
                "{}",
                422,
                "Invalid",
                "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
            ),
            post(
                CONFIG_MAPS,
                r#"{"metadata":{"generateName":"Up-"}}"#,
                422,
                "Invalid",
                "…metadata.generateName: Invalid value: \"Up-\": …",
            ),
            post(
                CONFIG_MAPS,
                r#"{"metadata":{"name":"a","namespace":"other"}}"#,
                400,
                "BadRequest",
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
            post(
                CONFIG_MAPS,
                r#"{"metadata":{"name":"a","labels":{"a b":"c"}}}"#,
                422,
                "Invalid",
                "…metadata.labels: Invalid value: \"a b\": name part must consist of…",
            ),
            post(
                CONFIG_MAPS,
                r#"{"metadata":{"name":"a","labels":{"a":"b c"}}}"#,
                422,
                "Invalid",
                "…metadata.labels: Invalid value: \"b c\": a valid label must be…",
            ),
            post(
                CONFIG_MAPS,
                r#"{"metadata":{"name":"a"},"data":{"a b":"c"}}"#,
                422,
                "Invalid",
                "…data[a b]: Invalid value: \"a b\": a valid config key must consist of…",
            ),
            post("/api/v1/namespaces/none/configmaps", named("a"), 404, "NotFound", "namespaces \"none\" not found"),
            post(
                SERVICES,
                r#"{"metadata":{"name":"a_"},"spec":{"ports":[{"port":80}]}}"#,
                422,
                "Invalid",
                "Service \"a_\" is invalid: metadata.name: Invalid value: \"a_\": a lowercase RFC 1123 label must consist of…",
            ),
            post(
                "/api/v1/namespaces",
                named("a.b"),
                422,
                "Invalid",
                "Namespace \"a.b\" is invalid: metadata.name: Invalid value: \"a.b\": …",
            ),
            (
                "GET",
                "/api/v1/namespaces/default/nothings".into(),
                "",
                Vec::new(),
                404,
                "NotFound",
                "the server could not find the requested resource",
            ),
            ("GET", format!("{CONFIG_MAPS}/%ff"), "", Vec::new(), 400, "BadRequest", "…not valid UTF-8…"),
            (
                "POST",
                format!("{CONFIG_MAPS}/a"),
                JSON,
                named("a").into(),
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
            (
                "PUT",
                CONFIG_MAPS.into(),
                JSON,
                named("a").into(),
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
            post(
                CONFIG_MAPS,
                r#"{"metadata":{"name":"a","resourceVersion":"5"}}"#,
                500,
                "",
                "resourceVersion should not be set on objects to be created",
            ),
        ],
    )
    .await;
    assert_eq!(count(&api, CONFIG_MAPS).await, 0);
}

#[tokio::test]
async fn content_types_that_are_unknown() {
    let api = Api::new().await;
    let accepted = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let types = ["text/plain", "application/xml", "application/octet-stream", "nonsense", MERGE];
    let cases = types
        .map(|kind| ("POST", CONFIG_MAPS.to_string(), kind, b"{}".to_vec(), 415, "UnsupportedMediaType", accepted));
    check(&api, cases.to_vec()).await;
    let (code, status) = read(api.raw("GET", CONFIG_MAPS, &[("accept", "application/xml")], "").await).await;
    assert_eq!(
        (code, &status["reason"], &status["message"]),
        (
            406,
            &json!("NotAcceptable"),
            &json!(
                "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
            )
        )
    );
}

#[tokio::test]
async fn updates_that_conflict_or_touch_what_may_not_change() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    let fixed = json!({"metadata": {"name": "fixed"}, "data": {"k": "v"}, "immutable": true});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = |label: &str| {
        let mut template = template.clone();
        template["metadata"]["labels"]["a"] = json!(label);
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": label}}, "template": template}})
    };
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let role = |name: &str| json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}});
    let claim = |size: &str, class: &str| json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}}}});
    let set = |name: &str| {
        let mut set = deployment("b");
        set["metadata"]["name"] = json!("s");
        set["spec"]["serviceName"] = json!(name);
        set
    };
    let secret = |kind: &str| json!({"metadata": {"name": "s"}, "type": kind});
    let (jobs, bindings, claims, sets, secrets, classes) = (
        "/apis/batch/v1/namespaces/default/jobs",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
        "/api/v1/namespaces/default/persistentvolumeclaims",
        "/apis/apps/v1/namespaces/default/statefulsets",
        "/api/v1/namespaces/default/secrets",
        "/apis/storage.k8s.io/v1/storageclasses",
    );
    let class = |provisioner: &str| json!({"metadata": {"name": "c"}, "provisioner": provisioner});
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": false}});
    api.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    for (path, object) in [
        (CONFIG_MAPS, fixed.clone()),
        (DEPLOYMENTS, deployment("b")),
        (jobs, job),
        (bindings, role("x")),
        (claims, claim("1Gi", "x")),
        (sets, set("x")),
        (secrets, secret("Opaque")),
        (classes, class("a.b/c")),
        (SERVICES, service.clone()),
        (PODS, pod.clone()),
    ] {
        let (code, answer) = api.post(path, object).await;
        assert_eq!(code, 201, "{path}: {answer}");
    }
    let stale = json!({"metadata": {"name": "a", "resourceVersion": "1"}});
    let nonsense = json!({"metadata": {"name": "a", "resourceVersion": "nonsense"}});
    let mut other_uid = made.clone();
    other_uid["metadata"]["uid"] = json!("x");
    let modified = "the object has been modified; please apply your changes to the latest version and try again";
    let stale_message = format!("Operation cannot be fulfilled on configmaps \"a\": {modified}");
    check(
        &api,
        vec![
            post(CONFIG_MAPS, made.to_string(), 500, "", "resourceVersion should not be set on objects to be created"),
            post(CONFIG_MAPS, r#"{"metadata":{"name":"a"}}"#, 409, "AlreadyExists", "configmaps \"a\" already exists"),
            put(&format!("{CONFIG_MAPS}/a"), stale, 409, "Conflict", &stale_message),
            put(&format!("{CONFIG_MAPS}/a"), nonsense, 422, "Invalid", "ConfigMap \"a\" is invalid: metadata.resourceVersion: Invalid value: \"nonsense\": …"),
            put(&format!("{CONFIG_MAPS}/a"), other_uid, 409, "Conflict", "Operation cannot be fulfilled on configmaps \"a\": Precondition failed: UID in precondition: x, UID in object meta: …"),
            put(&format!("{CONFIG_MAPS}/a"), json!({"metadata": {"name": "b"}}), 400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)"),
            put(&format!("{CONFIG_MAPS}/none"), json!({"metadata": {"name": "none"}}), 404, "NotFound", "configmaps \"none\" not found"),
            put(&format!("{CONFIG_MAPS}/fixed"), json!({"metadata": {"name": "fixed"}, "data": {"k": "w"}, "immutable": true}), 422, "Invalid", "ConfigMap \"fixed\" is invalid: data: Forbidden: field is immutable when `immutable` is set"),
            put(&format!("{CONFIG_MAPS}/fixed"), json!({"metadata": {"name": "fixed"}, "data": {"k": "v"}}), 422, "Invalid", "ConfigMap \"fixed\" is invalid: immutable: Forbidden: field is immutable when `immutable` is set"),
            put(&format!("{DEPLOYMENTS}/d"), deployment("c"), 422, "Invalid", "…spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"),
            patch(STRATEGIC, &format!("{jobs}/j"), r#"{"spec":{"template":{"spec":{"restartPolicy":"OnFailure"}}}}"#, 422, "Invalid", "…spec.template: Invalid value: …: field is immutable…"),
            put(&format!("{bindings}/r"), role("y"), 422, "Invalid", "…roleRef: Invalid value: …: cannot change roleRef"),
            put(&format!("{claims}/c"), claim("1Gi", "y"), 422, "Invalid", "…spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims…"),
            put(&format!("{sets}/s"), set("y"), 422, "Invalid", "…spec: Forbidden: updates to statefulset spec for fields other than…"),
            put(&format!("{secrets}/s"), secret("x/y"), 422, "Invalid", "Secret \"s\" is invalid: type: Invalid value: \"x/y\": field is immutable"),
            put(&format!("{classes}/c"), class("d.e/f"), 422, "Invalid", "…provisioner: Invalid value: \"d.e/f\": field is immutable"),
            patch(MERGE, &format!("{SERVICES}/s"), r#"{"spec":{"clusterIP":"10.43.9.9","clusterIPs":["10.43.9.9"]}}"#, 422, "Invalid", "…spec.clusterIPs[0]: Invalid value: [\"10.43.9.9\"]: may not change once set"),
            patch(MERGE, &format!("{PODS}/p"), r#"{"spec":{"restartPolicy":"Never"}}"#, 422, "Invalid", "Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than…"),
            patch(MERGE, &format!("{CONFIG_MAPS}/a"), r#"{"metadata":{"creationTimestamp":"2020-01-01T00:00:00Z","name":"b"}}"#, 400, "BadRequest", "the name of the object (b) does not match…"),
            ("DELETE", format!("{CONFIG_MAPS}/a"), JSON, br#"{"preconditions":{"uid":"x"}}"#.into(), 409, "Conflict", "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (x) does not match the UID in record (…"),
            ("DELETE", format!("{CONFIG_MAPS}/a"), JSON, br#"{"gracePeriodSeconds":"soon"}"#.into(), 400, "BadRequest", "…cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"),
            ("DELETE", format!("{CONFIG_MAPS}/a"), JSON, br#"{"kind":"Pod"}"#.into(), 400, "BadRequest", "…cannot be converted to DeleteOptions"),
            ("DELETE", format!("{CONFIG_MAPS}/a?propagationPolicy=Sideways"), JSON, Vec::new(), 422, "Invalid", "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""),
        ],
    )
    .await;
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.1, made);
}

#[tokio::test]
async fn questions_and_orders_of_wrong_types() {
    let api = Api::new().await;
    api.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let bad = |body: &str, path: &str, message: &'static str| post(path, body, 400, "BadRequest", message);
    check(
        &api,
        vec![
            bad(r#"{"spec":"x"}"#, reviews, "…cannot unmarshal string into Go struct field SubjectAccessReview.spec of type v1.SubjectAccessReviewSpec"),
            bad(r#"{"spec":{"user":1}}"#, reviews, "…cannot unmarshal number into Go struct field SubjectAccessReviewSpec.spec.user of type string"),
            bad("[", reviews, "the object provided is unrecognized (must be of type SubjectAccessReview): …"),
            bad(r#"{"spec":7}"#, "/apis/authentication.k8s.io/v1/tokenreviews", "…cannot unmarshal number into…"),
            bad(r#"{"spec":"x"}"#, "/api/v1/namespaces/default/serviceaccounts/default/token", "TokenRequest in version \"v1\" cannot be handled as a TokenRequest: json: cannot unmarshal string into…"),
            bad(r#"{"target":[]}"#, &format!("{PODS}/p/binding"), "Binding in version \"v1\" cannot be handled as a Binding: json: cannot unmarshal array into…"),
            bad(r#"{"deleteOptions":3}"#, &format!("{PODS}/p/eviction"), "Eviction in version \"v1\" cannot be handled as a Eviction: json: cannot unmarshal number into…"),
            ("PUT", format!("{DEPLOYMENTS}/d/scale"), JSON, br#"{"spec":{"replicas":"many"}}"#.into(), 400, "BadRequest", "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32"),
        ],
    )
    .await;
}

#[tokio::test]
async fn lists_and_watches_that_make_no_sense() {
    let api = Api::new().await;
    let get = |query: &str, code: u16, reason: &'static str, message: &'static str| {
        ("GET", format!("{CONFIG_MAPS}?{query}"), "", Vec::new(), code, reason, message)
    };
    check(
        &api,
        vec![
            get("labelSelector=a%20b%20c", 400, "BadRequest", "unable to parse requirement: …"),
            get("labelSelector=a%20in%20(", 400, "BadRequest", "unable to parse requirement: …"),
            get("labelSelector=a%3D%ff", 400, "BadRequest", "…"),
            get("fieldSelector=a", 400, "BadRequest", "invalid selector: 'a'; can't understand 'a'"),
            get("fieldSelector=spec.x%3Dy", 400, "BadRequest", "…field selector…"),
            get("limit=many", 400, "BadRequest", "…strconv.ParseInt: parsing \"many\": invalid syntax"),
            get("resourceVersion=x", 400, "BadRequest", "…"),
            get("resourceVersionMatch=Exact", 422, "Invalid", "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"),
            get("resourceVersionMatch=Near&resourceVersion=1", 422, "Invalid", "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Unsupported value: \"Near\": supported values: \"Exact\", \"NotOlderThan\", \"\""),
            get("continue=x", 400, "BadRequest", "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"),
            get("watch=1&sendInitialEvents=true", 422, "Invalid", "…sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
            get("includeObject=All", 400, "BadRequest", "…includeObject…"),
        ],
    )
    .await;
}

#[tokio::test]
async fn services_whose_addresses_do_not_fit() {
    let api = Api::new().await;
    let service = |spec: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s"}},"spec":{{"ports":[{{"port":80}}],{spec}}}}}"#
        )
    };
    let families = "…spec.ipFamilies[0]: Unsupported value: \"x\": supported values: \"IPv4\", \"IPv6\"";
    let single = "…spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
    check(
        &api,
        [
            (r#""ipFamilies":["x"]"#, families),
            (r#""ipFamilies":["IPv6"]"#, "…spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"),
            (r#""ipFamilies":["IPv4","IPv6"]"#, single),
            (
                r#""ipFamilyPolicy":"RequireDualStack""#,
                "…spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                r#""clusterIPs":["10.43.0.9"]"#,
                "…spec.clusterIPs: Invalid value: [\"10.43.0.9\"]: must be empty when `clusterIP` is not specified",
            ),
            (
                r#""clusterIP":"fd00::1""#,
                "…spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
            (
                r#""type":"ExternalName","externalName":"a.b","clusterIP":"10.43.0.9""#,
                "…spec.clusterIPs: Forbidden: may not be set for ExternalName services",
            ),
        ]
        .map(|(spec, why)| post(SERVICES, service(spec), 422, "Invalid", why))
        .to_vec(),
    )
    .await;
    assert_eq!(count(&api, SERVICES).await, 0);
}

#[tokio::test]
async fn questions_about_permissions_that_are_none() {
    let api = Api::new().await;
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let none = "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
    let both = format!(
        ".authorization.k8s.io \"\" is invalid: [{none}, spec.user: Invalid value: \"\": at least one of user or group must be specified]"
    );
    let ask =
        |kind: &str, spec: &str| format!(r#"{{"apiVersion":"authorization.k8s.io/v1","kind":"{kind}","spec":{spec}}}"#);
    check(
        &api,
        vec![
            post(reviews, ask("SubjectAccessReview", "{}"), 422, "Invalid", &both),
            post(own, ask("SelfSubjectAccessReview", "{}"), 422, "Invalid", &format!(".authorization.k8s.io \"\" is invalid: {none}")),
            post(
                reviews,
                ask("SubjectAccessReview", r#"{"user":"u","resourceAttributes":{},"nonResourceAttributes":{"path":"/x"}}"#),
                422,
                "Invalid",
                "….nonResourceAttributes: Invalid value: {\"Path\":\"/x\",\"Verb\":\"\"}: cannot be specified in combination with resourceAttributes",
            ),
            post(
                reviews,
                ask("SubjectAccessReview", r#"{"user":"u","resourceAttributes":{"fieldSelector":{}}}"#),
                422,
                "Invalid",
                "…spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required",
            ),
            post(
                local,
                ask("LocalSubjectAccessReview", r#"{"user":"u","resourceAttributes":{"namespace":"other"}}"#),
                422,
                "Invalid",
                "…spec.resourceAttributes.namespace: Invalid value: \"other\": must match metadata.namespace",
            ),
        ],
    )
    .await;
}
