//! Tokens of an OpenID Connect provider (`--oidc-issuer-url`): who its ID tokens are for, and whom they name.
//!
//! ```text
//! keep ─ discovery document ─▶ key set ─▶ Keys ◀── a token's signature
//!   ▲                                       │
//!   └──── a key that is not known ◀─────────┘
//! ```
//!
//! Reading order: [`OidcOptions`], [`Oidc`], `keys` (signatures), `claims` (users), [`keep`] (fetching keys).
//!
//! Invariant: no request waits for the provider; while its keys are not there, its tokens are not good.
//! Invariant: only algorithms with public keys are accepted, and only those that are configured.

mod claims;
mod keys;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::keys::{Keys, Token};
use super::User;
use crate::{
    http::body::request_body,
    webhook::{Client, Endpoint, Place},
};

/// The algorithms that can be allowed.
pub const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];
/// How often keys are fetched.
const REFRESH: Duration = Duration::from_secs(3600);
/// How soon after they could not be fetched, or after a token named one that is not known.
const AGAIN: Duration = Duration::from_secs(10);
const FETCH: Duration = Duration::from_secs(30);
/// The largest document that is read.
const DOCUMENT: usize = 1 << 20;

/// A provider, and how its claims are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcOptions {
    pub issuer_url: String,
    pub client_id: String,
    pub username_claim: String,
    pub username_prefix: String,
    pub groups_claim: Option<String>,
    pub groups_prefix: String,
    pub required_claims: Vec<(String, String)>,
    pub signing_algs: Vec<String>,
    /// PEM; empty: what the system trusts.
    pub ca_bundle: Vec<u8>,
}

/// Why a token, or a provider, is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    #[error("the signing algorithm {0:?} is not allowed")]
    Algorithm(String),
    #[error("the provider's keys are not there yet")]
    NoKeys,
    #[error("the token names a key that the provider does not show")]
    UnknownKey,
    #[error("the signature does not fit")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the claim {0:?} {1}")]
    Claim(&'static str, &'static str),
    #[error("the claim {0:?} is missing or has another value")]
    Required(String),
    #[error("the provider's document cannot be read: {0}")]
    Document(String),
    #[error("the provider calls itself {0:?}")]
    Issuer(String),
}

/// A provider of tokens.
#[derive(Debug)]
pub struct Oidc {
    options: OidcOptions,
    keys: ArcSwapOption<Keys>,
    /// A token named a key that is not known.
    stale: Notify,
}

impl Oidc {
    pub fn new(options: OidcOptions) -> Oidc {
        Oidc { options, keys: ArcSwapOption::empty(), stale: Notify::new() }
    }

    /// The user of a token; `None`: another one issued it.
    pub fn read(&self, token: &str) -> Option<Result<Arc<User>, OidcError>> {
        self.read_at(token, claims::now_s())
    }

    fn read_at(&self, token: &str, now_s: i64) -> Option<Result<Arc<User>, OidcError>> {
        let token = Token::read(token).filter(|token| token.text("iss") == Some(&self.options.issuer_url))?;
        Some(self.verified(&token, now_s).map(Arc::new))
    }

    fn verified(&self, token: &Token<'_>, now_s: i64) -> Result<User, OidcError> {
        if !self.options.signing_algs.contains(&token.algorithm) {
            return Err(OidcError::Algorithm(token.algorithm.clone()));
        }
        let keys = self.keys.load();
        let keys = keys.as_ref().ok_or(OidcError::NoKeys)?;
        if let Err(error) = keys.verify(token) {
            if error == OidcError::UnknownKey {
                self.stale.notify_one();
            }
            return Err(error);
        }
        claims::user(&self.options, &token.claims, now_s)
    }

    async fn fetch(&self, client: &Client) -> Result<(), OidcError> {
        let issuer = self.options.issuer_url.trim_end_matches('/');
        let discovery = self.get(client, &format!("{issuer}/.well-known/openid-configuration")).await?;
        let discovery: Value =
            serde_json::from_slice(&discovery).map_err(|error| OidcError::Document(error.to_string()))?;
        let text = |field: &str| discovery[field].as_str().unwrap_or_default();
        if text("issuer") != self.options.issuer_url {
            return Err(OidcError::Issuer(text("issuer").to_owned()));
        }
        let keys = self.get(client, text("jwks_uri")).await?;
        self.keys.store(Some(Arc::new(Keys::read(&keys)?)));
        Ok(())
    }

    async fn get(&self, client: &Client, url: &str) -> Result<Vec<u8>, OidcError> {
        let unreadable = |why: String| OidcError::Document(format!("{url}: {why}"));
        if !url.starts_with("https://") {
            return Err(unreadable("is no https URL".into()));
        }
        let place = Place::Url(url.to_owned());
        let endpoint = Endpoint { place, ca_bundle: self.options.ca_bundle.clone(), insecure: false, identity: None };
        let mut request = Request::new(request_body(Empty::new()));
        *request.uri_mut() = endpoint.path().parse().map_err(|error| unreadable(format!("{error}")))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let read = async {
            let response = client.send(&endpoint, request).await.map_err(|error| unreadable(error.to_string()))?;
            if !response.status().is_success() {
                return Err(unreadable(format!("answered {}", response.status())));
            }
            let body = http_body_util::Limited::new(response.into_body(), DOCUMENT);
            let all = body.collect().await.map_err(|error| unreadable(error.to_string()))?;
            Ok(all.to_bytes().to_vec())
        };
        tokio::time::timeout(FETCH, read).await.unwrap_or_else(|_| Err(unreadable("did not answer in time".into())))
    }
}

/// Keeps the keys of a provider until `stop`.
pub async fn keep(oidc: Arc<Oidc>, client: Client, stop: CancellationToken) {
    loop {
        let fetched = stop.run_until_cancelled(oidc.fetch(&client)).await;
        let pause = match fetched {
            None => return,
            Some(Ok(())) => REFRESH,
            Some(Err(error)) => {
                tracing::error!(%error, issuer = oidc.options.issuer_url, "the keys of the OpenID provider are not fetched");
                AGAIN
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            // Not more often than that, whatever tokens are sent.
            () = async { oidc.stale.notified().await; tokio::time::sleep(AGAIN).await } => {}
        }
    }
}
