//! The API in the process over a store in memory: requests in, codes and bodies out.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use mk8s_store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Body, Router, body::request_body, router::Caller};
use crate::{
    assemble::{ApiOptions, router},
    auth::{User, tokens::SigningKey},
    registry::ServiceRanges,
};

mod bad_input;
mod encodings;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server without sockets, with the namespace `default`.
struct Api {
    router: Router,
    user: Arc<User>,
}

impl Api {
    async fn new() -> Api {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let options = ApiOptions {
            signing_key: Arc::new(SigningKey::generate().expect("a key")),
            token_issuer: "https://kubernetes.default.svc".into(),
            admin_token: Some("secret".into()),
            services: ServiceRanges::default(),
            stop: CancellationToken::new(),
        };
        let api = Api { router: router(&store, options), user: Arc::new(User::control_plane("admin")) };
        let made = api.post("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await;
        assert_eq!(made.0, 201, "{}", made.1);
        api
    }

    async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(request_body(Full::new(body.into()))).expect("a valid request");
        request.extensions_mut().insert(Caller(self.user.clone()));
        self.router.answer(request).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        read(self.raw(method, path, headers, bytes).await).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, &[], Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, &[], body).await
    }

    async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("PUT", path, &[], body).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, &[], Value::Null).await
    }

    async fn config_map(&self, name: &str, value: &str) -> Value {
        let (code, made) = self
            .post(CONFIG_MAPS, json!({"metadata": {"name": name, "labels": {"v": value}}, "data": {"k": value}}))
            .await;
        assert_eq!(code, 201, "{made}");
        made
    }
}

async fn read(response: Response<Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("no errors in memory").to_bytes();
    let value =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (code, value)
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

/// Lines of a watch that are there.
struct Lines {
    body: Body,
    text: Vec<u8>,
}

impl Lines {
    fn new(response: Response<Body>) -> Lines {
        assert_eq!(response.status(), 200);
        Lines { body: response.into_body(), text: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line is JSON"));
            }
            self.text.extend_from_slice(&self.body.next_piece().await?.expect("no errors in memory"));
        }
    }

    /// Type, name and value of the next change.
    async fn change(&mut self) -> String {
        let Some(event) = self.next().await else { return "end".into() };
        let object = &event["object"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
        format!("{} {} {}", text(&event["type"]), text(&object["metadata"]["name"]), text(&object["data"]["k"]))
    }
}

#[tokio::test]
async fn an_object_lives() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    assert_eq!(
        (&made["kind"], &made["apiVersion"], &made["metadata"]["namespace"]),
        (&json!("ConfigMap"), &json!("v1"), &json!("default"))
    );
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(api.get(&path).await, (200, made.clone()));
    let mut changed = made.clone();
    changed["data"]["k"] = json!("2");
    let (code, updated) = api.put(&path, changed.clone()).await;
    assert_eq!(
        (code, &updated["data"]["k"], &updated["metadata"]["uid"]),
        (200, &json!("2"), &made["metadata"]["uid"])
    );
    let (code, status) = api.put(&path, changed).await;
    assert_eq!(code, 409);
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
    let (code, status) = api.delete(&path).await;
    assert_eq!(
        (code, &status["status"], &status["details"]["uid"]),
        (200, &json!("Success"), &made["metadata"]["uid"])
    );
    assert_eq!(api.get(&path).await.0, 404);
}

/// Method, path, headers and body of a request; code and words of its refusal.
type Refusal<'a> = (&'a str, String, Vec<(&'a str, &'a str)>, String, u16, &'a str);

#[tokio::test]
async fn refusals_have_kubernetes_codes_and_words() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let json_type = ("content-type", "application/json");
    let long = "x".repeat((3 << 20) + 1);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: Vec<Refusal<'_>> = vec![
        ("GET", format!("{CONFIG_MAPS}/none"), vec![], String::new(), 404, "configmaps \"none\" not found"),
        (
            "GET",
            "/api/v1/nothings".into(),
            vec![],
            String::new(),
            404,
            "the server could not find the requested resource",
        ),
        (
            "GET",
            "/apis/none/v1/x".into(),
            vec![],
            String::new(),
            404,
            "the server could not find the requested resource",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/nodes".into(),
            vec![],
            String::new(),
            404,
            "the server could not find the requested resource",
        ),
        (
            "POST",
            "/api/v1/configmaps".into(),
            vec![json_type],
            "{}".into(),
            405,
            "the server does not allow this method on the requested resource",
        ),
        (
            "TRACE",
            CONFIG_MAPS.into(),
            vec![],
            String::new(),
            405,
            "the server does not allow this method on the requested resource",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{"name":"a"}}"#.into(),
            409,
            "configmaps \"a\" already exists",
        ),
        ("POST", CONFIG_MAPS.into(), vec![json_type], "{".into(), 400, "json parse error"),
        ("POST", CONFIG_MAPS.into(), vec![json_type], deep, 400, "exceeded max depth"),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            "[]".into(),
            400,
            "the object provided is unrecognized (must be of type ConfigMap)",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![("content-type", "text/html")],
            "{}".into(),
            415,
            "the body of the request was in an unknown format",
        ),
        (
            "GET",
            CONFIG_MAPS.into(),
            vec![("accept", "text/html")],
            String::new(),
            406,
            "only the following media types are accepted",
        ),
        ("POST", CONFIG_MAPS.into(), vec![json_type], long, 413, "Request entity too large: limit is 3145728"),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"kind":"Pod","apiVersion":"v1"}"#.into(),
            400,
            "cannot be handled as a ConfigMap",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"apiVersion":"v2"}"#.into(),
            400,
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"data":{"a":1},"metadata":{"name":"b"}}"#.into(),
            400,
            "cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{"name":"b","namespace":"other"}}"#.into(),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{}}"#.into(),
            422,
            "name or generateName is required",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{"name":"B"}}"#.into(),
            422,
            "metadata.name: Invalid value: \"B\"",
        ),
        (
            "POST",
            format!("{CONFIG_MAPS}?fieldValidation=Strict"),
            vec![json_type],
            r#"{"metadata":{"name":"b"},"dat":{}}"#.into(),
            400,
            "strict decoding error: unknown field \"dat\"",
        ),
        (
            "POST",
            format!("{CONFIG_MAPS}?fieldValidation=Strict"),
            vec![json_type],
            r#"{"metadata":{"name":"b"},"data":{"a":"1","a":"2"}}"#.into(),
            400,
            "strict decoding error: duplicate field \"data.a\"",
        ),
        ("POST", format!("{CONFIG_MAPS}?dryRun=Maybe"), vec![json_type], "{}".into(), 422, "dryRun: Unsupported value"),
        (
            "PUT",
            format!("{CONFIG_MAPS}/a"),
            vec![json_type],
            r#"{"metadata":{"name":"b"}}"#.into(),
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            "PUT",
            format!("{CONFIG_MAPS}/none"),
            vec![json_type],
            r#"{"metadata":{"name":"none"}}"#.into(),
            404,
            "configmaps \"none\" not found",
        ),
        (
            "PUT",
            format!("{CONFIG_MAPS}/a"),
            vec![json_type],
            r#"{"metadata":{"name":"a","uid":"x"}}"#.into(),
            409,
            "Precondition failed: UID in precondition: x",
        ),
        ("PATCH", format!("{CONFIG_MAPS}/a"), vec![json_type], "{}".into(), 415, "application/merge-patch+json"),
        (
            "PATCH",
            format!("{CONFIG_MAPS}/a"),
            vec![("content-type", "application/merge-patch+json")],
            "[".into(),
            400,
            "",
        ),
        (
            "DELETE",
            format!("{CONFIG_MAPS}/a"),
            vec![json_type],
            r#"{"preconditions":{"uid":"x"}}"#.into(),
            409,
            "the UID in the precondition (x) does not match the UID in record",
        ),
        (
            "DELETE",
            format!("{CONFIG_MAPS}/a?propagationPolicy=Sideways"),
            vec![],
            String::new(),
            422,
            "propagationPolicy",
        ),
        ("GET", format!("{CONFIG_MAPS}?continue=abc"), vec![], String::new(), 400, "continue"),
        ("GET", format!("{CONFIG_MAPS}?fieldSelector=spec.x%3Dy"), vec![], String::new(), 400, "field selector"),
        (
            "GET",
            format!("{CONFIG_MAPS}?resourceVersion=999999999"),
            vec![],
            String::new(),
            504,
            "Too large resource version: 999999999",
        ),
        ("GET", "/nowhere".into(), vec![], String::new(), 404, "the server could not find the requested resource"),
        ("POST", "/apis".into(), vec![], String::new(), 405, "the server does not allow this method"),
    ];
    for (method, path, headers, body, code, words) in cases {
        let shown = format!("{method} {path} {}", &body[..body.len().min(80)]);
        let (got, status) = read(api.raw(method, &path, &headers, body).await).await;
        assert_eq!(got, code, "{shown}: {status}");
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")), "{shown}");
        let message = status["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{shown}: {message}");
    }
}

#[tokio::test]
async fn warnings_travel_in_headers() {
    let api = Api::new().await;
    let body = r#"{"metadata":{"name":"w"},"dat":{},"data":{"a":"1","a":"2"}}"#;
    let response = api.raw("POST", CONFIG_MAPS, &[], body).await;
    let warnings: Vec<_> = response
        .headers()
        .get_all(header::WARNING)
        .iter()
        .map(|value| value.to_str().expect("text").to_string())
        .collect();
    assert_eq!(response.status(), 201);
    assert_eq!(warnings, ["299 - \"duplicate field \\\"data.a\\\"\"", "299 - \"unknown field \\\"dat\\\"\""]);
    let (_, stored) = read(response).await;
    assert_eq!((stored["data"].clone(), stored.get("dat")), (json!({"a": "2"}), None));
}

#[tokio::test]
async fn lists_are_paged_from_one_root() {
    let api = Api::new().await;
    for n in 0..7 {
        api.config_map(&format!("c{n}"), "1").await;
    }
    let (_, first) = api.get(&format!("{CONFIG_MAPS}?limit=3")).await;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["c0", "c1", "c2"], &json!(4)));
    api.delete(&format!("{CONFIG_MAPS}/c4")).await;
    api.config_map("c9", "1").await;
    let token = first["metadata"]["continue"].as_str().expect("more to come").to_string();
    let (_, second) = api.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert_eq!(
        (names(&second), &second["metadata"]["resourceVersion"]),
        (vec!["c3", "c4", "c5"], &first["metadata"]["resourceVersion"])
    );
    let token = second["metadata"]["continue"].as_str().expect("more to come").to_string();
    let (_, third) = api.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert_eq!((names(&third), third["metadata"].get("continue")), (vec!["c6"], None));
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let (_, exact) = api.get(&format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&exact).len(), 7);
    let (_, newest) =
        api.get(&format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(names(&newest), ["c0", "c1", "c2", "c3", "c5", "c6", "c9"]);
}

#[tokio::test]
async fn lists_are_selected() {
    let api = Api::new().await;
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "1")] {
        api.config_map(name, value).await;
    }
    let cases = [
        ("labelSelector=v%3D1", vec!["a", "c"]),
        ("labelSelector=v!%3D1", vec!["b"]),
        ("labelSelector=v%20in%20(1,2)&limit=2", vec!["a", "b"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name!%3Db", vec!["a", "c"]),
        ("fieldSelector=metadata.name%3Db&labelSelector=v%3D1", vec![]),
        ("fieldSelector=metadata.namespace%3Ddefault", vec!["a", "b", "c"]),
    ];
    for (query, expected) in cases {
        for path in [CONFIG_MAPS, "/api/v1/configmaps"] {
            let (code, list) = api.get(&format!("{path}?{query}")).await;
            assert_eq!((code, names(&list)), (200, expected.clone()), "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn watches_show_what_happens() {
    let api = Api::new().await;
    let first = api.config_map("a", "1").await;
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut all =
        Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"), &[], "").await);
    let mut from_zero = Lines::new(api.raw("GET", "/api/v1/configmaps?watch=true", &[], "").await);
    let mut selected = Lines::new(
        api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&labelSelector=v%3D2&resourceVersion={version}"), &[], "").await,
    );
    let mut single = Lines::new(
        api.raw(
            "GET",
            &format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Da&resourceVersion={version}"),
            &[],
            "",
        )
        .await,
    );
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = |v: &str| json!({"metadata": {"labels": {"v": v}}, "data": {"k": v}});
    api.config_map("ab", "2").await;
    api.send("PATCH", &format!("{CONFIG_MAPS}/a"), &merge, patch("2")).await;
    api.send("PATCH", &format!("{CONFIG_MAPS}/a"), &merge, patch("3")).await;
    api.delete(&format!("{CONFIG_MAPS}/a")).await;
    for expected in ["ADDED ab 2", "MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(all.change().await, expected);
    }
    for expected in ["ADDED a 1", "ADDED ab 2", "MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(from_zero.change().await, expected);
    }
    for expected in ["ADDED ab 2", "ADDED a 2", "DELETED a 2"] {
        assert_eq!(selected.change().await, expected);
    }
    for expected in ["MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(single.change().await, expected);
    }
}

#[tokio::test]
async fn a_deleted_object_shows_the_version_of_its_deletion() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    let version: u64 = made["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a version");
    let mut lines =
        Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"), &[], "").await);
    api.delete(&format!("{CONFIG_MAPS}/a")).await;
    let event = lines.next().await.expect("a change");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], json!((version + 1).to_string()));
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_bookmark() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?{query}"), &[], "").await);
    assert_eq!(lines.change().await, "ADDED a 1");
    let bookmark = lines.next().await.expect("a bookmark");
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    api.config_map("b", "2").await;
    assert_eq!(lines.change().await, "ADDED b 2");
}

#[tokio::test]
async fn watches_end() {
    let api = Api::new().await;
    let mut over = Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=0"), &[], "").await);
    assert_eq!(over.next().await, None);
}

#[tokio::test]
async fn patches_of_all_kinds() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let path = format!("{CONFIG_MAPS}/a");
    let cases = [
        ("application/merge-patch+json", json!({"data": {"m": "1"}})),
        ("application/strategic-merge-patch+json", json!({"data": {"s": "1", "k": null}})),
        ("application/json-patch+json", json!([{"op": "add", "path": "/data/j", "value": "1"}])),
    ];
    for (content_type, body) in cases {
        let (code, answer) = api.send("PATCH", &path, &[("content-type", content_type)], body).await;
        assert_eq!(code, 200, "{answer}");
    }
    let (_, patched) = api.get(&path).await;
    assert_eq!(patched["data"], json!({"m": "1", "s": "1", "j": "1"}));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"x": "y"}});
    let (code, _) = api.send("PATCH", &path, &[("content-type", "application/merge-patch+json")], stale).await;
    assert_eq!(code, 409);
    let failing = json!([{"op": "test", "path": "/data/j", "value": "2"}]);
    let (code, _) = api.send("PATCH", &path, &[("content-type", "application/json-patch+json")], failing).await;
    assert_eq!(code, 422);
}

#[tokio::test]
async fn managers_apply_what_they_want() {
    let api = Api::new().await;
    let apply = async |manager: &str, data: Value| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let (path, force) = manager.split_once('!').map_or((manager, ""), |(name, _)| (name, "&force=true"));
        let path = format!("{CONFIG_MAPS}/a?fieldManager={path}{force}");
        api.send("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], body).await
    };
    let (code, made) = apply("one", json!({"x": "1", "y": "1"})).await;
    assert_eq!(
        (code, &made["metadata"]["managedFields"][0]["fieldsV1"]),
        (201, &json!({"f:data": {"f:x": {}, "f:y": {}}})),
        "{made}"
    );
    let (code, same) = apply("one", json!({"x": "1", "y": "1"})).await;
    assert_eq!((code, &same["metadata"]["resourceVersion"]), (200, &made["metadata"]["resourceVersion"]));
    let (code, joined) = apply("two", json!({"x": "1", "z": "1"})).await;
    assert_eq!((code, &joined["data"]), (200, &json!({"x": "1", "y": "1", "z": "1"})));
    let (code, refused) = apply("two", json!({"x": "2", "z": "1"})).await;
    assert_eq!(
        (code, &refused["message"]),
        (409, &json!("Apply failed with 1 conflict: conflict with \"one\" using v1: .data.x"))
    );
    let (code, forced) = apply("two!", json!({"x": "2"})).await;
    assert_eq!((code, &forced["data"]), (200, &json!({"x": "2", "y": "1"})), "{forced}");
    let (_, left) = apply("one", json!({})).await;
    assert_eq!(left["data"], json!({"x": "2"}));
    let nobody = api
        .send(
            "PATCH",
            &format!("{CONFIG_MAPS}/a"),
            &[("content-type", "application/apply-patch+yaml")],
            json!({"apiVersion": "v1", "kind": "ConfigMap"}),
        )
        .await;
    assert_eq!(nobody.0, 422);
}

#[tokio::test]
async fn applied_texts_of_a_secret_become_its_data() {
    let api = Api::new().await;
    let path = "/api/v1/namespaces/default/secrets/a?fieldManager=one";
    for (text, code, data) in [("hello", 201, "aGVsbG8="), ("there", 200, "dGhlcmU=")] {
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": text}});
        let (answered, secret) = api.send("PATCH", path, &[("content-type", "application/apply-patch+yaml")], body).await;
        assert_eq!((answered, &secret["data"]), (code, &json!({"k": data})), "{secret}");
    }
}

/// `manager operation subresource fields` of each entry.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
    let shown = |entry: &Value| {
        format!("{} {} {} {}", text(&entry["manager"]), text(&entry["operation"]), text(&entry["subresource"]), entry["fieldsV1"])
    };
    entries.iter().map(shown).collect()
}

#[tokio::test]
async fn plain_writes_take_fields_over() {
    let api = Api::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let apply = async |data: Value, query: &str| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let path = format!("{path}?fieldManager=one{query}");
        api.send("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], body).await
    };
    // What was there before is somebody's.
    let (_, made) = api.post(CONFIG_MAPS, json!({"metadata": {"name": "a"}, "data": {"x": "0", "z": "0"}})).await;
    assert_eq!(made["metadata"].get("managedFields"), None);
    let (code, refused) = apply(json!({"x": "1"}), "").await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(code == 409 && message.starts_with("Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1 at ") && message.ends_with(": .data.x"), "{message}");
    let (code, forced) = apply(json!({"x": "1", "y": "1"}), "&force=true").await;
    assert_eq!((code, managers(&forced)), (200, vec![
        r#"one Apply - {"f:data":{"f:x":{},"f:y":{}}}"#.to_string(),
        r#"before-first-apply Update - {"f:data":{"f:z":{}}}"#.to_string(),
    ]));
    // A patch takes over what it changes, and only that.
    let merge = [("content-type", "application/merge-patch+json"), ("user-agent", "kubectl/v1.36.0 (linux/amd64)")];
    let (_, same) = api.send("PATCH", &path, &merge, json!({"data": {"x": "1"}})).await;
    assert_eq!(same["metadata"]["resourceVersion"], forced["metadata"]["resourceVersion"]);
    let (code, patched) = api.send("PATCH", &path, &merge, json!({"data": {"x": "2", "y": "1", "z": null}})).await;
    assert_eq!((code, managers(&patched)), (200, vec![
        r#"one Apply - {"f:data":{"f:y":{}}}"#.to_string(),
        r#"kubectl Update - {"f:data":{"f:x":{}}}"#.to_string(),
    ]));
    let (code, refused) = apply(json!({"x": "1", "y": "1"}), "").await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(code == 409 && message.contains("conflict with \"kubectl\" using v1 at "), "{message}");
    // What a plain write took is not pruned by an apply that leaves it out.
    let (code, kept) = apply(json!({"y": "1"}), "").await;
    assert_eq!((code, &kept["data"]), (200, &json!({"x": "2", "y": "1"})), "{kept}");
    let cleared = json!({"metadata": {"managedFields": [{}]}});
    let (code, cleared) = api.send("PATCH", &path, &merge, cleared).await;
    assert_eq!((code, managers(&cleared)), (200, vec![]), "{cleared}");
}

#[tokio::test]
async fn racing_patches_all_take_place() {
    let api = Arc::new(Api::new().await);
    api.config_map("a", "1").await;
    let patches = (0..20).map(|n| {
        let api = api.clone();
        async move {
            let body = json!({"data": {format!("k{n}"): "x"}});
            api.send("PATCH", &format!("{CONFIG_MAPS}/a"), &[("content-type", "application/merge-patch+json")], body)
                .await
                .0
        }
    });
    assert!(futures::future::join_all(patches).await.into_iter().all(|code| code == 200));
    let (_, patched) = api.get(&format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(patched["data"].as_object().map(serde_json::Map::len), Some(21));
}

#[tokio::test]
async fn generated_names_and_dry_runs() {
    let api = Api::new().await;
    let (code, made) = api.post(CONFIG_MAPS, json!({"metadata": {"generateName": "x-"}})).await;
    let name = made["metadata"]["name"].as_str().unwrap_or_default();
    assert_eq!((code, name.len()), (201, 7), "{made}");
    let (code, dry) = api.post(&format!("{CONFIG_MAPS}?dryRun=All"), json!({"metadata": {"name": "dry"}})).await;
    assert_eq!((code, &dry["metadata"]["name"]), (201, &json!("dry")));
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/dry")).await.0, 404);
    assert_eq!(api.delete(&format!("{CONFIG_MAPS}/{name}?dryRun=All")).await.0, 200);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/{name}")).await.0, 200);
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let api = Api::new().await;
    let path = format!("{CONFIG_MAPS}/f");
    api.post(CONFIG_MAPS, json!({"metadata": {"name": "f", "finalizers": ["example.com/x"]}})).await;
    let (code, marked) = api.delete(&path).await;
    assert_eq!((code, marked["metadata"]["deletionTimestamp"].is_string()), (200, true), "{marked}");
    let (code, freed) = api
        .send(
            "PATCH",
            &path,
            &[("content-type", "application/merge-patch+json")],
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    assert_eq!(code, 200, "{freed}");
    assert_eq!(api.get(&path).await.0, 404);
    api.config_map("o", "1").await;
    let (_, orphaning) = api.delete(&format!("{CONFIG_MAPS}/o?propagationPolicy=Orphan")).await;
    assert_eq!(orphaning["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test]
async fn collections_are_deleted() {
    let api = Api::new().await;
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "1")] {
        api.config_map(name, value).await;
    }
    let (code, list) = api.delete(&format!("{CONFIG_MAPS}?labelSelector=v%3D1")).await;
    assert_eq!((code, names(&list)), (200, vec!["a", "c"]));
    let (_, left) = api.get(CONFIG_MAPS).await;
    assert_eq!(names(&left), ["b"]);
}

#[tokio::test]
async fn other_forms_of_an_answer() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let accept = |value: &'static str| [("accept", value)];
    let (_, table) = api
        .send("GET", CONFIG_MAPS, &accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Value::Null)
        .await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let (_, metadata) = api
        .send(
            "GET",
            CONFIG_MAPS,
            &accept("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
            Value::Null,
        )
        .await;
    assert_eq!((&metadata["kind"], metadata["items"][0].get("data")), (&json!("PartialObjectMetadataList"), None));
    let (_, yaml) = api.send("GET", &format!("{CONFIG_MAPS}/a"), &accept("application/yaml"), Value::Null).await;
    assert!(yaml.as_str().is_some_and(|text| text.starts_with("apiVersion: v1\n")), "{yaml}");
    let yaml = "metadata:\n  name: y\ndata:\n  k: v\n";
    let (code, made) = read(api.raw("POST", CONFIG_MAPS, &[("content-type", "application/yaml")], yaml).await).await;
    assert_eq!((code, &made["data"]["k"]), (201, &json!("v")));
}

#[tokio::test]
async fn strangers_are_told_so() {
    let api = Api::new().await;
    let cases = [
        (CONFIG_MAPS, None, 403),
        (CONFIG_MAPS, Some("Bearer wrong"), 401),
        (CONFIG_MAPS, Some("Bearer secret"), 200),
        ("/livez", None, 200),
        ("/version", None, 200),
        ("/metrics", None, 403),
        ("/apis", None, 403),
    ];
    for (path, authorization, code) in cases {
        let mut request = Request::builder().method(Method::GET).uri(path);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(request_body(Full::new(Bytes::new()))).expect("a valid request");
        let (got, body) = read(api.router.answer(request).await).await;
        assert_eq!(got, code, "{path} {authorization:?}: {body}");
    }
}

#[tokio::test]
async fn a_client_in_the_process_needs_no_socket() {
    let api = Api::new().await;
    let client = api.router.client(User::control_plane("test"));
    let request = Request::get("/api/v1/namespaces/default").body(Vec::new()).expect("a valid request");
    let namespace: Value = client.request(request).await.expect("an answer");
    assert_eq!(namespace["metadata"]["name"], "default");
}

#[tokio::test]
async fn events_are_seen_through_both_of_their_groups() {
    let api = Api::new().await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R", "message": "M", "type": "Normal"});
    let (code, made) = api.post("/api/v1/namespaces/default/events", event).await;
    assert_eq!(code, 201, "{made}");
    let (_, list) = api.get("/apis/events.k8s.io/v1/namespaces/default/events").await;
    let shown = &list["items"][0];
    assert_eq!(
        (&shown["apiVersion"], &shown["note"], &shown["regarding"]["name"]),
        (&json!("events.k8s.io/v1"), &json!("M"), &json!("p"))
    );
    let (_, selected) = api.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp").await;
    assert_eq!(names(&selected), ["e"]);
}

#[tokio::test]
async fn services_get_addresses() {
    let api = Api::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]);
    let (code, made) =
        api.post(services, service("a", json!({"type": "NodePort", "ports": ports, "selector": {"a": "b"}}))).await;
    assert_eq!(code, 201, "{made}");
    let ip = made["spec"]["clusterIP"].as_str().unwrap_or_default().to_string();
    assert!(ip.starts_with("10.43."), "{made}");
    let (code, refused) = api.post(services, service("b", json!({"clusterIP": ip, "ports": ports}))).await;
    assert_eq!(code, 422, "{refused}");
    let (code, _) = api.post(&format!("{services}?dryRun=All"), service("c", json!({"ports": ports}))).await;
    assert_eq!(code, 201);
    api.delete(&format!("{services}/a")).await;
    let (code, again) = api.post(services, service("b", json!({"clusterIP": ip, "ports": ports}))).await;
    assert_eq!(code, 201, "{again}");
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let api = Api::new().await;
    let put = |name: &str, finalizers: Value| json!({"metadata": {"name": name}, "spec": {"finalizers": finalizers}});
    let (code, made) = api.post("/api/v1/namespaces", put("x", json!(["kubernetes"]))).await;
    assert_eq!(code, 201, "{made}");
    let (code, marked) = api.delete("/api/v1/namespaces/x").await;
    assert_eq!((code, &marked["status"]["phase"]), (200, &json!("Terminating")), "{marked}");
    let (code, again) = api.delete("/api/v1/namespaces/x").await;
    assert_eq!((code, &again["metadata"]["resourceVersion"]), (200, &marked["metadata"]["resourceVersion"]));
    let (code, gone) = api.put("/api/v1/namespaces/x/finalize", put("x", json!([]))).await;
    assert_eq!(code, 200, "{gone}");
    assert_eq!(api.get("/api/v1/namespaces/x").await.0, 404);
}

#[tokio::test]
async fn autoscalers_are_written_and_read_in_both_versions() {
    let api = Api::new().await;
    let (old, new) = (
        "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    );
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let (_, before) = api.get(new).await;
    let version = before["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut seen_old = Lines::new(api.raw("GET", &format!("{old}?watch=1&resourceVersion={version}"), &[], "").await);
    let mut seen_new = Lines::new(api.raw("GET", &format!("{new}?watch=1&resourceVersion={version}"), &[], "").await);
    let spec = json!({"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50});
    let (code, made) = api.post(old, json!({"metadata": {"name": "h"}, "spec": spec})).await;
    assert_eq!((code, &made["apiVersion"]), (201, &json!("autoscaling/v1")), "{made}");
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 50);
    let (_, shown) = api.get(&format!("{new}/h")).await;
    let cpu = |percent| json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}]);
    assert_eq!((&shown["apiVersion"], &shown["spec"]["metrics"]), (&json!("autoscaling/v2"), &cpu(50)));
    // A metric that the old version has no field for travels in an annotation of it.
    let metrics = json!([cpu(50)[0], {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}}]);
    let merge = [("content-type", "application/merge-patch+json")];
    let (code, both) = api.send("PATCH", &format!("{new}/h"), &merge, json!({"spec": {"metrics": metrics}})).await;
    assert_eq!((code, both["spec"]["metrics"].as_array().map(Vec::len)), (200, Some(2)), "{both}");
    let (code, dry) =
        api.send("PATCH", &format!("{old}/h?dryRun=All"), &merge, json!({"spec": {"maxReplicas": 9}})).await;
    assert_eq!((code, &dry["spec"]["maxReplicas"]), (200, &json!(9)), "{dry}");
    assert!(dry["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].is_string(), "{dry}");
    let (code, patched) =
        api.send("PATCH", &format!("{old}/h"), &merge, json!({"spec": {"targetCPUUtilizationPercentage": 70}})).await;
    assert_eq!((code, &patched["apiVersion"]), (200, &json!("autoscaling/v1")), "{patched}");
    let (_, list) = api.get(new).await;
    let shown = list["items"][0]["spec"]["metrics"].as_array().cloned().unwrap_or_default();
    assert!(shown.contains(&metrics[1]) && shown.contains(&cpu(70)[0]), "{shown:?}");
    let (code, put) = api.put(&format!("{old}/h"), patched).await;
    assert_eq!(code, 200, "{put}");
    assert_eq!(api.get(&format!("{new}/h")).await.1["spec"]["metrics"], json!(shown));
    api.delete(&format!("{old}/h")).await;
    for (lines, api_version) in [(&mut seen_old, "autoscaling/v1"), (&mut seen_new, "autoscaling/v2")] {
        for kind in ["ADDED", "MODIFIED", "MODIFIED", "DELETED"] {
            let event = lines.next().await.expect("a change");
            assert_eq!((&event["type"], &event["object"]["apiVersion"]), (&json!(kind), &json!(api_version)), "{event}");
        }
    }
}

#[tokio::test]
async fn events_of_the_newer_group_are_stored_as_core_events() {
    let api = Api::new().await;
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R", "action": "A", "note": "N", "type": "Normal", "reportingController": "example.com/c", "reportingInstance": "c-1"});
    let (code, dry) = api.post(&format!("{path}?dryRun=All"), event.clone()).await;
    assert_eq!((code, &dry["note"], &dry["regarding"]["name"]), (201, &json!("N"), &json!("p")), "{dry}");
    let (code, made) = api.post(path, event).await;
    assert_eq!((code, &made["apiVersion"], &made["note"]), (201, &json!("events.k8s.io/v1"), &json!("N")), "{made}");
    let core = "/api/v1/namespaces/default/events";
    let (_, shown) = api.get(&format!("{core}/e")).await;
    assert_eq!(
        (&shown["apiVersion"], &shown["message"], &shown["involvedObject"]["name"], &shown["reportingComponent"]),
        (&json!("v1"), &json!("N"), &json!("p"), &json!("example.com/c"))
    );
    for (path, field) in [(path, "regarding.name"), (path, "reportingController"), (core, "involvedObject.name")] {
        let value = if field == "reportingController" { "example.com/c" } else { "p" };
        let (code, list) = api.get(&format!("{path}?fieldSelector={field}%3D{value}")).await;
        assert_eq!((code, names(&list)), (200, vec!["e"]), "{field}");
    }
    let merge = [("content-type", "application/merge-patch+json")];
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let (code, patched) = api.send("PATCH", &format!("{path}/e"), &merge, series).await;
    assert_eq!((code, &patched["series"]["count"], &patched["note"]), (200, &json!(2), &json!("N")), "{patched}");
    let (code, _) = api.send("PATCH", &format!("{path}/e"), &merge, json!({"note": "M"})).await;
    assert_eq!(code, 422);
}

#[tokio::test]
async fn deletes_answer_as_their_kinds_do() {
    let api = Api::new().await;
    let cases = [
        ("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "x"}}), "Status"),
        ("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "x"}}), "ServiceAccount"),
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({"metadata": {"name": "x"}, "provisioner": "example.com/p"}),
            "StorageClass",
        ),
        ("/api/v1/nodes", json!({"metadata": {"name": "x"}}), "Status"),
    ];
    for (path, object, kind) in cases {
        let (code, made) = api.post(path, object).await;
        assert_eq!(code, 201, "{made}");
        let (code, gone) = api.delete(&format!("{path}/x")).await;
        assert_eq!((code, &gone["kind"]), (200, &json!(kind)), "{gone}");
    }
}

#[tokio::test]
async fn admission_warns_in_headers() {
    let api = Api::new().await;
    let labels = json!({"pod-security.kubernetes.io/warn": "restricted"});
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "strict", "labels": labels}})).await;
    let pod = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}, "metadata": {"labels": {"a": "b"}}});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}});
    let path = "/apis/apps/v1/namespaces/strict/deployments";
    let response = api.raw("POST", path, &[], deployment.to_string()).await;
    let warning = response.headers().get(header::WARNING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert!(
        warning.starts_with("299 - \"would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation"),
        "{warning}"
    );
    assert_eq!(response.status(), 201);
}
