//! An extension behind the API, reached through a Service that the store knows.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mk8s_store::{Expect, Op, Stamped, Store, Txn};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    assemble::{ApiOptions, router},
    auth::{User, tokens::SigningKey},
    http::{Body, Router, body::request_body, router::Caller},
    registry::ServiceRanges,
    webhook::tests::Backend,
};

const RESOURCES: &str = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"ext.io/v1","resources":[{"name":"things","singularName":"thing","namespaced":true,"kind":"Thing","verbs":["get"]}]}"#;

struct Cluster {
    router: Router,
    store: Store,
    stop: CancellationToken,
}

impl Cluster {
    async fn new() -> Cluster {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let stop = CancellationToken::new();
        let options = ApiOptions {
            signing_key: Arc::new(SigningKey::generate().expect("a key")),
            token_issuer: "https://kubernetes.default.svc".into(),
            admin_token: None,
            join_secret: None,
            services: ServiceRanges::default(),
            seats: 600,
            stop: stop.clone(),
        };
        Cluster { router: router(&store, options), store, stop }
    }

    /// Writes past the API, which would not take an address on loopback.
    async fn put(&self, key: &str, object: Value) {
        let value = Stamped { bytes: Bytes::from(object.to_string()), stamp_at: None };
        let op = Op::Put { key: Bytes::from(format!("/registry/{key}")), value, expect: Expect::Any };
        self.store.commit(Txn { ops: vec![op] }).await.expect("written");
    }

    async fn send(&self, method: &str, path: &str, accept: &str, body: Value) -> (u16, Value) {
        let user = Arc::new(User::new("jane", ["system:masters"]));
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", accept)
            .body(request_body(Full::new(Bytes::from(bytes))))
            .expect("a request");
        request.extensions_mut().insert(Caller(user));
        let response: Response<Body> = self.router.answer(request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "application/json", Value::Null).await
    }

    /// Waits for the condition of an APIService to have this reason.
    async fn reason(&self, reason: &str) {
        let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.ext.io";
        let mut watcher = self.store.watch(super::index::PREFIX, self.store.revision()).expect("watched");
        loop {
            let (_, object) = self.get(path).await;
            if object["status"]["conditions"][0]["reason"] == reason {
                return;
            }
            watcher.next().await.expect("a change");
        }
    }
}

#[tokio::test]
async fn an_extension_is_served_as_if_it_were_built_in() {
    let cluster = Cluster::new().await;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = seen.clone();
    let backend = Backend::start(move |path, body| {
        note.lock().push(format!("{path} {}", String::from_utf8_lossy(&body)));
        match path {
            "/apis/ext.io/v1" => (200, RESOURCES.into()),
            "/openapi/v3" => (
                200,
                br#"{"paths":{"apis/ext.io/v1":{"serverRelativeURL":"/openapi/v3/apis/ext.io/v1?hash=1"}}}"#.to_vec(),
            ),
            "/openapi/v2" => {
                (200, br#"{"paths":{"/apis/ext.io/v1/things":{},"/version":{}},"definitions":{"Thing":{}}}"#.to_vec())
            }
            "/apis" => (406, Vec::new()),
            _ => (201, br#"{"kind":"Thing"}"#.to_vec()),
        }
    })
    .await;
    let watching = tokio::spawn(super::keep(cluster.router.clone(), cluster.stop.clone()));
    let service = json!({"namespace": "n", "name": "s", "port": 443});
    let object = json!({"metadata": {"name": "v1.ext.io"}, "spec": {"group": "ext.io", "version": "v1", "service": service,
        "groupPriorityMinimum": 2000, "versionPriority": 10, "insecureSkipTLSVerify": true}});
    let (code, made) =
        cluster.send("POST", "/apis/apiregistration.k8s.io/v1/apiservices", "application/json", object).await;
    assert_eq!((code, &made["status"]), (201, &json!({})), "{made}");
    cluster.reason("ServiceNotFound").await;
    assert_eq!(cluster.get("/apis/ext.io/v1/namespaces/a/things").await, (503, json!("service unavailable\n")));
    let aggregated = mk8s_api::discovery::AGGREGATED;
    let (_, discovery) = cluster.send("GET", "/apis", aggregated, Value::Null).await;
    let of = |discovery: &Value| {
        let items = discovery["items"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .find(|item| item["metadata"]["name"] == "ext.io")
            .map(|item| item["versions"][0]["freshness"].clone())
    };
    assert_eq!(of(&discovery), Some(json!("Stale")));

    let slice = json!({"metadata": {"name": "s-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}], "ports": [{"port": backend.address.port()}]});
    cluster.put("discovery.k8s.io/endpointslices/n/s-1", slice).await;
    cluster
        .put(
            "core/services/n/s",
            json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": [{"port": 443}]}}),
        )
        .await;
    cluster.reason("Passed").await;

    let (code, thing) =
        cluster.send("POST", "/apis/ext.io/v1/namespaces/a/things?x=1", "application/json", json!({"a": 1})).await;
    assert_eq!((code, &thing["kind"]), (201, &json!("Thing")));
    assert!(seen.lock().iter().any(|line| line == "/apis/ext.io/v1/namespaces/a/things?x=1 {\"a\":1}"));
    let (_, discovery) = cluster.send("GET", "/apis", aggregated, Value::Null).await;
    assert_eq!(of(&discovery), Some(json!("Current")));
    let (_, groups) = cluster.get("/apis").await;
    assert!(groups["groups"].as_array().expect("groups").iter().any(|group| group["name"] == "ext.io"), "{groups}");
    assert_eq!(cluster.get("/apis/ext.io").await.1["preferredVersion"]["version"], "v1");
    assert_eq!(cluster.get("/apis/ext.io/v1").await.1["resources"][0]["name"], "things");
    let (_, index) = cluster.get("/openapi/v3").await;
    assert_eq!(index["paths"]["apis/ext.io/v1"]["serverRelativeURL"], "/openapi/v3/apis/ext.io/v1?hash=1");
    let (_, document) = cluster.get("/openapi/v2").await;
    assert!(document["paths"]["/apis/ext.io/v1/things"].is_object() && document["definitions"]["Thing"].is_object());

    let (code, _) = cluster
        .send("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1.ext.io", "application/json", Value::Null)
        .await;
    assert_eq!(code, 200);
    assert_eq!(cluster.get("/apis/ext.io").await.0, 404);
    assert_eq!(cluster.get("/apis/ext.io/v1/things").await.0, 404);
    cluster.stop.cancel();
    watching.await.expect("it ends");
}
