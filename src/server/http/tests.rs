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

mod access;
mod audit;
mod authentication;
mod bad_input;
mod conversion;
mod custom_resources;
mod encodings;
mod fairness;
mod full_disk;
mod kinds;
mod life;
mod managers;
mod measured;
mod patching;
mod reading;
mod webhooks;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server without sockets, with the namespace `default`.
struct Api {
    router: Router,
    user: Arc<User>,
    store: Store,
    signing_key: Arc<SigningKey>,
}

impl Api {
    async fn new() -> Api {
        Api::over(Store::open(mk8s_store::Options::default()).await.expect("memory opens")).await
    }

    async fn over(store: Store) -> Api {
        let signing_key = Arc::new(SigningKey::generate().expect("a key"));
        let options = ApiOptions {
            signing_key: signing_key.clone(),
            token_issuer: "https://kubernetes.default.svc".into(),
            admin_token: Some("secret".into()),
            join_secret: None,
            services: ServiceRanges::default(),
            seats: 600,
            stop: CancellationToken::new(),
        };
        let (router, user) = (router(&store, options), Arc::new(User::control_plane("admin")));
        let api = Api { router, user, store, signing_key };
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

/// Method, path, headers and body of a request; code and words of its refusal.
type Refusal<'a> = (&'a str, String, Vec<(&'a str, &'a str)>, String, u16, &'a str);
