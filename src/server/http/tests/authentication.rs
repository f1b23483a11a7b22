//! Who others say asks, and what others allow.

use std::time::Duration;

use jiff::Timestamp;
use mk8s_controllers::{SecretToken, TokenSigner};
use tokio::sync::mpsc;

use super::*;
use crate::{
    auth::{
        AuthorizerOptions,
        oidc::form::{Anonymous, AnonymousCondition},
        tokens::note_uses,
        webhook::{Access, AccessWebhookOptions, Credentials, TIMEOUT, TokenWebhook, TokenWebhookOptions, Version},
    },
    relay::Relay,
    webhook::{Client, Endpoint, tests::Backend},
};

/// A request as it comes from a socket.
async fn ask(api: &Api, method: &str, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let request = request.body(request_body(Full::new(body))).expect("a valid request");
    read(api.router.answer(request).await).await
}

fn access(backend: &Backend) -> Access {
    let endpoint = Endpoint::of_client_config(&backend.client_config("/ask")).expect("a place");
    Access { endpoint, credentials: Credentials::Nothing }
}

/// A webhook that knows `ann` by her name, and lets her read; `get` of Secrets it never answers well.
async fn webhook() -> Backend {
    Backend::start(|_, body| {
        let review: Value = serde_json::from_slice(&body).expect("a review");
        let spec = &review["spec"];
        let status = match spec["token"].as_str() {
            Some("ann") => json!({"authenticated": true, "user": {"username": "ann", "groups": ["dev"]}}),
            Some("down") => return (503, Vec::new()),
            Some(_) => json!({"authenticated": false}),
            None => match (&spec["resourceAttributes"]["resource"], &spec["resourceAttributes"]["verb"]) {
                (Value::String(resource), _) if resource == "secrets" => return (503, Vec::new()),
                (_, Value::String(verb)) if verb == "get" || verb == "list" => {
                    json!({"allowed": true, "reason": "readers read"})
                }
                (Value::String(resource), _) if resource.ends_with("reviews") => json!({"allowed": true}),
                _ => json!({"allowed": false, "reason": "read only"}),
            },
        };
        (200, json!({"status": status}).to_string().into_bytes())
    })
    .await
}

async fn asking(backend: &Backend) -> Api {
    let api = Api::new().await;
    let client = Client::new(api.store.clone(), Relay::default());
    let (cache_ttl, version) = (Duration::from_secs(60), Version::V1);
    let tokens = TokenWebhookOptions { access: access(backend), version, cache_ttl };
    let audiences = vec!["https://kubernetes.default.svc".to_owned()];
    api.router.authentication().ask(TokenWebhook::new(tokens, audiences, client.clone()));
    let webhook = AccessWebhookOptions {
        name: "default".into(),
        access: access(backend),
        version,
        timeout: TIMEOUT,
        authorized_ttl: cache_ttl,
        unauthorized_ttl: cache_ttl,
        denies_on_error: false,
        conditions: Default::default(),
    };
    let authorizers = vec![AuthorizerOptions::Rbac, AuthorizerOptions::Webhook(Box::new(webhook))];
    api.router.authorization().ask(authorizers, &client);
    api
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_know_users_and_allow_what_they_ask() {
    let backend = webhook().await;
    let api = asking(&backend).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let cases = [
        ("GET", CONFIG_MAPS, Some("ann"), 200, ""),
        (
            "DELETE",
            "/api/v1/namespaces/default/configmaps/a",
            Some("ann"),
            403,
            "in the namespace \"default\": read only",
        ),
        (
            "GET",
            secrets,
            Some("ann"),
            500,
            "Internal Server Error: \"/api/v1/namespaces/default/secrets\": the server is currently unable",
        ),
        ("GET", CONFIG_MAPS, Some("bob"), 401, "Unauthorized"),
        ("GET", CONFIG_MAPS, Some("down"), 401, "Unauthorized"),
        ("GET", secrets, Some("secret"), 200, ""),
        ("GET", "/livez", None, 200, ""),
    ];
    for (method, path, token, code, message) in cases {
        let (got, body) = ask(&api, method, path, token, Value::Null).await;
        assert_eq!(got, code, "{method} {path} {token:?}: {body}");
        assert!(body["message"].as_str().unwrap_or_default().contains(message), "{body}");
    }
    let review = |token: &str| json!({"spec": {"token": token}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, known) = ask(&api, "POST", reviews, Some("secret"), review("ann")).await;
    let user = json!({"username": "ann", "groups": ["dev", "system:authenticated"]});
    assert_eq!(known["status"]["user"], user);
    assert_eq!(known["status"]["audiences"], json!(["https://kubernetes.default.svc"]));
    let (_, unknown) = ask(&api, "POST", reviews, Some("secret"), review("bob")).await;
    assert_eq!(unknown["status"].get("authenticated"), None, "{unknown}");
    let may = |verb: &str, resource: &str| {
        let attributes = json!({"verb": verb, "resource": resource, "namespace": "default"});
        json!({"spec": {"resourceAttributes": attributes}})
    };
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (_, yes) = ask(&api, "POST", reviews, Some("ann"), may("get", "pods")).await;
    assert_eq!(yes["status"], json!({"allowed": true, "reason": "readers read"}));
    let (_, unsure) = ask(&api, "POST", reviews, Some("ann"), may("get", "secrets")).await;
    let error = "the server is currently unable to handle the request";
    assert_eq!(unsure["status"], json!({"allowed": false, "evaluationError": error}));
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let (_, rules) = ask(&api, "POST", reviews, Some("ann"), json!({"spec": {"namespace": "default"}})).await;
    let error = "webhook authorizer does not support user rule resolution";
    assert_eq!((&rules["status"]["incomplete"], &rules["status"]["evaluationError"]), (&json!(true), &json!(error)));
    let (_, metrics) = ask(&api, "GET", "/metrics", Some("secret"), Value::Null).await;
    assert!(metrics.as_str().is_some_and(|text| text.contains("apiserver_authorization_webhook_evaluations_total")));
}

#[tokio::test]
async fn anonymous_requests_are_taken_where_that_is_said() {
    let api = Api::new().await;
    let conditions = vec![AnonymousCondition { path: "/livez".into() }, AnonymousCondition { path: "/apis".into() }];
    api.router.authentication().take_anonymous(Anonymous { enabled: true, conditions });
    let cases = [("/livez", 200), ("/livez?verbose", 200), ("/livez/ping", 401), ("/apis", 403), ("/readyz", 401)];
    for (path, code) in cases {
        assert_eq!(ask(&api, "GET", path, None, Value::Null).await.0, code, "{path}");
    }
    assert_eq!(ask(&api, "GET", "/readyz/ping", Some("secret"), Value::Null).await.0, 200);
    let api = Api::new().await;
    api.router.authentication().take_anonymous(Anonymous::everywhere(false));
    assert_eq!(ask(&api, "GET", "/livez", None, Value::Null).await.0, 401);
}

#[tokio::test]
async fn the_token_that_a_secret_holds_is_good_and_its_use_is_noted() {
    let api = Api::new().await;
    let (used, mut told) = mpsc::channel(1);
    api.router.authentication().tell_uses(used);
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let (code, account) = api.post(accounts, json!({"metadata": {"name": "web"}})).await;
    assert_eq!(code, 201, "{account}");
    let uid = account["metadata"]["uid"].as_str().expect("a uid");
    let token = SecretToken { namespace: "default", secret: "key", account: "web", account_uid: uid };
    let token = api.signing_key.sign_secret_token(token).expect("signed");
    let secrets = "/api/v1/namespaces/default/secrets";
    let annotations = json!({"kubernetes.io/service-account.name": "web"});
    let secret = json!({
        "metadata": {"name": "key", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
        "stringData": {"token": token},
    });
    let (code, made) = api.post(secrets, secret).await;
    assert_eq!(code, 201, "{made}");

    let (code, refused) = ask(&api, "GET", CONFIG_MAPS, Some(&token), Value::Null).await;
    let why = "configmaps is forbidden: User \"system:serviceaccount:default:web\" cannot list resource \"configmaps\" in \
               API group \"\" in the namespace \"default\"";
    assert_eq!((code, &refused["message"]), (403, &json!(why)));
    let groups = json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    let user = json!({"username": "system:serviceaccount:default:web", "uid": uid, "groups": groups});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, reviewed) = api.post(reviews, json!({"spec": {"token": token}})).await;
    let audiences = json!(["https://kubernetes.default.svc", "mk8s"]);
    assert_eq!(reviewed["status"], json!({"authenticated": true, "user": user, "audiences": audiences}));

    let (tell, telling) = mpsc::channel(1);
    tell.send(told.recv().await.expect("told")).await.expect("room for one");
    drop(tell);
    note_uses(api.router.client(User::control_plane("test")), telling, CancellationToken::new()).await;
    let (_, noted) = api.get(&format!("{secrets}/key")).await;
    let today = Timestamp::now().to_string()[..10].to_owned();
    assert_eq!(noted["metadata"]["labels"], json!({"kubernetes.io/legacy-token-last-used": today}));

    assert_eq!(api.delete(&format!("{secrets}/key")).await.0, 200);
    assert_eq!(ask(&api, "GET", CONFIG_MAPS, Some(&token), Value::Null).await.0, 401);
    let (_, reviewed) = api.post(reviews, json!({"spec": {"token": token}})).await;
    let why = "invalid bearer token: Token has been invalidated";
    assert_eq!(reviewed["status"], json!({"user": {}, "error": why}));
}
