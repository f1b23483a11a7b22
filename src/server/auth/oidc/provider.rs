//! One provider of tokens, and the keys it shows.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    OidcError,
    check::Compiled,
    claims,
    keys::{Keys, Token},
    metrics::Metrics,
};
use crate::{
    auth::User,
    http::body::request_body,
    webhook::{Client, Endpoint, Place},
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
}

impl Provider {
    pub(super) fn new(compiled: Compiled, signing_algs: &[String]) -> Provider {
        Provider { compiled, signing_algs: signing_algs.to_vec(), keys: ArcSwapOption::empty(), stale: Notify::new() }
    }

    pub(super) fn url(&self) -> &str {
        &self.compiled.issuer.url
    }

    /// The user of a token that says it is from here, and how long it is good.
    pub(super) fn read(&self, token: Token<'_>, now_s: i64) -> Result<(User, Duration), OidcError> {
        if !self.signing_algs.contains(&token.algorithm) {
            return Err(OidcError::Algorithm(token.algorithm));
        }
        let keys = self.keys.load();
        let keys = keys.as_ref().ok_or(OidcError::NoKeys)?;
        if let Err(error) = keys.verify(&token) {
            if error == OidcError::UnknownKey {
                self.stale.notify_one();
            }
            return Err(error);
        }
        let expiry = token.claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        let user = claims::user(&self.compiled, token.claims, now_s)?;
        #[expect(clippy::cast_precision_loss, reason = "times are far from where it would be lost")]
        let left = expiry - now_s as f64;
        Ok((user, Duration::try_from_secs_f64(left).unwrap_or_default()))
    }

    /// Fetches the keys.
    pub(super) async fn fetch(&self, client: &Client, metrics: &Metrics) -> Result<(), OidcError> {
        let issuer = &self.compiled.issuer;
        let usual = format!("{}/.well-known/openid-configuration", issuer.url.trim_end_matches('/'));
        let discovery = if issuer.discovery_url.is_empty() { &usual } else { &issuer.discovery_url };
        let discovery = self.get(client, discovery).await?;
        let discovery: Value =
            serde_json::from_slice(&discovery).map_err(|error| OidcError::Document(error.to_string()))?;
        let text = |field: &str| discovery[field].as_str().unwrap_or_default();
        if text("issuer") != issuer.url {
            return Err(OidcError::Issuer(text("issuer").to_owned()));
        }
        let shown = self.get(client, text("jwks_uri")).await;
        let keys = shown.and_then(|shown| Ok((Keys::read(&shown)?, shown)));
        metrics.fetched(&issuer.url, keys.as_ref().ok().map(|(_, shown)| shown.as_slice()));
        self.keys.store(Some(Arc::new(keys?.0)));
        Ok(())
    }

    async fn get(&self, client: &Client, url: &str) -> Result<Vec<u8>, OidcError> {
        let unreadable = |why: String| OidcError::Document(format!("{url}: {why}"));
        if !url.starts_with("https://") {
            return Err(unreadable("is no https URL".into()));
        }
        let ca_bundle = self.compiled.issuer.certificate_authority.clone().into_bytes();
        let endpoint = Endpoint { place: Place::Url(url.to_owned()), ca_bundle, insecure: false, identity: None };
        let mut request = Request::new(request_body(Empty::new()));
        *request.uri_mut() = endpoint.path().parse().map_err(|error| unreadable(format!("{error}")))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
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
}
