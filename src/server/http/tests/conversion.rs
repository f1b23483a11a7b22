//! Custom objects in several versions, with a webhook between them.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use mk8s_store::{Expect, Op, Stamped, Txn};
use parking_lot::Mutex;

use super::*;
use crate::webhook::tests::Backend;

const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/hosts.example.com";
const V1: &str = "/apis/example.com/v1/namespaces/default/hosts";
const V2: &str = "/apis/example.com/v2/namespaces/default/hosts";

/// What a webhook does to one object that is in the version asked for already.
type Change = Arc<Mutex<Box<dyn FnMut(&mut Value) + Send>>>;

/// v1 has `hostPort`, v2 has `host` and `port`.
async fn converter(change: Change) -> Backend {
    Backend::start(move |path, body| {
        assert_eq!(path, "/convert?timeout=30s");
        let mut review: Value = serde_json::from_slice(&body).expect("a review");
        let wanted = review["request"]["desiredAPIVersion"].clone();
        let mut objects = review["request"]["objects"].clone();
        for object in objects.as_array_mut().into_iter().flatten() {
            object["apiVersion"] = wanted.clone();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if wanted == "example.com/v2" {
                let both = text(&object["hostPort"]);
                let (host, port) = both.split_once(':').unwrap_or((&both, ""));
                (object["host"], object["port"]) = (json!(host), json!(port));
                object.as_object_mut().expect("an object").remove("hostPort");
            } else {
                object["hostPort"] = json!(format!("{}:{}", text(&object["host"]), text(&object["port"])));
                object
                    .as_object_mut()
                    .expect("an object")
                    .retain(|field, _| !matches!(field.as_str(), "host" | "port"));
            }
            (change.lock())(object);
        }
        review["response"] = json!({
            "uid": review["request"]["uid"], "convertedObjects": objects, "result": {"status": "Success"}});
        (200, review.to_string().into_bytes())
    })
    .await
}

fn versions(storage: &str) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let mut schema = json!({"type": "object", "properties": {}});
        for field in fields {
            schema["properties"][field] = json!({"type": "string"});
        }
        json!({"name": name, "served": true, "storage": name == storage, "schema": {"openAPIV3Schema": schema}})
    };
    json!([version("v1", &["hostPort"]), version("v2", &["host", "port"])])
}

impl Api {
    /// A definition whose objects are stored as v1.
    async fn with_hosts(backend: &Backend) -> Api {
        let api = Api::new().await;
        let definition = json!({"metadata": {"name": "hosts.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "versions": versions("v1"),
            "names": {"plural": "hosts", "kind": "Host"},
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": backend.client_config("/convert"), "conversionReviewVersions": ["v1", "v1beta1"]}},
        }});
        let (code, mut made) = api.post(DEFINITION.rsplit_once('/').expect("a list").0, definition).await;
        assert_eq!(code, 201, "{made}");
        made["status"]["acceptedNames"] = made["spec"]["names"].clone();
        made["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
        let (code, made) = api.put(&format!("{DEFINITION}/status"), made).await;
        assert_eq!(code, 200, "{made}");
        api
    }

    async fn host(&self, name: &str) {
        let (code, made) = self
            .post(
                V1,
                json!({"apiVersion": "example.com/v1", "kind": "Host", "metadata": {"name": name}, "hostPort": "a:1"}),
            )
            .await;
        assert_eq!(code, 201, "{made}");
    }

    async fn store_as(&self, version: &str) {
        let patch = json!({"spec": {"versions": versions(version)}});
        let (code, patched) =
            self.send("PATCH", DEFINITION, &[("content-type", "application/merge-patch+json")], patch).await;
        assert_eq!(code, 200, "{patched}");
    }
}

fn nothing() -> Change {
    Arc::new(Mutex::new(Box::new(|_| {})))
}

fn shown(object: &Value) -> String {
    let fields = ["apiVersion", "hostPort", "host", "port"];
    let told = fields.iter().filter_map(|field| Some(format!("{field}={}", object[*field].as_str()?)));
    told.collect::<Vec<_>>().join(" ")
}

const AS_V1: &str = "apiVersion=example.com/v1 hostPort=a:1";
const AS_V2: &str = "apiVersion=example.com/v2 host=a port=1";

#[tokio::test]
async fn objects_are_read_and_written_in_every_version() {
    let backend = converter(nothing()).await;
    let api = Api::with_hosts(&backend).await;
    api.host("x").await;
    assert_eq!(shown(&api.get(&format!("{V1}/x")).await.1), AS_V1);
    let (_, mut second) = api.get(&format!("{V2}/x")).await;
    assert_eq!(shown(&second), AS_V2);
    second["port"] = json!("2");
    let (code, written) = api.put(&format!("{V2}/x"), second).await;
    assert_eq!((code, shown(&written).as_str()), (200, "apiVersion=example.com/v2 host=a port=2"));
    assert_eq!(shown(&api.get(&format!("{V1}/x")).await.1), "apiVersion=example.com/v1 hostPort=a:2");
    let made = api.post(V2, json!({"apiVersion": "example.com/v2", "kind": "Host", "metadata": {"name": "y"}, "host": "a", "port": "1"})).await;
    assert_eq!((made.0, shown(&made.1).as_str()), (201, AS_V2));
    assert_eq!(shown(&api.get(&format!("{V1}/y")).await.1), AS_V1);
}

#[tokio::test]
async fn lists_and_watches_bring_all_into_one_version() {
    let backend = converter(nothing()).await;
    let api = Api::with_hosts(&backend).await;
    api.host("x").await;
    api.store_as("v2").await;
    api.host("y").await;
    for (path, expected) in [(V1, AS_V1), (V2, AS_V2)] {
        let (code, list) = api.get(path).await;
        let items: Vec<String> = list["items"].as_array().into_iter().flatten().map(shown).collect();
        assert_eq!((code, items), (200, vec![expected.to_owned(); 2]), "{list}");
        let mut lines = Lines::new(api.raw("GET", &format!("{path}?watch=1"), &[], "").await);
        for _ in 0..2 {
            let event = lines.next().await.expect("an event");
            assert_eq!((event["type"].as_str(), shown(&event["object"]).as_str()), (Some("ADDED"), expected));
        }
    }
}

#[tokio::test]
async fn what_was_under_way_when_the_definition_changed_is_converted() {
    let backend = converter(nothing()).await;
    let api = Api::with_hosts(&backend).await;
    api.host("x").await;
    let view = api.store.view();
    let mut entries = view.range(b"/", b"0").filter(|entry| entry.key.ends_with(b"/hosts/default/x"));
    let entry = entries.next().expect("it is stored").clone();
    api.store_as("v2").await;
    let late = Op::Put { key: entry.key.clone(), value: Stamped::plain(entry.value.clone()), expect: Expect::Any };
    api.store.commit(Txn::one(late)).await.expect("it is written");
    for (path, expected) in [(V1, AS_V1), (V2, AS_V2)] {
        assert_eq!(shown(&api.get(&format!("{path}/x")).await.1), expected);
        assert_eq!(shown(&api.get(path).await.1["items"][0]), expected);
    }
}

#[tokio::test]
async fn a_webhook_changes_no_metadata_but_labels_and_annotations() {
    type Spoil = fn(&mut Value);
    let cases: [(Spoil, &str); 5] = [
        (|object| object["metadata"]["labels"] = json!({"from": "webhook"}), ""),
        (
            |object| object["metadata"]["name"] = json!("z"),
            "conversion webhook for example.com/v1, Kind=Host returned invalid converted object at index 0: must have the same name: x != z",
        ),
        (
            |object| object["kind"] = json!("Z"),
            "conversion webhook for example.com/v1, Kind=Host returned invalid converted object at index 0: invalid kind (expected Host, received Z)",
        ),
        (
            |object| object["apiVersion"] = json!("example.com/v1"),
            "conversion webhook for example.com/v1, Kind=Host returned invalid converted object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v1)",
        ),
        (
            |object| object["metadata"]["labels"] = json!({"from": 1}),
            "conversion webhook for example.com/v1, Kind=Host returned invalid converted object at index 0: metadata.labels[from] must be a string in converted object",
        ),
    ];
    for (change, expected) in cases {
        let backend = converter(Arc::new(Mutex::new(Box::new(change)))).await;
        let api = Api::with_hosts(&backend).await;
        api.host("x").await;
        let (code, got) = api.get(&format!("{V2}/x")).await;
        match expected {
            "" => assert_eq!((code, &got["metadata"]["labels"]), (200, &json!({"from": "webhook"})), "{got}"),
            _ => assert_eq!((code, got["message"].as_str()), (500, Some(expected)), "{got}"),
        }
    }
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_told_of() {
    let backend = Backend::start(|_, _| (500, b"broken".to_vec())).await;
    let api = Api::with_hosts(&backend).await;
    api.host("x").await;
    let (code, got) = api.get(&format!("{V2}/x")).await;
    let expected = "conversion webhook for example.com/v1, Kind=Host failed: an error on the server (\"broken\") has prevented the request from succeeding";
    assert_eq!((code, got["message"].as_str()), (500, Some(expected)));
    // What is stored in the version asked for needs no webhook.
    assert_eq!(api.get(&format!("{V1}/x")).await.0, 200);
    let (_, metrics) = api.get("/metrics").await;
    let counted = "apiserver_conversion_webhook_request_total{failure_type=\"conversion_webhook_call_failure\",result=\"failure\"} 1";
    assert!(metrics.as_str().is_some_and(|text| text.contains(counted)), "{metrics}");
}

/// The webhook of admission knows v2 alone; the request is for v1.
#[tokio::test]
async fn admission_webhooks_are_asked_in_the_version_they_know() {
    let converting = converter(nothing()).await;
    let api = Api::with_hosts(&converting).await;
    let admitting = Backend::review(|request| {
        let object = &request["object"];
        assert_eq!(shown(object), AS_V2);
        assert_eq!(request["kind"], json!({"group": "example.com", "version": "v2", "kind": "Host"}));
        assert_eq!(request["requestKind"]["version"], "v1");
        let patch = json!([{"op": "replace", "path": "/port", "value": "7"}]);
        json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
    })
    .await;
    let hook = json!({"name": "a.example.com", "clientConfig": admitting.client_config("/"), "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "matchPolicy": "Equivalent",
        "rules": [{"apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["hosts"], "operations": ["CREATE"]}]});
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let (code, made) = api.post(path, json!({"metadata": {"name": "a"}, "webhooks": [hook]})).await;
    assert_eq!(code, 201, "{made}");
    let object = json!({"apiVersion": "example.com/v1", "kind": "Host", "metadata": {"name": "x"}, "hostPort": "a:1"});
    let (code, made) = api.post(V1, object).await;
    assert_eq!((code, shown(&made).as_str()), (201, "apiVersion=example.com/v1 hostPort=a:7"), "{made}");
}

#[tokio::test]
async fn policies_judge_the_version_they_know() {
    let converting = converter(nothing()).await;
    let api = Api::with_hosts(&converting).await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["hosts"], "operations": ["CREATE"]}]},
        "validations": [{"expression": "object.port != '1'", "message": "not this port"}]}});
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    for (plural, object) in [("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)] {
        let (code, made) = api.post(&format!("{admission}/{plural}"), object).await;
        assert_eq!(code, 201, "{made}");
    }
    for (port, expected) in [("1", 422), ("2", 201)] {
        let object = json!({"apiVersion": "example.com/v1", "kind": "Host", "metadata": {"name": "x"}, "hostPort": format!("a:{port}")});
        let (code, answered) = api.post(V1, object).await;
        assert_eq!(code, expected, "{answered}");
    }
}

#[tokio::test]
async fn parameters_are_read_in_the_version_that_the_policy_names() {
    let converting = converter(nothing()).await;
    let api = Api::with_hosts(&converting).await;
    api.host("limits").await;
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let policy = |name: &str, version: &str, expression: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "paramKind": {"apiVersion": format!("example.com/{version}"), "kind": "Host"},
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]},
            "validations": [{"expression": expression, "message": name}]}})
    };
    let binding = |policy: &str, params: Value| json!({"metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"], "paramRef": params}});
    let by_name = json!({"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"});
    let by_label = json!({"selector": {}, "namespace": "default", "parameterNotFoundAction": "Deny"});
    let both = [
        ("first", "v1", "params.hostPort == 'a:1' && params.apiVersion == 'example.com/v1'", by_name.clone()),
        ("second", "v2", "params.host == 'a' && params.port == '1' && !has(params.hostPort)", by_label),
        ("third", "v2", "object.data.port == params.port", by_name),
    ];
    for (name, version, expression, params) in both {
        for (plural, object) in [
            ("validatingadmissionpolicies", policy(name, version, expression)),
            ("validatingadmissionpolicybindings", binding(name, params)),
        ] {
            let (code, made) = api.post(&format!("{admission}/{plural}"), object).await;
            assert_eq!(code, 201, "{made}");
        }
    }
    for (port, expected) in [("2", (422, Some("third"))), ("1", (201, None))] {
        let (code, answered) = api.post(CONFIG_MAPS, json!({"metadata": {"name": "x"}, "data": {"port": port}})).await;
        let told = answered["message"].as_str().and_then(|message| message.rsplit(": ").next());
        assert_eq!((code, told), expected, "{answered}");
    }
}
