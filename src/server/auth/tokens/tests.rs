use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use mk8s_store::{Expect, Op, Options, Stamped, Store, Txn};
use serde_json::{Value, json};

use super::*;
use crate::auth::User;

mod legacy;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

struct Fixture {
    store: Store,
    key: Arc<SigningKey>,
    issuer: TokenIssuer,
    reader: TokenReader,
}

async fn fixture() -> Fixture {
    let store = Store::open(Options::default()).await.expect("a store in memory");
    let key = Arc::new(SigningKey::generate().expect("a key"));
    let audiences = vec![ISSUER.to_string()];
    let fixture = Fixture {
        issuer: TokenIssuer::new(store.clone(), key.clone(), ISSUER, audiences.clone()),
        reader: TokenReader::new(store.clone(), key.clone(), ISSUER, audiences),
        key,
        store,
    };
    fixture
        .put("serviceaccounts/shop/web", json!({"metadata": {"name": "web", "namespace": "shop", "uid": "sa-1"}}))
        .await;
    let pod = json!({"metadata": {"name": "web-0", "namespace": "shop", "uid": "pod-1"}, "spec": {"serviceAccountName": "web", "nodeName": "one"}});
    fixture.put("pods/shop/web-0", pod).await;
    fixture.put("nodes/one", json!({"metadata": {"name": "one", "uid": "node-1"}})).await;
    fixture
}

impl Fixture {
    async fn put(&self, key: &str, object: Value) {
        let key = Bytes::from(format!("/registry/core/{key}"));
        let value = Stamped { bytes: Bytes::from(object.to_string()), stamp_at: None };
        self.store.commit(Txn { ops: vec![Op::Put { key, value, expect: Expect::Any }] }).await.expect("written");
    }

    async fn delete(&self, key: &str) {
        let key = Bytes::from(format!("/registry/core/{key}"));
        self.store.commit(Txn { ops: vec![Op::Delete { key, expect: Expect::Any }] }).await.expect("deleted");
    }

    fn token(&self, spec: Value) -> String {
        let (answer, _) = self.issuer.answer("shop", "web", &json!({"spec": spec}), now()).expect("a token");
        answer["status"]["token"].as_str().expect("text").to_string()
    }

    fn read(&self, token: &str, at_s: i64) -> Result<String, TokenError> {
        self.reader.read_at(token, &[], now().as_second() + at_s).map(|(user, _)| user.name.clone())
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_750_000_000).expect("in range")
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let f = fixture().await;
    let token = f.token(json!({"expirationSeconds": 600}));
    let web = Ok("system:serviceaccount:shop:web".to_string());
    let cases = [
        (0, web.clone()),
        (599, web.clone()),
        (660, web),
        (661, Err(TokenError::Expired)),
        (-61, Err(TokenError::NotYet)),
    ];
    for (at_s, expected) in cases {
        assert_eq!(f.read(&token, at_s), expected, "{at_s}");
    }
}

#[tokio::test]
async fn a_token_dies_with_what_it_is_bound_to() {
    let f = fixture().await;
    let to = |kind: &str, name: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name}});
    let (plain, pod, node) = (f.token(json!({})), f.token(to("Pod", "web-0")), f.token(to("Node", "one")));
    for token in [&plain, &pod, &node] {
        f.read(token, 0).expect("good");
    }
    f.delete("pods/shop/web-0").await;
    assert_eq!(f.read(&pod, 0), Err(TokenError::Invalidated("pod shop/web-0".into())));
    f.read(&plain, 0).expect("not bound to the pod");
    f.put("nodes/one", json!({"metadata": {"name": "one", "uid": "node-2"}})).await;
    assert_eq!(f.read(&node, 0), Err(TokenError::Invalidated("node one".into())));
    f.delete("serviceaccounts/shop/web").await;
    assert_eq!(f.read(&plain, 0), Err(TokenError::Invalidated("service account shop/web".into())));
}

#[tokio::test]
async fn pods_tokens_tell_pod_and_node_and_live_a_year() {
    let f = fixture().await;
    let token = f.token(json!({"expirationSeconds": 3607, "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web-0", "uid": "pod-1"}}));
    let (user, _) = f.reader.read_at(&token, &[], now().as_second() + 300 * 24 * 3600).expect("good for a year");
    let extra = |key: &str| user.extra[&format!("authentication.kubernetes.io/{key}")].concat();
    assert_eq!(
        [extra("pod-name"), extra("pod-uid"), extra("node-name"), extra("node-uid")],
        ["web-0", "pod-1", "one", "node-1"]
    );
    assert!(extra("credential-id").starts_with("JTI="));
    assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]);
}

#[tokio::test]
async fn audiences_are_kept_apart() {
    let f = fixture().await;
    let vault = f.token(json!({"audiences": ["vault"]}));
    assert!(matches!(f.read(&vault, 0), Err(TokenError::Audience { .. })));
    let asked = ["vault".to_string(), "other".to_string()];
    let (_, meant) = f.reader.read_at(&vault, &asked, now().as_second()).expect("meant for vault");
    assert_eq!(meant, ["vault"]);
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_reason() {
    let f = fixture().await;
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}});
    let cases = [
        (json!({"expirationSeconds": 599}), 422, "may not specify a duration less than 10 minutes"),
        (json!({"expirationSeconds": 4_294_967_297_i64}), 422, "may not specify a duration larger than 2^32 seconds"),
        (bound("Pod", "none", ""), 404, r#"pods "none" not found"#),
        (bound("Pod", "web-0", "other"), 409, "does not match the UID in record"),
        (bound("ConfigMap", "x", ""), 400, "cannot bind token to object of type"),
    ];
    for (spec, code, message) in cases {
        let status = f.issuer.answer("shop", "web", &json!({"spec": spec}), now()).expect_err("refused");
        assert_eq!(status.code, code, "{}", status.message);
        assert!(status.message.contains(message), "{}", status.message);
    }
    assert_eq!(f.issuer.answer("shop", "none", &json!({}), now()).expect_err("no account").code, 404);
}

#[test]
fn forged_tokens_are_not_believed() {
    let (key, other) = (SigningKey::generate().expect("key"), SigningKey::generate().expect("key"));
    let claims = Claims {
        aud: vec![ISSUER.into()],
        exp: 10,
        iat: 0,
        iss: ISSUER.into(),
        jti: String::new(),
        kubernetes: KubernetesClaims {
            namespace: "a".into(),
            node: None,
            pod: None,
            secret: None,
            serviceaccount: Bound { name: "b".into(), uid: "c".into() },
            warnafter: None,
        },
        nbf: 0,
        sub: "system:serviceaccount:a:b".into(),
    };
    let token = key.sign(&claims).expect("signed");
    assert_eq!(key.verify(&token), Ok(claims.clone()));
    assert_eq!(key.verify::<Claims>(&other.sign(&claims).expect("signed")), Err(TokenError::Signature));
    for garbage in ["", "a", "a.b", "a.b.c", "....", "é.é.é", &token[..token.len() - 4], &format!("{token}AA")] {
        assert!(key.verify::<Claims>(garbage).is_err(), "{garbage}");
    }
}
