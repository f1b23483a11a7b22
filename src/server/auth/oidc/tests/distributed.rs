//! Groups that a token has elsewhere.

use http::{header::AUTHORIZATION, request::Parts};

use super::*;

/// One who keeps groups, with a signature of their own, below `/keeper`.
struct Keeper {
    backend: Backend,
    /// How often somebody asked for each path.
    asked: Arc<parking_lot::Mutex<Vec<String>>>,
}

impl Keeper {
    async fn start() -> Keeper {
        let (signer, stranger) = (Signer::new(), Signer::new());
        let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let itself = Arc::new(parking_lot::Mutex::new(String::new()));
        let (told, counted) = (itself.clone(), asked.clone());
        let answer = move |head: &Parts, _| {
            let (at, path) = (told.lock().clone(), head.uri.path().to_owned());
            counted.lock().push(path.clone());
            let shown = |more: Value| {
                let mut claims =
                    json!({"iss": format!("{at}/keeper"), "aud": "cluster", "exp": NOW + 60, "groups": ["far"]});
                for (claim, value) in more.as_object().into_iter().flatten() {
                    claims[claim] = value.clone();
                }
                claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
                claims
            };
            let token = match path.as_str() {
                "/keeper/.well-known/openid-configuration" => {
                    let document = json!({"issuer": format!("{at}/keeper"), "jwks_uri": format!("{at}/keys")});
                    document.to_string()
                }
                "/keys" => signer.jwks().to_string(),
                "/open" => signer.es256(shown(json!({}))) + "\n",
                "/many" => signer.es256(shown(json!({"groups": vec!["many"; 5000]}))),
                "/secret" => match head.headers.get(AUTHORIZATION).map(|shown| shown.as_bytes()) {
                    Some(b"Bearer s3") => signer.es256(shown(json!({"groups": "secret"}))),
                    _ => return (401, Vec::new()),
                },
                "/stranger" => stranger.es256(shown(json!({}))),
                "/unknown" => signer.token(json!({"alg": "ES256", "kid": "o"}), shown(json!({}))),
                "/nobody" => signer.es256(shown(json!({"iss": format!("{at}/nobody")}))),
                "/late" => signer.es256(shown(json!({"exp": NOW}))),
                "/other" => signer.es256(shown(json!({"aud": "other"}))),
                "/without" => signer.es256(shown(json!({"groups": null}))),
                "/text" => "text".to_owned(),
                _ => return (404, Vec::new()),
            };
            (200, token.into_bytes())
        };
        let backend = Backend::start_with(answer).await;
        *itself.lock() = format!("https://{}", backend.address);
        Keeper { backend, asked }
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().iter().filter(|asked| *asked == path).count()
    }
}

/// A token without groups, but with these names and sources.
fn token(signer: &Signer, names: Value, sources: Value) -> String {
    let mut claims = claims(json!({"_claim_names": names, "_claim_sources": sources}));
    claims.as_object_mut().expect("an object").remove("groups");
    signer.es256(claims)
}

async fn resolved(providers: &Providers, token: &str) -> Result<String, String> {
    let user = match providers.read_at(token, NOW).expect("theirs") {
        Ok(Read::User(user)) => Ok(user),
        Ok(Read::Elsewhere) => providers.resolve_at(token, NOW).await.expect("theirs"),
        Err(error) => Err(error),
    };
    user.map(|user| user.groups.join(" ")).map_err(|error| error.to_string())
}

#[tokio::test]
async fn groups_are_fetched_from_where_they_are() {
    let (signer, keeper, client) = (Signer::new(), Keeper::start().await, client().await);
    let pem = base64::prelude::BASE64_STANDARD.decode(&keeper.backend.ca_bundle).expect("base64");
    let pem = json!(String::from_utf8(pem).expect("text")).to_string();
    let text =
        configuration("https://issuer", "").replace("audiences:", &format!("certificateAuthority: {pem}, audiences:"));
    let providers = providers(&text, &signer);
    let at = format!("https://{}", keeper.backend.address);
    let distant = |path: &str, access_token: Value| {
        let source = json!({"endpoint": format!("{at}{path}"), "access_token": access_token});
        token(&signer, json!({"groups": "s"}), json!({"s": source}))
    };
    let open = distant("/open", Value::Null);
    let before = providers.resolve_at(&open, NOW).await.expect("theirs").expect_err("nobody asks");
    assert_eq!(before, OidcError::NoKeys);
    assert!(providers.client.set(client).is_ok());
    let good = [
        (open.clone(), "g:far system:authenticated"),
        (distant("/secret", json!("s3")), "g:secret system:authenticated"),
        // It has them itself.
        (
            signer.es256(claims(json!({"_claim_names": {"groups": "s"}, "_claim_sources": {"s": {}}}))),
            "g:a g:b system:authenticated",
        ),
        (token(&signer, Value::Null, Value::Null), "system:authenticated"),
        (token(&signer, json!({"other": "s"}), json!({"s": {"endpoint": "https://other"}})), "system:authenticated"),
        // What a source carries itself is not read.
        (token(&signer, json!({"groups": "s"}), json!({"s": {"JWT": "text"}})), "system:authenticated"),
    ];
    for (token, expected) in good {
        assert_eq!(resolved(&providers, &token).await.as_deref(), Ok(expected));
    }
    let many = resolved(&providers, &distant("/many", Value::Null)).await.expect("good");
    assert_eq!(many.split(' ').count(), 5001);
    assert_eq!((keeper.asked("/open"), keeper.asked("/keys")), (1, 1));
    assert_eq!(resolved(&providers, &open).await.as_deref(), Ok("g:far system:authenticated"));
    assert_eq!(keeper.asked("/open"), 1, "what was good is not asked about again at once");
    let bad = [
        (distant("/secret", json!("s4")), "/secret: answered 401 Unauthorized"),
        (distant("/absent", Value::Null), "/absent: answered 404 Not Found"),
        (distant("/stranger", Value::Null), "/stranger: the signature does not fit"),
        (distant("/unknown", Value::Null), "/unknown: the token names a key that the provider does not show"),
        (distant("/nobody", Value::Null), "/nobody/.well-known/openid-configuration: answered 404 Not Found"),
        (distant("/late", Value::Null), "/late: the token has expired"),
        (distant("/other", Value::Null), "/other: expected audience in [\"cluster\", \"more\"] got [\"other\"]"),
        (distant("/without", Value::Null), "/without: the claim \"groups\" is missing"),
        (distant("/text", Value::Null), "/text: shows no token"),
        (token(&signer, json!({"groups": "s"}), json!({"s": {"endpoint": "http://x"}})), "http://x: is no https URL"),
        (token(&signer, json!({"groups": "s"}), json!({"t": {}})), "there is no source \"s\""),
        (token(&signer, json!({"groups": "s"}), Value::Null), "there is no source \"s\""),
        (token(&signer, json!({"other": ""}), json!({})), "there is no source \"\""),
        (token(&signer, json!({"groups": 1}), json!({})), "_claim_names is unreadable"),
        (token(&signer, json!({}), json!("s")), "_claim_sources is unreadable"),
    ];
    for (token, expected) in bad {
        let why = resolved(&providers, &token).await.expect_err(expected);
        assert!(why.starts_with("could not expand distributed claims: "), "{why}");
        assert!(why.contains(expected), "{why}, not {expected}");
    }
    let forged = Signer::new();
    let token = token(&forged, json!({"groups": "s"}), json!({"s": {"endpoint": format!("{at}/forged")}}));
    assert_eq!(resolved(&providers, &token).await, Err("the signature does not fit".into()));
    assert_eq!(keeper.asked("/forged"), 0, "nobody is asked for a token that is not good itself");
    assert_eq!(keeper.asked("/keys"), 1, "keys are not fetched again at once");
}
