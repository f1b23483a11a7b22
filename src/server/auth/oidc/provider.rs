//! One provider of tokens, and the keys it shows.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::{
    OidcError,
    check::Compiled,
    claims, distributed,
    distributed::{Keepers, Place},
    form::Issuer,
    keys::{Keys, Token},
    metrics::Metrics,
};
use crate::{
    auth::User,
    http::body::request_body,
    webhook::{self, Client, Endpoint},
};

const FETCH: Duration = Duration::from_secs(30);
/// The largest document that is read.
const DOCUMENT: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Provider {
    compiled: Compiled,
    signing_algs: Vec<String>,
    pub(super) keys: ArcSwapOption<Keys>,
    /// A token named a key that is not known.
    pub(super) stale: Notify,
    keepers: Keepers,
}

impl Provider {
    pub(super) fn new(compiled: Compiled, signing_algs: &[String]) -> Provider {
        Provider {
            compiled,
            signing_algs: signing_algs.to_vec(),
            keys: ArcSwapOption::empty(),
            stale: Notify::new(),
            keepers: Keepers::default(),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.compiled.issuer.url
    }

    /// The user of a token that says it is from here, and how long it is good. `None`: part of what it says is elsewhere.
    pub(super) fn read(&self, token: Token<'_>, now_s: i64) -> Result<Option<(User, Duration)>, OidcError> {
        let claims = self.claims(token, now_s)?;
        match distributed::place(&self.compiled, &claims)? {
            Some(_) => Ok(None),
            None => self.user(claims, now_s).map(Some),
        }
    }

    /// As [`Provider::read`]; what is elsewhere is asked for.
    pub(super) async fn resolve(
        &self,
        client: &Client,
        token: Token<'_>,
        now_s: i64,
    ) -> Result<(User, Duration), OidcError> {
        let mut claims = self.claims(token, now_s)?;
        if let Some(place) = distributed::place(&self.compiled, &claims)? {
            let late = || Err(OidcError::Elsewhere(format!("{}: no answer in time", place.url)));
            let asked = tokio::time::timeout(FETCH, self.ask(client, &place, now_s)).await;
            claims.insert(place.claim.to_owned(), asked.unwrap_or_else(|_| late())?);
        }
        self.user(claims, now_s)
    }

    /// A claim, from where it is.
    async fn ask(&self, client: &Client, place: &Place<'_>, now_s: i64) -> Result<Value, OidcError> {
        let bad = |why: &str| OidcError::Elsewhere(format!("{}: {why}", place.url));
        let said = |error: OidcError| bad(&error.to_string());
        let shown = get(client, &self.compiled.issuer, &place.url, &place.access_token).await;
        let shown = shown.map_err(|error| OidcError::Elsewhere(error.to_string()))?;
        let shown = str::from_utf8(&shown).ok().and_then(|shown| Token::read_long(shown.trim()));
        let token = shown.ok_or_else(|| bad("shows no token"))?;
        let url = token.issuer().ok_or_else(|| bad("shows a token of nobody"))?.to_owned();
        // Reached as the one who sent us there.
        let certificate_authority = self.compiled.issuer.certificate_authority.clone();
        let issuer = Issuer { url, certificate_authority, ..Issuer::default() };
        self.check_algorithm(&token).map_err(said)?;
        let keys = self.keepers.keys(client, &issuer, false).await.map_err(said)?;
        match keys.verify(&token) {
            Err(OidcError::UnknownKey) => {
                let keys = self.keepers.keys(client, &issuer, true).await.map_err(said)?;
                keys.verify(&token).map_err(said)?;
            }
            verified => verified.map_err(said)?,
        }
        let mut claims = token.claims;
        claims::check(&self.compiled, &claims, now_s).map_err(said)?;
        claims.remove(place.claim).ok_or_else(|| said(OidcError::claim(place.claim, "is missing")))
    }

    fn check_algorithm(&self, token: &Token<'_>) -> Result<(), OidcError> {
        let allowed = self.signing_algs.contains(&token.algorithm);
        if allowed { Ok(()) } else { Err(OidcError::Algorithm(token.algorithm.clone())) }
    }

    /// What a token says, when it is from here, for this cluster, and it is its time.
    fn claims(&self, token: Token<'_>, now_s: i64) -> Result<Map<String, Value>, OidcError> {
        self.check_algorithm(&token)?;
        let keys = self.keys.load();
        let keys = keys.as_ref().ok_or(OidcError::NoKeys)?;
        if let Err(error) = keys.verify(&token) {
            if error == OidcError::UnknownKey {
                self.stale.notify_one();
            }
            return Err(error);
        }
        claims::check(&self.compiled, &token.claims, now_s)?;
        Ok(token.claims)
    }

    fn user(&self, claims: Map<String, Value>, now_s: i64) -> Result<(User, Duration), OidcError> {
        let expiry = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        let user = claims::user(&self.compiled, claims)?;
        #[expect(clippy::cast_precision_loss, reason = "times are far from where it would be lost")]
        let left = expiry - now_s as f64;
        Ok((user, Duration::try_from_secs_f64(left).unwrap_or_default()))
    }

    /// Fetches the keys.
    pub(super) async fn fetch(&self, client: &Client, metrics: &Metrics) -> Result<(), OidcError> {
        let issuer = &self.compiled.issuer;
        let place = discover(client, issuer).await?;
        let shown = get(client, issuer, &place, "").await;
        let keys = shown.and_then(|shown| Ok((Keys::read(&shown)?, shown)));
        metrics.fetched(&issuer.url, keys.as_ref().ok().map(|(_, shown)| shown.as_slice()));
        self.keys.store(Some(Arc::new(keys?.0)));
        Ok(())
    }
}

/// The keys that an issuer shows.
pub(super) async fn fetch_keys(client: &Client, issuer: &Issuer) -> Result<Keys, OidcError> {
    let place = discover(client, issuer).await?;
    Keys::read(&get(client, issuer, &place, "").await?)
}

/// Where an issuer shows its keys.
async fn discover(client: &Client, issuer: &Issuer) -> Result<String, OidcError> {
    let usual = format!("{}/.well-known/openid-configuration", issuer.url.trim_end_matches('/'));
    let discovery = if issuer.discovery_url.is_empty() { &usual } else { &issuer.discovery_url };
    let discovery = get(client, issuer, discovery, "").await?;
    let discovery: Value =
        serde_json::from_slice(&discovery).map_err(|error| OidcError::Document(error.to_string()))?;
    let text = |field: &str| discovery[field].as_str().unwrap_or_default().to_owned();
    let itself = text("issuer");
    if itself == issuer.url { Ok(text("jwks_uri")) } else { Err(OidcError::Issuer(itself)) }
}

/// Reads a document; `access_token`: what is shown for it, unless it is empty.
async fn get(client: &Client, issuer: &Issuer, url: &str, access_token: &str) -> Result<Vec<u8>, OidcError> {
    let unreadable = |why: String| OidcError::Document(format!("{url}: {why}"));
    if !url.starts_with("https://") {
        return Err(unreadable("is no https URL".into()));
    }
    let ca_bundle = issuer.certificate_authority.clone().into_bytes();
    let endpoint = Endpoint { place: webhook::Place::Url(url.to_owned()), ca_bundle, insecure: false, identity: None };
    let mut request = Request::new(request_body(Empty::new()));
    *request.uri_mut() = endpoint.path().parse().map_err(|error| unreadable(format!("{error}")))?;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json, application/jwt"));
    if !access_token.is_empty() {
        let mut shown = HeaderValue::try_from(format!("Bearer {access_token}"))
            .map_err(|_| unreadable("its access token is no header".into()))?;
        shown.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, shown);
    }
    let read = async {
        let response = client.send(&endpoint, request).await.map_err(|error| unreadable(error.to_string()))?;
        if !response.status().is_success() {
            return Err(unreadable(format!("answered {}", response.status())));
        }
        let body = Limited::new(response.into_body(), DOCUMENT);
        let all = body.collect().await.map_err(|error| unreadable(error.to_string()))?;
        Ok(all.to_bytes().to_vec())
    };
    tokio::time::timeout(FETCH, read).await.unwrap_or_else(|_| Err(unreadable("did not answer in time".into())))
}
