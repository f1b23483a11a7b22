//! Tokens of other issuers, the file that says who they are, and kubeconfigs of webhooks.

use std::path::Path;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mk8s_server::auth::{
    OidcOptions, Providers, authorizers,
    oidc::{ALGORITHMS, AuthenticationConfiguration, Read},
    webhook::Access,
};

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::Feed;
use crate::mutate;

const CONFIGURATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: 'https://a.b/c', discoveryURL: 'https://d', audiences: [e, f], audienceMatchPolicy: MatchAny}
  claimValidationRules:
  - {claim: g, requiredValue: h}
  - {expression: 'claims.exp - claims.iat < 86400.0', message: too long}
  claimMappings:
    username: {expression: '"x:" + claims.email + (claims.?email_verified.orValue(true) ? "" : "?")'}
    groups: {claim: groups, prefix: 'g:'}
    uid: {claim: sub}
    extra: [{key: 'example.org/i', valueExpression: 'claims.groups.map(g, g)'}]
  userValidationRules: [{expression: '!user.username.startsWith("system:")', message: reserved}]
anonymous: {enabled: true, conditions: [{path: /livez}]}
"#;

const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: 'https://a:1/b?c', certificate-authority-data: YQ==}}]
users: [{name: u, user: {token: t, username: v, password: w}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
";

const AUTHORIZATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: Node, name: node}
- type: Webhook
  name: hook
  webhook:
    timeout: 3.5s
    authorizedTTL: 1h5m
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /nowhere}
    matchConditions: [{expression: 'has(request.resourceAttributes)'}]
";

/// Whatever the file says, it is refused or obeyed.
pub(super) fn issuers() -> Feed {
    let (configurations, kubeconfigs) = (vec![CONFIGURATION.into()], vec![KUBECONFIG.into()]);
    let authorizations = vec![AUTHORIZATION.into()];
    Box::new(move |dice| {
        if let Ok(configuration) = AuthenticationConfiguration::read(&mutate::text(dice, &configurations)) {
            let options = OidcOptions { configuration, ..OidcOptions::default() };
            assert_eq!(options.check().is_ok(), Providers::new(&options, "server").is_ok());
        }
        drop(Access::parse(&mutate::text(dice, &kubeconfigs), Path::new("/nowhere")));
        drop(authorizers::read(&mutate::text(dice, &authorizations)));
    })
}

/// Without keys no token is good.
pub(super) fn id_tokens() -> Feed {
    let configuration = AuthenticationConfiguration::read(CONFIGURATION).expect("it is one");
    let options =
        OidcOptions { configuration, signing_algs: ALGORITHMS.map(Into::into).to_vec(), ..Default::default() };
    let providers = Providers::new(&options, "server").expect("it is good");
    // {"alg":"RS256","kid":"k"} and {"iss":"https://a.b/c","aud":"e","exp":1}
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2EuYi9jIiwiYXVkIjoiZSIsImV4cCI6MX0.AAAA";
    let tokens = vec![token.into()];
    Box::new(move |dice| {
        let token = mutate::text(dice, &tokens);
        assert!(providers.read(&token).is_none_or(|read| read.is_err()), "{token:?}");
    })
}

const ISSUER: &str = "https://a.b/c";

/// Tokens with good signatures, whatever they claim: those who are let in have a name, and time left.
pub(super) fn claims() -> Feed {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("there is chance");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).expect("it was made");
    let point = pair.public_key().as_ref().to_vec();
    let part = |from: usize| BASE64_URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
    let key_set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": part(1), "y": part(33)}]});
    let configuration = AuthenticationConfiguration::read(CONFIGURATION).expect("it is one");
    let options =
        OidcOptions { configuration, signing_algs: ALGORITHMS.map(Into::into).to_vec(), ..Default::default() };
    let providers = Providers::new(&options, "server").expect("it is good");
    assert_eq!(providers.show(ISSUER, key_set.to_string().as_bytes()), Ok(true));
    let corpus: Vec<Value> = vec![
        json!({"iss": ISSUER, "aud": "e", "exp": 4_000_000_000_u64, "iat": 3_999_999_000_u64, "email": "ann", "g": "h",
            "email_verified": true, "groups": ["x", "y"], "sub": "7", "jti": "j", "nbf": 1}),
        json!({"iss": ISSUER, "aud": ["z", "f"], "exp": 4e9, "iat": 3.9e9, "email": "", "g": ["h"], "groups": "x",
            "_claim_names": {"groups": "s"}, "_claim_sources": {"s": {"endpoint": "https://d/e", "access_token": "t"}}}),
    ];
    Box::new(move |dice| {
        let claims = mutate::value(dice, &corpus);
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(r#"{"alg":"ES256","kid":"k"}"#), encode(&claims.to_string()));
        let signature = pair.sign(&random, signed.as_bytes()).expect("it can sign");
        let token = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
        if let Some(Ok(Read::User(user))) = providers.read(&token) {
            assert!(!user.name.is_empty(), "{claims}");
            assert!(claims["exp"].as_f64().is_some_and(|expiry| expiry > 1.7e9), "{claims}");
            assert!(!user.name.starts_with("system:"), "{claims}");
        }
    })
}
