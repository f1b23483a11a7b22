//! A certificate authority and the leaves it issues.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::{crypto::ring::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{PkiError, files};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);
const LEAF_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// A leaf is replaced when less than this is left of it.
const RENEW_BEFORE: Duration = Duration::from_secs(120 * 24 * 3600);
/// Clocks of machines that join may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// What a leaf certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Server,
    Client,
}

/// Whom a leaf certificate names.
#[derive(Debug, Clone)]
pub struct Subject {
    /// CN: the user's name.
    pub name: String,
    /// O: the user's groups.
    pub groups: Vec<String>,
    /// Host names and addresses.
    pub sans: Vec<String>,
    pub usage: Usage,
}

/// A certificate and its private key.
#[derive(Debug)]
pub struct Leaf {
    pub cert_pem: String,
    /// PKCS#8.
    pub key_pem: String,
}

impl Leaf {
    pub(super) fn save(&self, dir: &Path, stem: &str) -> Result<(), PkiError> {
        files::write_private(&dir.join(format!("{stem}.key")), self.key_pem.as_bytes())?;
        files::write_public(&dir.join(format!("{stem}.crt")), self.cert_pem.as_bytes())
    }

    /// In the form rustls serves. Fails when the two do not belong together.
    pub fn certified_key(&self) -> Result<CertifiedKey, PkiError> {
        let tls = |error: &dyn std::fmt::Display| PkiError::Tls(error.to_string());
        let chain = CertificateDer::pem_slice_iter(self.cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| tls(&e))?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|e| tls(&e))?;
        let certified = CertifiedKey::new(chain, any_supported_type(&key).map_err(|e| tls(&e))?);
        certified.keys_match().map_err(|e| tls(&e))?;
        Ok(certified)
    }
}

#[derive(Debug)]
pub(super) struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    /// Its own subject, raw: what its leaves carry as issuer.
    subject_raw: Vec<u8>,
    issuer: IssuerWithKey,
}

struct IssuerWithKey(Issuer<'static, KeyPair>);

impl std::fmt::Debug for IssuerWithKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer(..)")
    }
}

impl Authority {
    /// The certificate is written after the key: when it is missing, nothing was ever signed, and both are made anew.
    pub(super) fn load_or_create(dir: &Path, stem: &str, name: &str, now: SystemTime) -> Result<Authority, PkiError> {
        let (cert_path, key_path) = (dir.join(format!("{stem}.crt")), dir.join(format!("{stem}.key")));
        let unusable = |why: String| PkiError::Unusable { path: cert_path.clone(), what: "certificate authority", why };
        match (files::read_if_there(&cert_path)?, files::read_if_there(&key_path)?) {
            (Some(cert_pem), Some(key_pem)) => Authority::load(cert_pem, key_pem).map_err(unusable),
            (Some(_), None) => Err(unusable(format!("its key {} is missing", key_path.display()))),
            (None, _) => {
                let made =
                    make_authority(name, now).map_err(|source| PkiError::Issue { name: name.to_string(), source })?;
                made.save(dir, stem)?;
                Authority::load(made.cert_pem, made.key_pem).map_err(unusable)
            }
        }
    }

    fn load(cert_pem: String, key_pem: String) -> Result<Authority, String> {
        let leaf = Leaf { cert_pem, key_pem };
        leaf.certified_key().map_err(|e| e.to_string())?;
        let key = KeyPair::from_pem(&leaf.key_pem).map_err(|e| e.to_string())?;
        let issuer = Issuer::from_ca_cert_pem(&leaf.cert_pem, key).map_err(|e| e.to_string())?;
        let der = CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes()).map_err(|e| e.to_string())?;
        let subject_raw = {
            let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| e.to_string())?;
            if !parsed.is_ca() {
                return Err("it is not a CA certificate".to_string());
            }
            parsed.subject().as_raw().to_vec()
        };
        Ok(Authority { pem: leaf.cert_pem, der, subject_raw, issuer: IssuerWithKey(issuer) })
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// PKCS#8.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.0.key().serialize_pem()
    }

    /// PKCS#8.
    pub(super) fn key_der(&self) -> Vec<u8> {
        self.issuer.0.key().serialize_der()
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The leaf of the files when it still fits, a new one otherwise.
    pub(super) fn load_or_issue(
        &self,
        dir: &Path,
        stem: &str,
        subject: &Subject,
        now: SystemTime,
    ) -> Result<Leaf, PkiError> {
        let cert_pem = files::read_if_there(&dir.join(format!("{stem}.crt")))?;
        let key_pem = files::read_if_there(&dir.join(format!("{stem}.key")))?;
        if let (Some(cert_pem), Some(key_pem)) = (cert_pem, key_pem) {
            let leaf = Leaf { cert_pem, key_pem };
            if self.accepts(&leaf, subject, now) {
                return Ok(leaf);
            }
        }
        let leaf = self.issue(subject, now)?;
        leaf.save(dir, stem)?;
        Ok(leaf)
    }

    /// The leaf is ours, names this subject, has its key, and lasts for a while.
    pub(super) fn accepts(&self, leaf: &Leaf, subject: &Subject, now: SystemTime) -> bool {
        let Ok(certified) = leaf.certified_key() else { return false };
        let Ok((_, certificate)) = X509Certificate::from_der(&certified.cert[0]) else { return false };
        certificate.issuer().as_raw() == self.subject_raw && names(&certificate, subject) && lasts(&certificate, now)
    }

    pub(super) fn issue(&self, subject: &Subject, now: SystemTime) -> Result<Leaf, PkiError> {
        let failed = |source| PkiError::Issue { name: subject.name.clone(), source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::new(subject.sans.clone()).map_err(failed)?;
        set_validity(&mut params, now, LEAF_VALIDITY);
        params.distinguished_name = rcgen::DistinguishedName::new();
        // One O only: rcgen keeps one value a type, and no identity of ours needs more.
        if let Some(group) = subject.groups.first() {
            params.distinguished_name.push(DnType::OrganizationName, group.as_str());
        }
        params.distinguished_name.push(DnType::CommonName, subject.name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![match subject.usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer.0).map_err(failed)?;
        Ok(Leaf { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn make_authority(name: &str, now: SystemTime) -> Result<Leaf, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, AUTHORITY_VALIDITY);
    params.distinguished_name = rcgen::DistinguishedName::new();
    // The moment makes two authorities' names differ, so that a leaf of an older one is recognised.
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    params.distinguished_name.push(DnType::CommonName, format!("{name}@{nanos}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(Leaf { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, validity: Duration) {
    params.not_before = OffsetDateTime::from(now - CLOCK_SKEW);
    params.not_after = OffsetDateTime::from(now + validity);
}

fn lasts(certificate: &X509Certificate<'_>, now: SystemTime) -> bool {
    let not_before = certificate.validity().not_before.to_datetime();
    let not_after = certificate.validity().not_after.to_datetime();
    not_before <= OffsetDateTime::from(now + DAY) && not_after >= OffsetDateTime::from(now + RENEW_BEFORE)
}

fn names(certificate: &X509Certificate<'_>, subject: &Subject) -> bool {
    let name = certificate.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
    let group = certificate.subject().iter_organization().next().and_then(|o| o.as_str().ok());
    let mut wanted = subject.sans.clone();
    wanted.sort();
    name == Some(&subject.name) && group == subject.groups.first().map(String::as_str) && sans_of(certificate) == wanted
}

fn sans_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let mut names: Vec<String> = extension.value.general_names.iter().filter_map(text_of).collect();
    names.sort();
    names
}

fn text_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_string()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| std::net::Ipv4Addr::from(b).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()),
        },
        _ => None,
    }
}
