//! A client over the network, for a machine that has certificates. Which server it talks to is [`crate::servers`]' matter.
//!
//! A client over any other tower service is `kube::Client::new(service, namespace)`; nothing is added to it here.

use crate::servers::{Connector, Servers};
use http::{
    HeaderMap, HeaderValue, Request, Uri,
    header::{AUTHORIZATION, USER_AGENT},
};
use hyper_util::{
    client::legacy::Client as Http,
    rt::{TokioExecutor, TokioTimer},
};
use kube::{Client, client::Body};
use parking_lot::RwLock;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::{fmt::Display, sync::Arc, time::Duration};
use tower::ServiceBuilder;

/// A server that is silent for so long is asked for a sign of life, and given up after as long again.
pub const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// A connection that nobody uses is kept for so long.
const IDLE: Duration = Duration::from_secs(90);

/// The name that every server's certificate carries, whatever address it is reached by. So a server behind another address
/// or a balancer needs no certificate for that.
pub const SERVER_NAME: &str = "kubernetes";

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{server:?} is not an address of a server; write https://host:port")]
    Address { server: String },
    #[error("the {what} cannot be used: {why}")]
    Certificate { what: &'static str, why: String },
}

/// A client certificate with its key, replaceable while connections are made with it: those that come after a
/// replacement show the new one. Clones are the same identity.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Shown>);

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Identity {
    /// # Errors
    /// [`ConnectError::Certificate`] also when the two do not belong together.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Identity, ConnectError> {
        Ok(Identity(Arc::new(Shown(RwLock::new(certified(cert_pem, key_pem)?)))))
    }

    /// # Errors
    /// As [`Identity::from_pem`]; the old certificate stays then.
    pub fn replace(&self, cert_pem: &str, key_pem: &str) -> Result<(), ConnectError> {
        *self.0.0.write() = certified(cert_pem, key_pem)?;
        Ok(())
    }

    /// The TLS side of a connection with this identity to a server whose certificate `ca_pem` signed.
    ///
    /// # Errors
    /// [`ConnectError::Certificate`] when `ca_pem` holds no certificates.
    pub fn tls(&self, ca_pem: &str) -> Result<ClientConfig, ConnectError> {
        let builder = builder()?.with_root_certificates(roots(ca_pem)?);
        Ok(builder.with_client_cert_resolver(self.0.clone()))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(cert_pem: &str, key_pem: &str) -> Result<Arc<CertifiedKey>, ConnectError> {
    let wrong = |why: &dyn Display| unusable("client certificate", why);
    let chain = CertificateDer::pem_slice_iter(cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| wrong(&error))?;
    let key = ring::sign::any_supported_type(&key).map_err(|error| wrong(&error))?;
    let certified = CertifiedKey::new(chain.map_err(|error| wrong(&error))?, key);
    certified.keys_match().map_err(|error| wrong(&error))?;
    Ok(Arc::new(certified))
}

fn unusable(what: &'static str, why: &dyn Display) -> ConnectError {
    ConnectError::Certificate { what, why: why.to_string() }
}

/// A client of a cluster. All its requests and watches share one HTTP/2 connection to one server; when it breaks, the next
/// one is made to whichever server answers.
///
/// # Errors
/// Only what is wrong with the arguments; nothing is connected yet.
pub fn client(
    servers: &Servers,
    ca_pem: &str,
    identity: &Identity,
    program: &'static str,
) -> Result<Client, ConnectError> {
    Ok(over(servers.clone(), identity.tls(ca_pem)?, None, program))
}

/// As [`client`] of one server, `https://host:port`, for who has a token and no certificate yet.
///
/// # Errors
/// As [`client`].
pub fn client_with_token(
    server: &str,
    ca_pem: &str,
    token: &str,
    program: &'static str,
) -> Result<Client, ConnectError> {
    let tls = builder()?.with_root_certificates(roots(ca_pem)?).with_no_client_auth();
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| unusable("token", &error))?;
    Ok(over(Servers::of(server)?, tls, Some(bearer), program))
}

/// As [`client_with_token`], of a server whose CA is not known yet: nothing secret may go there, and nothing that comes from there is
/// to be believed unchecked.
///
/// # Errors
/// As [`client`].
pub fn client_of_anyone(server: &str, program: &'static str) -> Result<Client, ConnectError> {
    Ok(over(Servers::of(server)?, to_anyone(), None, program))
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ConnectError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(|error| unusable("cryptography", &error))
}

fn roots(ca_pem: &str) -> Result<RootCertStore, ConnectError> {
    let wrong = |why: &dyn Display| unusable("cluster's CA certificate", why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    Ok(roots)
}

fn over(servers: Servers, mut tls: ClientConfig, authorization: Option<HeaderValue>, program: &'static str) -> Client {
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let connector = Connector { servers: servers.clone(), tls: Arc::new(tls) };
    let http = Http::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_only(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE)
        .build::<_, Body>(connector);
    let mut headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(program))]);
    headers.extend(authorization.map(|authorization| (AUTHORIZATION, authorization)));
    let addressed = move |mut request: Request<Body>| {
        request.headers_mut().extend(headers.clone());
        *request.uri_mut() = at(request.uri(), servers.turn());
        request
    };
    Client::new(ServiceBuilder::new().map_request(addressed).service(http), "default")
}

/// A request's address. The pool keeps a connection for each host; whoever turns to another server asks another host.
fn at(uri: &Uri, turn: u64) -> Uri {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder()
        .scheme("https")
        .authority(format!("{turn}.{SERVER_NAME}"))
        .path_and_query(path)
        .build()
        .expect("a path of an address is one of another")
}

/// TLS to whoever answers, with no certificate of ours.
pub fn to_anyone() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone::new()))
        .with_no_client_auth()
}

/// Believes every certificate, provided that the other end has its key.
#[derive(Debug)]
pub struct Anyone(CryptoProvider);

impl Anyone {
    #[expect(clippy::new_without_default, reason = "believing anybody is never a default")]
    pub fn new() -> Anyone {
        Anyone(ring::default_provider())
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_replaced_certificate_is_the_one_that_is_shown() {
        let (first, second) = (pair(), pair());
        let identity = Identity::from_pem(&first.0, &first.1).expect("usable");
        let shown = || identity.0.resolve(&[], &[]).expect("a certificate").cert[0].clone();
        let before = shown();
        assert!(identity.replace(&second.0, &first.1).is_err(), "another certificate's key");
        assert_eq!(shown(), before);
        identity.replace(&second.0, &second.1).expect("usable");
        assert_ne!(shown(), before);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_named() {
        let (cert, key) = pair();
        let identity = Identity::from_pem(&cert, &key).expect("usable");
        let cases = [
            ("https://10.0.0.1:6443", cert.as_str(), None),
            ("not a url", &cert, Some("\"not a url\" is not an address of a server; write https://host:port")),
        ];
        for (server, ca, expected) in cases {
            let made = Servers::of(server).and_then(|servers| client(&servers, ca, &identity, "test"));
            assert_eq!(made.err().map(|error| error.to_string()).as_deref(), expected);
        }
    }

    #[test]
    fn a_turn_has_its_own_connection() {
        let path = Uri::from_static("/api/v1/pods?watch=1");
        assert_eq!(at(&path, 3).to_string(), "https://3.kubernetes/api/v1/pods?watch=1");
    }
}
