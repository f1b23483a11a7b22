//! A provider with a key of its own, and what its tokens are good for.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mk8s_store::Store;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::*;
use crate::{relay::Relay, webhook::tests::Backend};

const NOW: i64 = 1_000_000;

struct Provider {
    pair: EcdsaKeyPair,
}

impl Provider {
    fn new() -> Provider {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).expect("a key");
        Provider { pair }
    }

    fn jwks(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |from: usize| BASE64_URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
        json!({"keys": [
            {"kty": "oct", "k": "AAAA"},
            {"kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "alg": "ES256", "x": part(1), "y": part(33)},
        ]})
    }

    fn token(&self, header: Value, claims: Value) -> String {
        let encode = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn options(issuer: &str) -> OidcOptions {
    OidcOptions {
        issuer_url: issuer.to_owned(),
        client_id: "cluster".to_owned(),
        username_claim: "email".to_owned(),
        username_prefix: "oidc:".to_owned(),
        groups_claim: Some("groups".to_owned()),
        groups_prefix: "g:".to_owned(),
        required_claims: vec![("tenant".to_owned(), "t".to_owned())],
        signing_algs: vec!["ES256".to_owned()],
        ca_bundle: Vec::new(),
    }
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"iss": "https://issuer", "aud": ["other", "cluster"], "exp": NOW + 60, "email": "ann@x",
        "email_verified": true, "tenant": "t", "groups": ["a", "b"]});
    for (claim, value) in more.as_object().into_iter().flatten() {
        claims[claim] = value.clone();
    }
    claims
}

#[test]
fn tokens_are_checked() {
    let (provider, stranger) = (Provider::new(), Provider::new());
    let oidc = Oidc::new(options("https://issuer"));
    let header = json!({"alg": "ES256", "kid": "k"});
    let good = provider.token(header.clone(), claims(json!({})));
    assert_eq!(oidc.read_at(&good, NOW).expect("ours").expect_err("no keys"), OidcError::NoKeys);
    oidc.keys.store(Some(Arc::new(Keys::read(provider.jwks().to_string().as_bytes()).expect("keys"))));
    let user = oidc.read_at(&good, NOW).expect("ours").expect("good");
    assert_eq!((user.name.as_str(), user.groups.join(" ").as_str()), ("oidc:ann@x", "g:a g:b system:authenticated"));
    let cases = [
        (stranger.token(header.clone(), claims(json!({}))), OidcError::Signature),
        (provider.token(json!({"alg": "ES256", "kid": "other"}), claims(json!({}))), OidcError::UnknownKey),
        (provider.token(json!({"alg": "none"}), claims(json!({}))), OidcError::Algorithm("none".into())),
        (provider.token(header.clone(), claims(json!({"exp": NOW}))), OidcError::Expired),
        (
            provider.token(header.clone(), claims(json!({"aud": "other"}))),
            OidcError::Claim("aud", "does not name this cluster's client id"),
        ),
        (provider.token(header.clone(), claims(json!({"tenant": "u"}))), OidcError::Required("tenant".into())),
        (provider.token(header.clone(), claims(json!({"email": null}))), OidcError::Required("email".into())),
        (
            provider.token(header.clone(), claims(json!({"email_verified": false}))),
            OidcError::Claim("email", "is not verified"),
        ),
    ];
    for (token, expected) in cases {
        assert_eq!(oidc.read_at(&token, NOW).expect("ours").expect_err("refused"), expected);
    }
    for other in ["", "a.b", "a.b.c", &provider.token(header, claims(json!({"iss": "https://other"})))] {
        assert!(oidc.read_at(other, NOW).is_none(), "{other}");
    }
}

#[tokio::test]
async fn keys_are_fetched() {
    let provider = Provider::new();
    let jwks = provider.jwks();
    let itself = Arc::new(parking_lot::Mutex::new(String::new()));
    let told = itself.clone();
    let backend = Backend::start(move |path, _| {
        let issuer = told.lock().clone();
        match path {
            "/.well-known/openid-configuration" => {
                (200, json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string().into_bytes())
            }
            "/keys" => (200, jwks.to_string().into_bytes()),
            _ => (404, Vec::new()),
        }
    })
    .await;
    let issuer = format!("https://{}", backend.address);
    let client =
        Client::new(Store::open(mk8s_store::Options::default()).await.expect("memory opens"), Relay::default());
    let ca_bundle = base64::prelude::BASE64_STANDARD.decode(&backend.ca_bundle).expect("a bundle");
    let oidc = Oidc::new(OidcOptions { ca_bundle, ..options(&issuer) });
    *itself.lock() = "https://another".to_owned();
    assert_eq!(oidc.fetch(&client).await, Err(OidcError::Issuer("https://another".into())));
    itself.lock().clone_from(&issuer);
    oidc.fetch(&client).await.expect("fetched");
    let token = provider.token(json!({"alg": "ES256"}), claims(json!({"iss": issuer})));
    assert_eq!(oidc.read_at(&token, NOW).expect("ours").expect("good").name, "oidc:ann@x");
}
