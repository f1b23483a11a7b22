//! The chain of authenticators: client certificate, the administrator's token, that of machines that join, service-account
//! token, bootstrap token, an OpenID provider's token, a webhook, anonymous.
//!
//! A certificate was already verified by TLS when a [`Peer`] is made, once per connection; a bearer token is looked up in
//! the token cache. So the usual request costs a pointer copy.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};
use jiff::Timestamp;
use mk8s_api::status::Status;
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    AUTHENTICATED, MASTERS, User,
    oidc::{OidcError, Providers, Read, form::Anonymous},
    tokens::{BOOTSTRAPPERS, BootstrapTokens, TokenError, TokenReader, Use},
    webhook::{self, TokenWebhook, Unknown},
};

/// The other end of a connection, computed once after the TLS handshake.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    pub addr: Option<SocketAddr>,
    /// The user of the verified client certificate, if one was presented.
    pub user: Option<Arc<User>>,
}

impl Peer {
    /// Reads the identity out of a certificate chain that rustls has verified against the cluster CA.
    pub fn new(addr: Option<SocketAddr>, verified: Option<&[CertificateDer<'_>]>) -> Peer {
        let user = verified.and_then(|chain| chain.first()).and_then(user_of_certificate).map(Arc::new);
        Peer { addr, user }
    }
}

/// Subject CN is the user, every O a group; a certificate without a CN names nobody.
fn user_of_certificate(der: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    // Of several the last counts, as for those who approve requests.
    let name = subject.iter_common_name().last()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok().map(str::to_string));
    Some(User::new(name, groups.chain([AUTHENTICATED.to_string()])))
}

/// Credentials were presented and are not good. Answered 401; the reason is for the log, not for the client.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("the Authorization header is malformed")]
    Malformed,
    #[error("invalid bearer token")]
    Token(#[source] TokenError),
    #[error("invalid bearer token of an OpenID provider")]
    Oidc(#[source] OidcError),
    /// It may be good, when somebody was asked.
    #[error("part of what the token says is elsewhere")]
    Elsewhere,
    #[error("{here}; {webhook}")]
    Webhook { here: Box<AuthError>, webhook: Unknown },
    #[error("invalid bearer token: no authenticator knows it")]
    UnknownToken,
    #[error("there are no credentials, and without them nobody may come here")]
    NoCredentials,
}

impl From<AuthError> for Status {
    fn from(_: AuthError) -> Status {
        Status::unauthorized()
    }
}

/// One way of finding out who asks. `Ok(None)`: these are not credentials of my kind.
pub trait Authenticator: Send + Sync {
    fn authenticate(&self, parts: &Parts, peer: &Peer) -> Result<Option<Arc<User>>, AuthError>;
}

/// All authenticators of the server, in order, with anonymous at the end.
pub struct Authentication {
    tokens: TokenReader,
    bootstrap_tokens: BootstrapTokens,
    providers: OnceLock<Arc<Providers>>,
    webhook: OnceLock<TokenWebhook>,
    admin_token: Option<String>,
    admin: Arc<User>,
    join_secret: Option<String>,
    joining: Arc<User>,
    anonymous: Arc<User>,
    /// Where they are taken who present no credentials; everywhere, when nothing is said.
    anonymous_at: OnceLock<Anonymous>,
}

impl Authentication {
    /// `admin_token`: the administrator's token, if there is one. `join_secret`: the secret of the server's join token, with
    /// which nodes can join as with a bootstrap token.
    pub fn new(
        tokens: TokenReader,
        bootstrap_tokens: BootstrapTokens,
        admin_token: Option<String>,
        join_secret: Option<String>,
    ) -> Authentication {
        Authentication {
            tokens,
            bootstrap_tokens,
            join_secret: join_secret.filter(|secret| !secret.is_empty()),
            joining: Arc::new(User::new("mk8s:join", [BOOTSTRAPPERS, AUTHENTICATED])),
            providers: OnceLock::new(),
            webhook: OnceLock::new(),
            admin_token: admin_token.filter(|token| !token.is_empty()),
            admin: Arc::new(User::new("system:admin", [MASTERS, AUTHENTICATED])),
            anonymous: Arc::new(User::anonymous()),
            anonymous_at: OnceLock::new(),
        }
    }

    /// Tokens of these providers are good from now on.
    pub fn trust(&self, providers: Arc<Providers>) {
        // They are set once, and change by themselves.
        let _ = self.providers.set(providers);
    }

    /// Requests without credentials are taken as this says.
    pub fn take_anonymous(&self, anonymous: Anonymous) {
        // It is said once.
        let _ = self.anonymous_at.set(anonymous);
    }

    /// This webhook is asked from now on about tokens that nobody here knows.
    pub fn ask(&self, webhook: TokenWebhook) {
        // There is one.
        let _ = self.webhook.set(webhook);
    }

    /// Uses of tokens that Secrets hold are told from now on.
    pub fn tell_uses(&self, uses: mpsc::Sender<Use>) {
        self.tokens.tell_uses(uses);
    }

    pub(crate) fn metrics_text(&self) -> String {
        let providers = self.providers.get().map(|providers| providers.metrics_text()).unwrap_or_default();
        providers + &self.webhook.get().map(TokenWebhook::metrics_text).unwrap_or_default()
    }

    /// The user of a request; anonymous when no credentials were presented.
    pub async fn identify(&self, parts: &Parts, peer: &Peer) -> Result<Arc<User>, AuthError> {
        let found = match self.authenticate(parts, peer) {
            // Boxed, because this is part of the future of every request.
            Err(AuthError::Elsewhere) => {
                let token = bearer_token(parts)?.unwrap_or_default();
                Box::pin(self.resolve(&token)).await.map(Some)
            }
            found => found,
        };
        match (found, self.webhook.get()) {
            (Ok(Some(user)), _) => Ok(user),
            (Ok(None), _) => self.nobody(parts.uri.path()),
            (Err(AuthError::Malformed), _) => Err(AuthError::Malformed),
            (Err(here), None) => Err(here),
            (Err(here), Some(webhook)) => {
                let token = bearer_token(parts)?.unwrap_or_default();
                let read = Box::pin(webhook.read(&token, &[])).await;
                read.map(|(user, _)| user).map_err(|webhook| AuthError::Webhook { here: Box::new(here), webhook })
            }
        }
    }

    /// Checks a token that came otherwise than by header (TokenReview). The user, and which of `audiences` it is good for.
    pub fn review(&self, token: &str, audiences: &[String]) -> Result<(Arc<User>, Vec<String>), AuthError> {
        match (self.review_here(token, audiences), self.webhook.get()) {
            (Err(here), Some(webhook)) => match webhook::wait(webhook.read(token, audiences)) {
                Some(Ok(known)) => Ok(known),
                Some(Err(webhook)) => Err(AuthError::Webhook { here: Box::new(here), webhook }),
                None => Err(here),
            },
            (reviewed, _) => reviewed,
        }
    }

    fn review_here(&self, token: &str, audiences: &[String]) -> Result<(Arc<User>, Vec<String>), AuthError> {
        if let Some(user) = self.simple(token) {
            return Ok((user, audiences.to_vec()));
        }
        match self.tokens.read_for(token, audiences) {
            Err(TokenError::NotOurs) => {
                let user = match self.of_provider(token) {
                    Err(AuthError::Elsewhere) => {
                        webhook::wait(self.resolve(token)).unwrap_or(Err(AuthError::Elsewhere))?
                    }
                    found => found?,
                };
                let own = self.tokens.own_audiences(audiences);
                if own.is_empty() { Err(AuthError::UnknownToken) } else { Ok((user, own)) }
            }
            read => read.map_err(AuthError::Token),
        }
    }

    fn bearer(&self, token: &str) -> Result<Arc<User>, AuthError> {
        if let Some(user) = self.simple(token) {
            return Ok(user);
        }
        match self.tokens.read(token) {
            Ok(user) => Ok(user),
            Err(TokenError::NotOurs) => self.of_provider(token),
            Err(error) => Err(AuthError::Token(error)),
        }
    }

    fn of_provider(&self, token: &str) -> Result<Arc<User>, AuthError> {
        match self.providers.get().and_then(|providers| providers.read(token)) {
            Some(Ok(Read::User(user))) => Ok(user),
            Some(Ok(Read::Elsewhere)) => Err(AuthError::Elsewhere),
            Some(Err(error)) => Err(AuthError::Oidc(error)),
            None => Err(AuthError::UnknownToken),
        }
    }

    /// As [`Authentication::of_provider`], with what is elsewhere.
    async fn resolve(&self, token: &str) -> Result<Arc<User>, AuthError> {
        let Some(providers) = self.providers.get() else { return Err(AuthError::UnknownToken) };
        let read = providers.resolve(token).await.ok_or(AuthError::UnknownToken)?;
        read.map_err(AuthError::Oidc)
    }

    /// Who presents no credentials.
    fn nobody(&self, path: &str) -> Result<Arc<User>, AuthError> {
        let taken = self.anonymous_at.get().is_none_or(|anonymous| anonymous.allows(path));
        if taken { Ok(self.anonymous.clone()) } else { Err(AuthError::NoCredentials) }
    }

    /// The user of a token that is a plain secret.
    fn simple(&self, token: &str) -> Option<Arc<User>> {
        let is = |secret: &Option<String>| {
            secret.as_deref().is_some_and(|secret| same_secret(secret.as_bytes(), token.as_bytes()))
        };
        if is(&self.admin_token) {
            return Some(self.admin.clone());
        }
        if is(&self.join_secret) {
            return Some(self.joining.clone());
        }
        self.bootstrap_tokens.read(token, Timestamp::now())
    }
}

impl Authenticator for Authentication {
    fn authenticate(&self, parts: &Parts, peer: &Peer) -> Result<Option<Arc<User>>, AuthError> {
        if let Some(user) = &peer.user {
            return Ok(Some(user.clone()));
        }
        match bearer_token(parts)? {
            Some(token) => self.bearer(&token).map(Some),
            None => Ok(None),
        }
    }
}

/// What comes before the encoded token among the subprotocols of a WebSocket.
const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The token of `Authorization: Bearer`, or of the WebSocket subprotocol that browsers, which cannot set headers, send it in.
/// Other schemes (`Basic`) are nobody's credentials here, as in Kubernetes: the request is anonymous.
fn bearer_token(parts: &Parts) -> Result<Option<Cow<'_, str>>, AuthError> {
    let Some(header) = parts.headers.get(AUTHORIZATION) else { return subprotocol_token(parts) };
    let header = header.to_str().map_err(|_| AuthError::Malformed)?;
    match header.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim().into()))
        }
        _ => Ok(None),
    }
}

fn subprotocol_token(parts: &Parts) -> Result<Option<Cow<'_, str>>, AuthError> {
    let offered = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|header| header.to_str().ok());
    let mut protocols = offered.flat_map(|header| header.split(',')).map(str::trim);
    let Some(encoded) = protocols.find_map(|protocol| protocol.strip_prefix(SUBPROTOCOL)) else { return Ok(None) };
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| AuthError::Malformed)?;
    String::from_utf8(decoded).map(|token| Some(token.into())).map_err(|_| AuthError::Malformed)
}

/// Compares in a time that does not depend on where the two differ.
pub(crate) fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_are_found() {
        let cases = [
            (Some("Bearer abc"), Some("abc")),
            (Some("bearer  abc "), Some("abc")),
            (Some("Bearer "), None),
            (Some("Basic abc"), None),
            (Some("abc"), None),
            (None, None),
        ];
        for (header, expected) in cases {
            let mut request = http::Request::builder();
            if let Some(header) = header {
                request = request.header(AUTHORIZATION, header);
            }
            let (parts, ()) = request.body(()).expect("a valid request").into_parts();
            assert_eq!(bearer_token(&parts).expect("readable").as_deref(), expected, "{header:?}");
        }
    }

    #[test]
    fn browsers_send_tokens_among_subprotocols() {
        let cases = [
            ("v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj", Ok(Some("abc"))),
            ("v5.channel.k8s.io", Ok(None)),
            ("base64url.bearer.authorization.k8s.io.%%%", Err(())),
        ];
        for (offered, expected) in cases {
            let request = http::Request::builder().header(SEC_WEBSOCKET_PROTOCOL, offered);
            let (parts, ()) = request.body(()).expect("a valid request").into_parts();
            let token = bearer_token(&parts);
            assert_eq!(token.as_ref().map(Option::as_deref).map_err(|_| ()), expected, "{offered}");
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret(b"abc", b"abc"));
        assert!(!same_secret(b"abc", b"abd"));
        assert!(!same_secret(b"abc", b"ab"));
    }
}
