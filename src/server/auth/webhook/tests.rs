//! Webhooks that answer, that do not, and how often they are asked.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use mk8s_store::Store;
use serde_json::{Value, json};

use super::*;
use crate::{
    auth::{Attributes, Authorization, Authorizer, AuthorizerOptions, Decision, User, Verdict},
    relay::Relay,
    webhook::{Endpoint, Place, tests::Backend},
};

fn access(backend: &Backend) -> Access {
    let place = Place::Url(format!("https://localhost:{}/ask?x=y", backend.address.port()));
    let ca_bundle = BASE64_STANDARD.decode(&backend.ca_bundle).expect("base64");
    let endpoint = Endpoint { place, ca_bundle, insecure: false, identity: None };
    Access { endpoint, credentials: Credentials::Header(HeaderValue::from_static("Bearer mine")) }
}

async fn client() -> (Store, Client) {
    let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
    (store.clone(), Client::new(store, Relay::default()))
}

const TTL: Duration = Duration::from_secs(60);

fn tokens(backend: &Backend, client: Client, version: Version) -> TokenWebhook {
    let options = TokenWebhookOptions { access: access(backend), version, cache_ttl: TTL };
    TokenWebhook::new(options, vec!["api".into()], client)
}

#[tokio::test]
async fn tokens_are_asked_about_once_while_the_answer_counts() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let backend = Backend::start_with(move |head, body| {
        assert_eq!(head.uri.to_string(), "/ask?x=y");
        assert_eq!(head.headers["authorization"], "Bearer mine");
        counted.fetch_add(1, Relaxed);
        let review: Value = serde_json::from_slice(&body).expect("a review");
        assert_eq!(
            (&review["kind"], &review["apiVersion"]),
            (&json!("TokenReview"), &json!("authentication.k8s.io/v1"))
        );
        let user = json!({"username": "ann", "uid": "7", "groups": ["dev"], "extra": {"a": ["b"]}});
        let status = match review["spec"]["token"].as_str().expect("a token") {
            "good" => json!({"authenticated": true, "user": user}),
            "bare" => json!({"authenticated": true, "user": {"username": "bob", "groups": null, "extra": null}}),
            "nameless" => json!({"authenticated": true, "user": {}}),
            "elsewhere" => json!({"authenticated": true, "user": user, "audiences": ["other"]}),
            "broken" => return (400, b"?".to_vec()),
            "odd" => return (200, b"[]]".to_vec()),
            "other" => return (200, json!({"kind": "Pod", "apiVersion": "v1"}).to_string().into_bytes()),
            "list" => json!([1]),
            "angry" => json!({"authenticated": false, "error": "go away"}),
            _ => json!({}),
        };
        (200, json!({"status": status}).to_string().into_bytes())
    })
    .await;
    let (_store, client) = client().await;
    let webhook = tokens(&backend, client, Version::V1);
    for _ in 0..3 {
        let (user, audiences) = webhook.read("good", &[]).await.expect("it is known");
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("ann", "7"));
        assert_eq!(user.groups, ["dev", "system:authenticated"]);
        assert_eq!((user.extra["a"].as_slice(), audiences), (["b".to_owned()].as_slice(), vec!["api".to_owned()]));
        assert_eq!(webhook.read("bad", &[]).await, Err(Unknown::Nobody));
    }
    assert_eq!(asked.load(Relaxed), 2, "both answers count");
    assert_eq!(webhook.read("bare", &[]).await.expect("it is known").0.groups, ["system:authenticated"]);
    let cases = [
        ("nameless", "the webhook knows the token, and names no user"),
        ("elsewhere", "the webhook does not know the token"),
        ("broken", "the server rejected our request for an unknown reason"),
        ("odd", "the webhook's answer cannot be read: trailing characters"),
        ("other", "it is a \"Pod\" of \"v1\", and should be a TokenReview of authentication.k8s.io/v1"),
        ("list", "the webhook's answer cannot be read: "),
        ("angry", "go away"),
    ];
    for (token, expected) in cases {
        let why = webhook.read(token, &[]).await.expect_err(token).to_string();
        assert!(why.contains(expected), "{token}: {why}");
    }
    let before = asked.load(Relaxed);
    assert_eq!(webhook.read("angry", &[]).await, Err(Unknown::Said("go away".into())));
    assert_eq!(asked.load(Relaxed), before + 1, "errors are not kept");
    assert!(webhook.read("elsewhere", &["other".into()]).await.is_ok());
    let text = webhook.metrics_text();
    for line in [
        "apiserver_delegated_authn_request_total{code=\"400\"} 1",
        "apiserver_delegated_authn_request_duration_seconds_count{code=\"400\"} 1",
        "authentication_token_cache_request_total{status=\"hit\"} 4",
        "authentication_token_cache_fetch_total{status=\"error\"} 7",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    drop(backend);
    assert!(webhook.read("good", &[]).await.is_ok(), "the answer still counts");
    let why = webhook.read("new", &[]).await.expect_err("nobody answers").to_string();
    assert!(why.ends_with("connect: connection refused") || why.ends_with("EOF"), "{why}");
}

#[tokio::test]
async fn those_who_ask_the_same_at_once_wait_for_one_answer() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let backend = Backend::start(move |_, body| {
        counted.fetch_add(1, Relaxed);
        let review: Value = serde_json::from_slice(&body).expect("a review");
        assert_eq!(review["apiVersion"], "authentication.k8s.io/v1beta1");
        let status = json!({"authenticated": true, "user": {"username": "ann"}});
        let review = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1beta1", "status": status});
        (200, review.to_string().into_bytes())
    })
    .await;
    let (_store, client) = client().await;
    let webhook = tokens(&backend, client, Version::V1beta1);
    let read = (0..20).map(|_| webhook.read("good", &[]));
    for read in futures::future::join_all(read).await {
        assert_eq!(read.expect("it is known").0.name, "ann");
    }
    assert_eq!(asked.load(Relaxed), 1);
}

#[tokio::test]
async fn who_is_overloaded_is_asked_again() {
    // What comes of which answers, and how often it was asked.
    let cases: [(&[u16], bool, usize); 6] = [
        (&[500, 429, 504, 200], true, 4),
        (&[502, 200], true, 2),
        (&[503, 200], false, 1),
        (&[401, 200], false, 1),
        (&[500, 500, 500, 500, 500, 200], false, 5),
        (&[200], true, 1),
    ];
    for (codes, good, times) in cases {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let status = json!({"status": {"authenticated": true, "user": {"username": "ann"}}}).to_string();
        let backend = Backend::start(move |_, _| {
            let code = codes[counted.fetch_add(1, Relaxed)];
            (code, if code == 200 { status.clone().into_bytes() } else { b"busy".to_vec() })
        })
        .await;
        let (_store, client) = client().await;
        let mut remote = Remote::new(client, access(&backend), "TokenReview", Version::V1, TIMEOUT);
        remote.pause = Duration::from_micros(1);
        let answer = remote.ask::<Value>(&json!({}), |_, _| {}).await;
        assert_eq!((answer.is_ok(), asked.load(Relaxed)), (good, times), "{codes:?}");
    }
}

fn authorizers(backend: &Backend, more: impl Fn(&mut AccessWebhookOptions)) -> Vec<AuthorizerOptions> {
    let mut options = AccessWebhookOptions {
        name: "default".into(),
        access: access(backend),
        version: Version::V1,
        timeout: TIMEOUT,
        authorized_ttl: TTL,
        unauthorized_ttl: TTL,
        denies_on_error: false,
        conditions: Default::default(),
    };
    more(&mut options);
    [AuthorizerOptions::usual(), vec![AuthorizerOptions::Webhook(Box::new(options))]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_here_allows_the_webhook_is_asked_about() {
    let backend = Backend::start(|_, body| {
        let review: Value = serde_json::from_slice(&body).expect("a review");
        let spec = &review["spec"];
        assert_eq!(review["kind"], "SubjectAccessReview");
        let status = match (spec["user"].as_str(), spec["resourceAttributes"]["verb"].as_str()) {
            (Some("ann"), Some("list")) => json!({"allowed": true, "reason": "of course"}),
            (Some("ann"), Some("watch")) => json!({"allowed": false, "reason": "not today"}),
            (Some("ann"), Some("delete")) => json!({"allowed": true, "denied": true, "reason": "never"}),
            (Some("ann"), Some("get")) => return (503, Vec::new()),
            (Some("ann"), None) => {
                json!({"allowed": spec["nonResourceAttributes"] == json!({"path": "/x", "verb": "get"})})
            }
            _ => panic!("{spec}"),
        };
        (200, json!({"status": status}).to_string().into_bytes())
    })
    .await;
    let (store, client) = client().await;
    let authorization = Authorization::new(store);
    let (ann, admin) = (User::new("ann", ["dev"]), User::control_plane("system:admin"));
    let pods = |user, verb| {
        let pods = Attributes::for_resource(user, verb, "", "pods");
        Attributes { namespace: "n", path: "/api/v1/namespaces/n/pods", ..pods }
    };
    assert_eq!(authorization.authorize(&pods(&ann, "list")), Decision::NoOpinion(String::new()));
    authorization.ask(authorizers(&backend, |_| {}), &client);
    assert_eq!(authorization.authorize(&pods(&admin, "list")), Decision::Allow, "who is not asked about");
    let plain = Verdict::from;
    let both = "webhook subject access review returned both allow and deny response";
    let busy = "the server is currently unable to handle the request";
    let cases = [
        (pods(&ann, "list"), Verdict { reason: "of course".into(), ..plain(Decision::Allow) }),
        (pods(&ann, "watch"), plain(Decision::NoOpinion("not today".into()))),
        (pods(&ann, "delete"), Verdict { error: Some(both.into()), ..plain(Decision::Deny("never".into())) }),
        (pods(&ann, "get"), Verdict { error: Some(busy.into()), ..plain(Decision::NoOpinion(String::new())) }),
        (Attributes::for_path(&ann, "get", "/x"), plain(Decision::Allow)),
        (Attributes::for_path(&ann, "get", "/y"), plain(Decision::NoOpinion(String::new()))),
    ];
    for (attributes, expected) in &cases {
        assert_eq!(authorization.decide(attributes).await, *expected, "{attributes:?}");
        assert_eq!(authorization.judge(attributes), *expected, "{attributes:?}");
    }
    let refused = |verb| {
        let pods = pods(&ann, verb);
        let status = authorization.judge(&pods).permit(&pods).expect_err("it is refused");
        (status.code, status.message)
    };
    assert_eq!(refused("get"), (500, format!("Internal Server Error: \"/api/v1/namespaces/n/pods\": {busy}")));
    let (code, message) = refused("watch");
    assert_eq!(code, 403);
    assert!(message.ends_with("in the namespace \"n\": not today"), "{message}");
    assert_eq!(authorization.reason(&pods(&ann, "list"), &authorization.judge(&pods(&ann, "list"))), "of course");
    let rules = authorization.rules_of(&ann, "n");
    let error = rules.error.as_deref();
    assert_eq!((rules.incomplete, error), (true, Some("webhook authorizer does not support user rule resolution")));
    let text = authorization.metrics_text();
    for line in [
        "apiserver_authorization_webhook_evaluations_total{name=\"default\",result=\"error\"} 3",
        "apiserver_authorization_webhook_evaluations_total{name=\"default\",result=\"success\"} 5",
        "apiserver_authorization_webhook_evaluations_fail_open_total{name=\"default\",result=\"error\"} 3",
        "apiserver_authorization_decisions_total{type=\"Webhook\",name=\"default\",decision=\"allowed\"} 5",
        "apiserver_authorization_decisions_total{type=\"Webhook\",name=\"default\",decision=\"denied\"} 2",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    authorization.ask(authorizers(&backend, |webhook| webhook.denies_on_error = true), &client);
    assert_eq!(authorization.judge(&pods(&ann, "get")).decision, Decision::Deny(String::new()));
    authorization.ask(vec![AuthorizerOptions::AlwaysDeny], &client);
    assert_eq!(
        authorization.judge(&pods(&ann, "list")).decision,
        Decision::NoOpinion("Everything is forbidden.".into())
    );
    authorization.ask(vec![AuthorizerOptions::AlwaysAllow], &client);
    assert_eq!(authorization.judge(&pods(&ann, "get")).decision, Decision::Allow);
    assert!(authorization.rules_of(&ann, "n").all);
}

#[tokio::test]
async fn what_is_asked_is_said_as_kubernetes_says_it() {
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let told = seen.clone();
    let backend = Backend::start(move |_, body| {
        let review: Value = serde_json::from_slice(&body).expect("a review");
        told.lock().push(format!("{} {}", review["apiVersion"], review["spec"]));
        (200, json!({"status": {"allowed": true}}).to_string().into_bytes())
    })
    .await;
    let (store, client) = client().await;
    let authorization = Authorization::new(store);
    let mut ann = User::new("ann", ["dev"]);
    ann.extra.insert("k".into(), vec!["v".into()]);
    let pods = Attributes {
        version: "v1",
        namespace: "n",
        field_selector: Some("spec.nodeName=a,metadata.name!=b"),
        label_selector: Some("x in (a,b),y,!z,w!=1,v>2"),
        ..Attributes::for_resource(&ann, "list", "", "pods")
    };
    let exec = Attributes { namespace: "n", name: "p", subresource: "exec", ..pods };
    let exec = Attributes { field_selector: Some("?"), label_selector: None, ..exec };
    for version in [Version::V1, Version::V1beta1] {
        // Never kept, so each is asked about.
        let more = |webhook: &mut AccessWebhookOptions| {
            (webhook.version, webhook.authorized_ttl) = (version, Duration::ZERO);
        };
        authorization.ask(authorizers(&backend, more), &client);
        assert_eq!(authorization.decide(&pods).await.decision, Decision::Allow);
    }
    assert_eq!(authorization.decide(&exec).await.decision, Decision::Allow);
    assert_eq!(authorization.decide(&exec).await.decision, Decision::Allow);
    expect_test::expect![[r#"
        "authorization.k8s.io/v1" {"extra":{"k":["v"]},"groups":["dev"],"resourceAttributes":{"fieldSelector":{"requirements":[{"key":"metadata.name","operator":"NotIn","values":["b"]},{"key":"spec.nodeName","operator":"In","values":["a"]}]},"labelSelector":{"requirements":[{"key":"w","operator":"NotIn","values":["1"]},{"key":"x","operator":"In","values":["a","b"]},{"key":"y","operator":"Exists"},{"key":"z","operator":"DoesNotExist"}]},"namespace":"n","resource":"pods","verb":"list","version":"v1"},"user":"ann"}
        "authorization.k8s.io/v1beta1" {"extra":{"k":["v"]},"group":["dev"],"resourceAttributes":{"fieldSelector":{"requirements":[{"key":"metadata.name","operator":"NotIn","values":["b"]},{"key":"spec.nodeName","operator":"In","values":["a"]}]},"labelSelector":{"requirements":[{"key":"w","operator":"NotIn","values":["1"]},{"key":"x","operator":"In","values":["a","b"]},{"key":"y","operator":"Exists"},{"key":"z","operator":"DoesNotExist"}]},"namespace":"n","resource":"pods","verb":"list","version":"v1"},"user":"ann"}
        "authorization.k8s.io/v1beta1" {"extra":{"k":["v"]},"group":["dev"],"resourceAttributes":{"name":"p","namespace":"n","resource":"pods","subresource":"exec","verb":"list","version":"v1"},"user":"ann"}
        "authorization.k8s.io/v1beta1" {"extra":{"k":["v"]},"group":["dev"],"resourceAttributes":{"name":"p","namespace":"n","resource":"pods","subresource":"exec","verb":"list","version":"v1"},"user":"ann"}"#]].assert_eq(&seen.lock().join("\n"));
}
