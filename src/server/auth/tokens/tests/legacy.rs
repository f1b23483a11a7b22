//! Tokens that Secrets hold.

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use mk8s_controllers::{SecretToken, TokenSigner};
use tokio::sync::mpsc;

use super::*;

const TOKEN: SecretToken<'_> = SecretToken { namespace: "shop", secret: "key", account: "web", account_uid: "sa-1" };

fn secret(token: &str) -> Value {
    json!({
        "metadata": {"name": "key", "namespace": "shop", "uid": "secret-1"},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": BASE64_STANDARD.encode(token)},
    })
}

fn account() -> Value {
    json!({"metadata": {"name": "web", "namespace": "shop", "uid": "sa-1"}})
}

async fn fixture_with_secret() -> (Fixture, String) {
    let f = fixture().await;
    let token = f.key.sign_secret_token(TOKEN).expect("signed");
    f.put("secrets/shop/key", secret(&token)).await;
    (f, token)
}

#[tokio::test]
async fn the_claims_are_those_of_kubernetes() {
    let f = fixture().await;
    let token = f.key.sign_secret_token(TOKEN).expect("signed");
    let claims = token.split('.').nth(1).expect("three parts");
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
    let expected = json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/secret.name": "key",
        "kubernetes.io/serviceaccount/service-account.name": "web",
        "kubernetes.io/serviceaccount/service-account.uid": "sa-1",
        "sub": "system:serviceaccount:shop:web",
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn a_secrets_token_names_the_account_for_ever() {
    let (f, token) = fixture_with_secret().await;
    let (user, audiences) = f.reader.read_at(&token, &[], now().as_second() + 20 * 365 * 24 * 3600).expect("good");
    let groups = ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"];
    let expected = User { uid: "sa-1".into(), ..User::new("system:serviceaccount:shop:web", groups) };
    assert_eq!((user.as_ref(), audiences), (&expected, vec![ISSUER.to_string()]));
    let other = ["vault".to_string()];
    let refused = f.reader.read_at(&token, &other, 0).expect_err("it is for the API server only");
    assert!(matches!(refused, TokenError::Audience { .. }), "{refused}");
}

#[tokio::test]
async fn a_secrets_token_is_refused_with_the_reason() {
    let (f, token) = fixture_with_secret().await;
    let with = |mut object: Value, field: &str, value: Value| {
        object["metadata"][field] = value;
        object
    };
    let (secrets, accounts) = ("secrets/shop/key", "serviceaccounts/shop/web");
    let gone = json!("2025-06-15T15:06:40Z");
    let marked = json!({"kubernetes.io/legacy-token-invalid-since": "2025-01-01"});
    let cases = [
        (secrets, with(secret(&token), "deletionTimestamp", gone.clone()), "Token has been invalidated"),
        (secrets, secret("another"), "Token does not match server's copy"),
        (secrets, json!({"metadata": {}}), "Token does not match server's copy"),
        (accounts, with(account(), "deletionTimestamp", gone), "ServiceAccount shop/web has been deleted"),
        (accounts, with(account(), "uid", json!("sa-2")), "ServiceAccount UID (sa-2) does not match claim (sa-1)"),
        (
            secrets,
            with(secret(&token), "labels", marked),
            "the token in secret shop/key for service account shop/web has been marked invalid. Use tokens from the \
             TokenRequest API or manually created secret-based tokens, or remove the \
             'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token",
        ),
    ];
    for (key, object, message) in cases {
        f.put(key, object).await;
        assert_eq!(f.read(&token, 0).map_err(|error| error.to_string()), Err(message.to_string()));
        f.put(secrets, secret(&token)).await;
        f.put(accounts, account()).await;
        f.read(&token, 0).expect("good again");
    }
    f.delete(accounts).await;
    assert_eq!(f.read(&token, 0).expect_err("no account").to_string(), r#"serviceaccounts "web" not found"#);
    f.delete(secrets).await;
    assert_eq!(f.read(&token, 0).expect_err("no secret").to_string(), "Token has been invalidated");
}

#[tokio::test]
async fn claims_must_be_whole() {
    let f = fixture().await;
    let name = |field: &str| format!("kubernetes.io/serviceaccount/{field}");
    let mut claims = json!({"iss": "kubernetes/serviceaccount"});
    let mut refused = |field: String, value: &str| {
        let token = f.key.sign(&claims).expect("signed");
        claims[field] = json!(value);
        f.read(&token, 0).expect_err("something is missing").to_string()
    };
    assert_eq!(refused("sub".into(), "system:serviceaccount:shop:api"), "sub claim is missing");
    assert_eq!(refused(name("namespace"), "shop"), "namespace claim is missing");
    assert_eq!(refused(name("secret.name"), "key"), "secretName claim is missing");
    assert_eq!(refused(name("service-account.name"), "web"), "serviceAccountName claim is missing");
    assert_eq!(refused(name("service-account.uid"), "sa-1"), "serviceAccountUID claim is missing");
    assert_eq!(refused("sub".into(), "system:serviceaccount:shop:web"), "sub claim is invalid");
    assert_eq!(refused("iss".into(), "another"), "Token has been invalidated");
    assert_eq!(refused("iss".into(), ISSUER), "not a token of this cluster");
    assert_eq!(refused("iss".into(), ISSUER), "not a token of this cluster");
}

#[tokio::test]
async fn tokens_of_other_issuers_are_left_to_others() {
    let f = fixture().await;
    let other = SigningKey::generate().expect("a key");
    let cases = [
        ("https://issuer.example.org", TokenError::NotOurs),
        (ISSUER, TokenError::Signature),
        ("kubernetes/serviceaccount", TokenError::Signature),
    ];
    for (issuer, expected) in cases {
        let token = other.sign(&json!({"iss": issuer})).expect("signed");
        assert_eq!(f.read(&token, 0), Err(expected), "{issuer}");
    }
}

#[tokio::test]
async fn uses_are_told_once_a_day() {
    let (f, token) = fixture_with_secret().await;
    let (used, mut told) = mpsc::channel(8);
    f.reader.tell_uses(used);
    let mut days = |at_s: i64| {
        f.read(&token, at_s).expect("good");
        let told = told.try_recv().ok()?;
        assert_eq!((&*told.namespace, &*told.secret, &*told.uid), ("shop", "key", "secret-1"));
        Some(told.today)
    };
    const DAY: i64 = 24 * 3600;
    assert_eq!([days(0), days(1), days(DAY)], [Some("2025-06-15".into()), None, Some("2025-06-16".into())]);
    let mut noted = secret(&token);
    noted["metadata"]["labels"] = json!({"kubernetes.io/legacy-token-last-used": "2025-06-18"});
    f.put("secrets/shop/key", noted).await;
    assert_eq!([days(2 * DAY), days(3 * DAY), days(4 * DAY)], [None, None, Some("2025-06-19".into())]);
}
