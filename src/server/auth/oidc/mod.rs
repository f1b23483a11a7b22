//! Tokens of OpenID Connect providers: who their ID tokens are for, and whom they name. The flags `--oidc-*` describe one
//! provider, a file (`--authentication-config`) several.
//!
//! ```text
//! flags, file ─ form ─ check ─▶ Compiled ─▶ Providers ◀── tokens
//!                  ▲                            │ by issuer
//!   follow ────────┘ the file changed       Provider ─ keys ─ claims ─▶ user
//!                                               ▲
//! keep ─ discovery document ─▶ key set ─────────┘ ◀─ a key that is not known
//! ```
//!
//! A token may say that its groups are elsewhere (`distributed`): such a one is read by [`Providers::resolve`], which asks.
//!
//! Reading order: [`form`] (the file), `check` (what is wrong with it; expressions compiled), [`Providers`], [`Provider`],
//! `keys` (signatures), `claims` (users), `distributed`, [`follow`] (fetching keys, reading the file again).
//!
//! Invariant: no request waits for a provider, except for groups that its token has elsewhere; while its keys are not there,
//! its tokens are not good.
//! Invariant: only algorithms with public keys are accepted, and only those that are configured.
//! Invariant: a file that is not good changes nothing.

mod check;
mod claims;
mod distributed;
mod follow;
pub mod form;
mod keys;
mod metrics;
mod provider;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

pub use self::{check::Invalid, follow::keep, form::AuthenticationConfiguration};
use self::{keys::Token, metrics::Metrics, provider::Provider};
use super::{
    User,
    cache::{self, Cache},
};
use crate::webhook::Client;

/// The algorithms that can be allowed.
pub const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];
/// How long a token is not looked at again that was good.
const GOOD: Duration = Duration::from_secs(10);

/// Who issues tokens, as flags or a file describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OidcOptions {
    pub configuration: AuthenticationConfiguration,
    pub signing_algs: Vec<String>,
    /// The file, and what was read of it.
    pub file: Option<(PathBuf, String)>,
    /// The issuers of the cluster's own tokens.
    pub taken: Vec<String>,
}

impl OidcOptions {
    /// # Errors
    /// What is wrong with the configuration.
    pub fn check(&self) -> Result<(), Invalid> {
        check::compile(&self.configuration, &self.taken).map(drop)
    }

    /// Nobody issues tokens, and that does not change.
    pub fn is_empty(&self) -> bool {
        self.configuration.jwt.is_empty() && self.file.is_none()
    }
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
    #[error("the claim {claim:?} {why}")]
    Claim { claim: String, why: &'static str },
    #[error("expected audience in {wanted:?} got {found:?}")]
    Audience { wanted: Vec<String>, found: Vec<String> },
    #[error("required claim {claim} value does not match. Got = {found}, want = {wanted}")]
    Required { claim: String, found: String, wanted: String },
    #[error("{0}")]
    Expression(String),
    #[error("the provider's document cannot be read: {0}")]
    Document(String),
    #[error("could not expand distributed claims: {0}")]
    Elsewhere(String),
    #[error("the provider calls itself {0:?}")]
    Issuer(String),
}

impl OidcError {
    fn claim(claim: &str, why: &'static str) -> OidcError {
        OidcError::Claim { claim: claim.to_owned(), why }
    }
}

/// All providers of tokens.
pub struct Providers {
    current: ArcSwap<Set>,
    metrics: Metrics,
    /// Who asks for claims that are elsewhere.
    client: OnceLock<Client>,
}

/// What a token was read as.
#[derive(Debug)]
pub enum Read {
    User(Arc<User>),
    /// It has its groups elsewhere, so that it takes a while: see [`Providers::resolve`].
    Elsewhere,
}

/// Providers that were configured together.
struct Set {
    providers: Vec<Arc<Provider>>,
    good: Cache<Arc<User>>,
}

impl Set {
    fn new(providers: Vec<Arc<Provider>>) -> Set {
        Set { providers, good: Cache::new() }
    }

    /// Whose this token is by what it says.
    fn find<'a>(&self, token: &'a str) -> Option<(&Provider, Token<'a>)> {
        let token = Token::read(token)?;
        let provider = self.providers.iter().find(|provider| Some(provider.url()) == token.issuer())?;
        Some((provider, token))
    }
}

impl Providers {
    /// `server`: the name of this one, which metrics carry as a hash.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(options: &OidcOptions, server: &str) -> Result<Providers, Invalid> {
        let compiled = check::compile(&options.configuration, &options.taken)?;
        let providers = compiled.into_iter().map(|compiled| Arc::new(Provider::new(compiled, &options.signing_algs)));
        let metrics = Metrics::new(server, options.file.as_ref().map(|(_, text)| text.as_str()));
        let current = ArcSwap::from_pointee(Set::new(providers.collect()));
        Ok(Providers { current, metrics, client: OnceLock::new() })
    }

    /// Takes the keys of an issuer from its key set, as if it had just shown them. Whether it is one of these.
    ///
    /// # Errors
    /// The key set cannot be read.
    pub fn show(&self, issuer: &str, key_set: &[u8]) -> Result<bool, OidcError> {
        let keys = Arc::new(keys::Keys::read(key_set)?);
        let set = self.current.load();
        let provider = set.providers.iter().find(|provider| provider.url() == issuer);
        if let Some(provider) = provider {
            provider.keys.store(Some(keys));
        }
        Ok(provider.is_some())
    }

    /// The user of a token; `None`: none of these providers issued it.
    pub fn read(&self, token: &str) -> Option<Result<Read, OidcError>> {
        self.read_at(token, claims::now_s())
    }

    fn read_at(&self, token: &str, now_s: i64) -> Option<Result<Read, OidcError>> {
        let set = self.current.load();
        if set.providers.is_empty() {
            return None;
        }
        let (begun, key) = (Instant::now(), cache::key(token));
        if let Some(user) = set.good.get(&key, begun) {
            return Some(Ok(Read::User(user)));
        }
        let (provider, token) = set.find(token)?;
        match provider.read(token, now_s).transpose() {
            None => Some(Ok(Read::Elsewhere)),
            Some(read) => Some(self.took(&set, key, provider, begun, read).map(Read::User)),
        }
    }

    /// The user of a token, with what it has elsewhere; `None`: none of these providers issued it.
    pub async fn resolve(&self, token: &str) -> Option<Result<Arc<User>, OidcError>> {
        self.resolve_at(token, claims::now_s()).await
    }

    async fn resolve_at(&self, token: &str, now_s: i64) -> Option<Result<Arc<User>, OidcError>> {
        let set = self.current.load_full();
        let (begun, key) = (Instant::now(), cache::key(token));
        let (provider, token) = set.find(token)?;
        let read = match self.client.get() {
            Some(client) => provider.resolve(client, token, now_s).await,
            None => Err(OidcError::NoKeys),
        };
        Some(self.took(&set, key, provider, begun, read))
    }

    /// Keeps what was found, for a while, and counts it.
    fn took(
        &self,
        set: &Set,
        key: cache::Key,
        provider: &Provider,
        begun: Instant,
        read: Result<(User, Duration), OidcError>,
    ) -> Result<Arc<User>, OidcError> {
        self.metrics.read(provider.url(), read.is_ok(), begun.elapsed());
        let (user, lasts) = read?;
        let user = Arc::new(user);
        set.good.put(key, user.clone(), Instant::now(), lasts.min(GOOD));
        Ok(user)
    }

    pub(crate) fn metrics_text(&self) -> String {
        self.metrics.text()
    }
}
