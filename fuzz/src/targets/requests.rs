//! Whole requests to the API in this process: every one is answered, no handler panics, and what is stored can be listed.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use mk8s_api::{kinds, meta};
use mk8s_server::{
    assemble::{ApiOptions, router},
    auth::{User, tokens::SigningKey},
    http::{Router, body::request_body, router::Caller},
    registry::ServiceRanges,
};
use mk8s_store::Store;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::Feed;
use crate::{
    corpus,
    mutate::{self, Dice},
};

const TYPES: [&str; 8] = [
    "application/json",
    "application/yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "text/plain",
];

const QUERIES: [&str; 12] = [
    "",
    "",
    "fieldValidation=Strict",
    "dryRun=All",
    "fieldManager=m",
    "fieldManager=n&force=true",
    "limit=2",
    "labelSelector=a%3Db&fieldSelector=metadata.name%3Da",
    "propagationPolicy=Foreground&gracePeriodSeconds=0",
    "watch=1&timeoutSeconds=0",
    "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
    "resourceVersion=1&resourceVersionMatch=Exact",
];

/// Refusals that are Kubernetes' own 500.
const EXPECTED: [&str; 3] =
    ["resourceVersion should not be set", "error dialing backend", "failed to create typed patch object"];

struct Api {
    runtime: Runtime,
    router: Router,
    user: Arc<User>,
}

async fn start() -> Router {
    let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
    let options = ApiOptions {
        signing_key: Arc::new(SigningKey::generate().expect("a key")),
        token_issuer: "https://kubernetes.default.svc".into(),
        admin_token: Some("secret".into()),
        join_secret: None,
        services: ServiceRanges::default(),
        seats: 600,
        stop: CancellationToken::new(),
    };
    router(&store, options)
}

pub(super) fn requests() -> Feed {
    // Some requests wait for a while (a service account that is about to come); here nothing is worth a wait.
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime can be made");
    let mut api = Api { router: runtime.block_on(start()), runtime, user: Arc::new(User::control_plane("fuzz")) };
    api.fill();
    let mut sent = 0_u32;
    Box::new(move |dice| {
        sent += 1;
        // A store that grows without end makes every list slower.
        if sent.is_multiple_of(20_000) {
            api.router = api.runtime.block_on(start());
            api.fill();
        }
        api.request(dice);
    })
}

impl Api {
    /// What most objects need.
    fn fill(&self) {
        let namespace = json!({"metadata": {"name": "default"}}).to_string();
        self.send("POST", "/api/v1/namespaces", &[], namespace.into());
        let account = json!({"metadata": {"name": "default"}}).to_string();
        self.send("POST", "/api/v1/namespaces/default/serviceaccounts", &[], account.into());
    }

    fn request(&self, dice: &mut Dice) {
        let object = mutate::value(dice, &corpus::OBJECTS);
        let path = path_of(dice, &object);
        let method = *dice.pick(&["POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "GET"]);
        let content_type = match method {
            "PATCH" => *dice.pick(&TYPES[2..6]),
            _ if dice.one_in(8) => *dice.pick(&TYPES),
            _ => TYPES[0],
        };
        let accept = *dice.pick(&[
            "application/json",
            "application/json;as=Table;v=v1;g=meta.k8s.io",
            "application/yaml",
            "*/*",
        ]);
        let mut body = object.to_string().into_bytes();
        if dice.one_in(10) {
            body = mutate::bytes(dice, &[body]);
        }
        self.send(method, &path, &[("content-type", content_type), ("accept", accept)], body);
        if dice.one_in(20) {
            let (collection, _) = path.rsplit_once('/').unwrap_or((&path, ""));
            self.send("GET", collection, &[("accept", accept)], Vec::new());
        }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) {
        let Ok(uri) = path.parse::<Uri>() else { return };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(mut request) = request.body(request_body(Full::new(Bytes::from(body)))) else { return };
        request.extensions_mut().insert(Caller(self.user.clone()));
        let (code, answer) = self.runtime.block_on(async {
            let response = self.router.answer(request).await;
            let code = response.status().as_u16();
            let answer = response.into_body().collect().await.map(|body| body.to_bytes());
            (code, answer.expect("a body from memory does not break off"))
        });
        let told = || String::from_utf8_lossy(&answer[..answer.len().min(600)]).into_owned();
        assert!(!told().contains("caused apiserver to panic"), "{method} {path}: {}", told());
        let expected = EXPECTED.iter().any(|words| told().contains(words));
        assert!(code != 500 || expected, "{method} {path} {headers:?}: {}", told());
        if code >= 400 && answer.starts_with(b"{") {
            let status: Value = serde_json::from_slice(&answer).expect("a Status is JSON");
            assert_eq!(
                (&status["kind"], &status["code"]),
                (&json!("Status"), &json!(code)),
                "{method} {path}: {}",
                told()
            );
        }
    }
}

/// Where the object would live, or some other path.
fn path_of(dice: &mut Dice, object: &Value) -> String {
    let (group, version) = kinds::split_api_version(meta::api_version(object));
    let known = kinds::find_kind(group, version, meta::kind(object));
    let kind = known.unwrap_or_else(|| dice.pick(kinds::builtin()));
    let root = if kind.group.is_empty() { "/api".to_string() } else { format!("/apis/{}", kind.group) };
    let namespace = if kind.namespaced { "/namespaces/default" } else { "" };
    let mut path = format!("{root}/{}{namespace}/{}", kind.version, kind.plural);
    if !dice.one_in(3) {
        let name = *dice.pick(&["a", "web", "h", "e", "default", "%2e", "x%00"]);
        path = format!("{path}/{name}");
        if !kind.subresources.is_empty() && dice.one_in(3) {
            path = format!("{path}/{}", dice.pick(&kind.subresources).name);
        }
    }
    let query = *dice.pick(&QUERIES);
    if query.is_empty() { path } else { format!("{path}?{query}") }
}
