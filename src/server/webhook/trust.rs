//! Whom a call trusts: the certificates of a bundle, those of the system, or whoever answers.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use mk8s_client::connect::Anyone;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    server::ParsedCertificate,
    sign::SingleCertAndKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{endpoint::Endpoint, error::CallError};

/// The certificates that the machine trusts, read once.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
});

/// The TLS side of calls to an endpoint.
pub(super) fn config(endpoint: &Endpoint) -> Result<ClientConfig, CallError> {
    let refused = |error: &dyn std::fmt::Display| CallError::Configuration(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match endpoint.insecure {
        true => Arc::new(Anyone::new()),
        false => Arc::new(Bundle::new(&endpoint.ca_bundle, &provider)?),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &endpoint.identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key.clone()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusts what a bundle's certificates have signed, and these certificates themselves: a server may show the very
/// certificate that it is trusted by, although that is one of an authority.
#[derive(Debug)]
struct Bundle {
    signed: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Bundle {
    fn new(pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Bundle, CallError> {
        let (roots, certificates) = match pem.is_empty() {
            true => (SYSTEM.clone(), Vec::new()),
            false => {
                let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
                let mut roots = RootCertStore::empty();
                let (usable, _) = roots.add_parsable_certificates(certificates.iter().cloned());
                if usable == 0 {
                    let why = "unable to load root certificates: unable to parse bytes as PEM block";
                    return Err(CallError::Configuration(why.into()));
                }
                (roots, certificates)
            }
        };
        let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| CallError::Configuration(format!("the system trusts no certificates: {error}")))?;
        Ok(Bundle { signed, certificates })
    }

    fn accepts_itself(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.certificates.iter().any(|known| known == shown) {
            return Ok(false);
        }
        let (_, certificate) =
            X509Certificate::from_der(shown).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let validity = certificate.validity();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        Ok(true)
    }
}

impl ServerCertVerifier for Bundle {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(why) if !matches!(why, Error::InvalidCertificate(CertificateError::NotValidForName)) => {
                match self.accepts_itself(end_entity, server_name, now)? {
                    true => Ok(ServerCertVerified::assertion()),
                    false => Err(why),
                }
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// Why a handshake failed, in the words that Go's clients made known.
pub(super) fn explain(error: &io::Error, host: &str) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let x509 = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match tls {
        Some(Error::InvalidCertificate(why)) => match why {
            // Somebody of the same name signed it, or somebody unknown.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                x509("certificate signed by unknown authority")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                x509("certificate has expired or is not yet valid")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                x509("certificate has expired or is not yet valid")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                x509(&format!("certificate is not valid for {host}"))
            }
            other => x509(&format!("{other:?}")),
        },
        Some(other) => format!("tls: {other}"),
        None => error.to_string(),
    }
}
