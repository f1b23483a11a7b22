//! Providers with keys of their own, and what their tokens are good for.

mod configurations;
mod distributed;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mk8s_store::Store;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::{follow::Followed, follow::renew, *};
use crate::{
    relay::Relay,
    webhook::{Client, tests::Backend},
};

const NOW: i64 = 1_000_000;

/// Somebody with a key.
struct Signer {
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new() -> Signer {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).expect("a key");
        Signer { pair }
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

    fn es256(&self, claims: Value) -> String {
        self.token(json!({"alg": "ES256", "kid": "k"}), claims)
    }
}

/// A configuration of one issuer that has what `more` says, beside what is needed.
fn configuration(issuer: &str, more: &str) -> String {
    let mappings = if more.contains("claimMappings") {
        ""
    } else {
        "  claimMappings: {username: {claim: email, prefix: 'oidc:'}, groups: {claim: groups, prefix: 'g:'}}\n"
    };
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n\
         - issuer: {{url: '{issuer}', audiences: [cluster, more], audienceMatchPolicy: MatchAny}}\n{mappings}{more}"
    )
}

fn options(text: &str) -> OidcOptions {
    let configuration = AuthenticationConfiguration::read(text).expect(text);
    OidcOptions {
        configuration,
        signing_algs: vec!["ES256".to_owned()],
        file: None,
        taken: vec!["https://own".to_owned()],
    }
}

/// Providers that all have the signer's keys.
fn providers(text: &str, signer: &Signer) -> Providers {
    let providers = Providers::new(&options(text), "server").expect(text);
    for provider in &providers.current.load().providers {
        providers.show(provider.url(), signer.jwks().to_string().as_bytes()).expect("keys");
    }
    providers
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"iss": "https://issuer", "aud": ["other", "cluster"], "exp": NOW + 60, "email": "ann@x",
        "email_verified": true, "tenant": "t", "groups": ["a", "b"], "sub": "7", "jti": "j", "level": 3,
        "kubernetes.io": {"team": "ops", "roles": [{"role-name": "r"}]}});
    for (claim, value) in more.as_object().into_iter().flatten() {
        claims[claim] = value.clone();
    }
    claims
}

fn read(providers: &Providers, token: &str) -> Result<Arc<User>, String> {
    match providers.read_at(token, NOW).expect("it is one of theirs") {
        Ok(Read::User(user)) => Ok(user),
        Ok(Read::Elsewhere) => Err("elsewhere".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn tokens_are_checked() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let required = "  claimValidationRules: [{claim: tenant, requiredValue: t}]\n";
    let keyless = Providers::new(&options(&configuration("https://issuer", required)), "server").expect("good");
    let header = json!({"alg": "ES256", "kid": "k"});
    let good = signer.es256(claims(json!({})));
    assert_eq!(read(&keyless, &good), Err("the provider's keys are not there yet".into()));
    let providers = providers(&configuration("https://issuer", required), &signer);
    let user = read(&providers, &good).expect("good");
    assert_eq!((user.name.as_str(), user.groups.join(" ").as_str()), ("oidc:ann@x", "g:a g:b system:authenticated"));
    assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=j"]);
    let cases = [
        (stranger.es256(claims(json!({}))), "the signature does not fit"),
        (signer.token(json!({"alg": "ES256", "kid": "o"}), claims(json!({}))), "a key that the provider does not show"),
        (signer.token(json!({"alg": "none"}), claims(json!({}))), "the signing algorithm \"none\" is not allowed"),
        (signer.es256(claims(json!({"exp": NOW}))), "the token has expired"),
        (signer.es256(claims(json!({"exp": null}))), "the claim \"exp\" is missing"),
        (signer.es256(claims(json!({"nbf": NOW + 301}))), "the claim \"nbf\" lies in the future"),
        (signer.es256(claims(json!({"aud": "other"}))), "expected audience in [\"cluster\", \"more\"] got [\"other\"]"),
        (signer.es256(claims(json!({"tenant": "u"}))), "required claim tenant value does not match. Got = u, want = t"),
        (signer.es256(claims(json!({"tenant": 1}))), "the claim \"tenant\" is no text"),
        (signer.es256(claims(json!({"email": null}))), "the claim \"email\" is no text"),
        (signer.es256(claims(json!({"email": ""}))), "the claim \"email\" is empty"),
        (signer.es256(claims(json!({"email_verified": false}))), "the claim \"email\" is not verified"),
        (signer.es256(claims(json!({"groups": [1]}))), "is neither a text nor a list of texts"),
    ];
    for (token, expected) in cases {
        let why = read(&providers, &token).expect_err(expected);
        assert!(why.contains(expected), "{why}, not {expected}");
    }
    let one = read(&providers, &signer.es256(claims(json!({"groups": "a", "aud": "more"})))).expect("good");
    assert_eq!(one.groups, ["g:a", "system:authenticated"]);
    for other in ["", "a.b", "a.b.c", &signer.token(header, claims(json!({"iss": "https://other"})))] {
        assert!(providers.read_at(other, NOW).is_none(), "{other}");
    }
    let metrics = providers.metrics_text();
    for result in ["success", "failure"] {
        let name = "apiserver_authentication_jwt_authenticator_latency_seconds_count";
        assert!(metrics.contains(&format!("{name}{{result=\"{result}\",jwt_issuer_hash=\"sha256:")), "{metrics}");
    }
}

#[test]
fn expressions_say_whom_a_token_names() {
    let signer = Signer::new();
    let username = "username: {expression: \"'x:' + claims.sub\"}";
    let mapped = |mappings: &str| format!("  claimMappings: {{{username}, {mappings}}}\n");
    let shown = |user: Arc<User>| {
        let mut user = User::clone(&user);
        user.extra.remove("authentication.kubernetes.io/credential-id");
        format!("{} {} {:?} {:?}", user.name, user.uid, user.groups, user.extra)
    };
    let good = [
        (mapped(""), "x:7  [\"system:authenticated\"] {}"),
        (
            mapped("groups: {expression: 'claims.groups.map(g, g + \"!\")'}"),
            "x:7  [\"a!\", \"b!\", \"system:authenticated\"] {}",
        ),
        (mapped("groups: {expression: 'claims.tenant'}"), "x:7  [\"t\", \"system:authenticated\"] {}"),
        (mapped("groups: {expression: 'claims.?absent.orValue(null)'}"), "x:7  [\"system:authenticated\"] {}"),
        (mapped("uid: {claim: sub}"), "x:7 7 [\"system:authenticated\"] {}"),
        (mapped("uid: {expression: 'claims.kubernetes__dot__io.team'}"), "x:7 ops [\"system:authenticated\"] {}"),
        (
            mapped("extra: [{key: a.b/c, valueExpression: 'claims[\"kubernetes.io\"].roles[0].role__dash__name'}]"),
            "x:7  [\"system:authenticated\"] {\"a.b/c\": [\"r\"]}",
        ),
        (
            mapped(
                "extra: [{key: a.b/c, valueExpression: '[\"\", string(claims.level)]'}, {key: a.b/d, valueExpression: '\"\"'}]",
            ),
            "x:7  [\"system:authenticated\"] {\"a.b/c\": [\"3\"]}",
        ),
        (
            mapped("") + "  claimValidationRules: [{expression: 'claims.level == 3'}]\n",
            "x:7  [\"system:authenticated\"] {}",
        ),
        (
            mapped("groups: {claim: groups, prefix: ''}")
                + "  userValidationRules: [{expression: \"user.username.startsWith('x:') && 'a' in user.groups\"}]\n",
            "x:7  [\"a\", \"b\", \"system:authenticated\"] {}",
        ),
    ];
    let token = signer.es256(claims(json!({})));
    for (more, expected) in good {
        let providers = providers(&configuration("https://issuer", &more), &signer);
        assert_eq!(read(&providers, &token).map(shown).as_deref(), Ok(expected), "{more}");
    }
    let bad = [
        (
            "  claimMappings: {username: {expression: 'claims.level'}}\n".to_owned(),
            "username claim expression must return a string",
        ),
        (
            "  claimMappings: {username: {expression: '\"\"'}}\n".to_owned(),
            "empty username via CEL expression is not allowed",
        ),
        (
            "  claimMappings: {username: {expression: 'claims.absent'}}\n".to_owned(),
            "expression 'claims.absent' resulted in error: no such key: absent",
        ),
        (
            mapped("groups: {expression: 'claims.level'}"),
            "error evaluating group claim expression: expression must return a string or a list of strings",
        ),
        (mapped("groups: {expression: '[1]'}"), "expression must return a string or a list of strings"),
        (mapped("uid: {claim: absent}"), "the claim \"absent\" is missing"),
        (
            mapped("") + "  claimValidationRules: [{expression: 'claims.level > 5', message: too low}]\n",
            "error evaluating claim validation expression: validation expression 'claims.level > 5' failed: too low",
        ),
        (
            mapped("") + "  userValidationRules: [{expression: \"!user.username.startsWith('x:')\", message: no x}]\n",
            "error evaluating user info validation rule: validation expression '!user.username.startsWith('x:')' failed: no x",
        ),
    ];
    for (more, expected) in bad {
        let providers = providers(&configuration("https://issuer", &more), &signer);
        let why = read(&providers, &token).expect_err(&more);
        assert!(why.contains(expected), "{why}, not {expected}");
    }
}

/// Two providers on one server, below `/a` and `/b`, that show the signer's keys; `/b` by another document.
async fn serve(signer: &Signer) -> Backend {
    let jwks = signer.jwks();
    let itself = Arc::new(parking_lot::Mutex::new(String::new()));
    let told = itself.clone();
    let backend = Backend::start(move |path, _| {
        let at = told.lock().clone();
        let document = |issuer: &str| json!({"issuer": format!("{at}{issuer}"), "jwks_uri": format!("{at}/keys")});
        match path {
            "/a/.well-known/openid-configuration" => (200, document("/a").to_string().into_bytes()),
            "/elsewhere" => (200, document("/b").to_string().into_bytes()),
            "/liar/.well-known/openid-configuration" => (200, document("/a").to_string().into_bytes()),
            "/keys" => (200, jwks.to_string().into_bytes()),
            _ => (404, Vec::new()),
        }
    })
    .await;
    *itself.lock() = format!("https://{}", backend.address);
    backend
}

fn served(backend: &Backend, issuers: &[(&str, &str)]) -> String {
    let pem = base64::prelude::BASE64_STANDARD.decode(&backend.ca_bundle).expect("base64");
    let pem = json!(String::from_utf8(pem).expect("text"));
    let at = format!("https://{}", backend.address);
    let issuers = issuers.iter().map(|(path, discovery)| {
        let discovery = if discovery.is_empty() { String::new() } else { format!(", discoveryURL: '{at}{discovery}'") };
        format!(
            "- issuer: {{url: '{at}{path}', audiences: [cluster], certificateAuthority: {pem}{discovery}}}\n  \
             claimMappings: {{username: {{claim: sub, prefix: '{path}:'}}}}\n"
        )
    });
    let issuers: String = issuers.collect();
    format!("apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\njwt:\n{issuers}")
}

async fn client() -> Client {
    Client::new(Store::open(mk8s_store::Options::default()).await.expect("memory opens"), Relay::default())
}

#[tokio::test]
async fn keys_are_fetched() {
    let (signer, client) = (Signer::new(), client().await);
    let backend = serve(&signer).await;
    let at = format!("https://{}", backend.address);
    let options = options(&served(&backend, &[("/a", ""), ("/b", "/elsewhere"), ("/liar", ""), ("/none", "")]));
    let providers = Providers::new(&options, "server").expect("good");
    let mut fetched = Vec::new();
    for provider in &providers.current.load().providers {
        fetched.push(provider.fetch(&client, &providers.metrics).await);
    }
    let missing = format!("{at}/none/.well-known/openid-configuration: answered 404 Not Found");
    let expected = [Ok(()), Ok(()), Err(OidcError::Issuer(format!("{at}/a"))), Err(OidcError::Document(missing))];
    assert_eq!(fetched, expected);
    for issuer in ["/a", "/b"] {
        let token = signer.token(json!({"alg": "ES256"}), claims(json!({"iss": format!("{at}{issuer}")})));
        assert_eq!(read(&providers, &token).expect("good").name, format!("{issuer}:7"));
    }
}

#[tokio::test]
async fn a_file_that_changes_is_obeyed_when_it_is_good() {
    let (signer, client) = (Signer::new(), client().await);
    let backend = serve(&signer).await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("authentication.yaml");
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    let first = served(&backend, &[]);
    write(&first);
    let options = OidcOptions { file: Some((path.clone(), first.clone())), ..options(&first) };
    let providers = Providers::new(&options, "server").expect("good");
    let mut file = Followed::new(options).expect("there is a file");
    let token = signer.es256(claims(json!({"iss": format!("https://{}/a", backend.address)})));
    assert!(providers.read_at(&token, NOW).is_none());
    assert!(!renew(&mut file, &providers, &client).await, "nothing changed");
    write(&served(&backend, &[("/a", "")]));
    assert!(renew(&mut file, &providers, &client).await);
    assert_eq!(read(&providers, &token).expect("good").name, "/a:7");
    for bad in [
        "",
        "kind: [",
        "{}",
        &served(&backend, &[("/a", ""), ("/a", "")]),
        &(served(&backend, &[]) + "anonymous: {enabled: true}\n"),
    ] {
        write(bad);
        assert!(!renew(&mut file, &providers, &client).await, "{bad}");
        assert!(!renew(&mut file, &providers, &client).await, "{bad}, again");
    }
    std::fs::remove_file(&path).expect("removed");
    assert!(!renew(&mut file, &providers, &client).await);
    assert!(!renew(&mut file, &providers, &client).await);
    assert_eq!(read(&providers, &token).expect("still good").name, "/a:7");
    let metrics = providers.metrics_text();
    let total = "apiserver_authentication_config_controller_automatic_reloads_total";
    let lines = metrics.lines().filter(|line| line.starts_with(total)).map(|line| line.rsplit(' ').next());
    assert_eq!(lines.collect::<Vec<_>>(), [Some("6"), Some("1")], "failures, successes: {metrics}");
    write(&first);
    assert!(renew(&mut file, &providers, &client).await);
    assert!(providers.read_at(&token, NOW).is_none(), "nobody issues tokens any more");
}

/// A key set and a token that OpenSSL made.
const P521_X: &str = "AfM3NAggaRnItUSPiFIcoh6B7iZPfILWpbB7b4ceD6pwBQ_gJ6nCZ9IHhVTsX5esmfg8Y-Y0Hl7ypIOg3PnhBG9K";
const P521_Y: &str = "AI9kq5hTgub_Q-T02a3qOE78Cbw308M7Qyo4MuSLUg_qT-3H5TC5HkqaswwvmS7w3CoEkuaSB9jn2CSZTBbILcmV";
const P521_SIGNED: &str = "eyJhbGciOiJFUzUxMiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2lzc3VlciIsImF1ZCI6ImNsdXN0ZXIiLCJleHAiOjEwMDAwNjAsImVtYWlsIjoiYW5uQHgifQ";
const P521_SIGNATURE: &str = "AW8oZcclbp8kScibtJV0B12vY2GWw-xXiqpS6rM8kXXdNw4cfUCCDPFzPMu5DTiwCf-CYWeSL3PPzpkzVbf0oLBeAACBAnYd5aMQq0W2wNyL5Bm5JqE8dSuEbg4GBmiKoDjZahapWiDJf_UgFs3JauDHlahc7Xa2nENaa9XJZ33XIqOG";

#[test]
fn the_largest_curve_is_known() {
    let key_set = json!({"keys": [{"kty": "EC", "crv": "P-521", "kid": "k", "x": P521_X, "y": P521_Y}]}).to_string();
    let signing_algs = vec!["ES512".to_owned()];
    let options = OidcOptions { signing_algs, ..options(&configuration("https://issuer", "")) };
    let providers = Providers::new(&options, "server").expect("good");
    assert_eq!(providers.show("https://issuer", key_set.as_bytes()), Ok(true));
    assert_eq!(providers.show("https://other", key_set.as_bytes()), Ok(false));
    let token = format!("{P521_SIGNED}.{P521_SIGNATURE}");
    assert_eq!(read(&providers, &token).expect("good").name, "oidc:ann@x");
    let forged = format!("{P521_SIGNED}.{}", BASE64_URL_SAFE_NO_PAD.encode([1; 132]));
    assert_eq!(read(&providers, &forged), Err("the signature does not fit".into()));
}
