//! A certificate for a request: the subject, the key and the names that were asked for, as they were encoded.
//!
//! What Kubernetes' `authority` package makes: everything else that a request carries is left out, and no certificate
//! outlives its authority.

use mk8s_api::signing_request::SigningRequest;
use rcgen::{KeyPair, SigningKey};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
use yasna::{
    DERWriter, Tag, construct_der,
    models::{GeneralizedTime, ObjectIdentifier, UTCTime},
};

/// Clocks of others may be behind.
const BACKDATE: Duration = Duration::from_secs(300);
/// Certificates that live shorter than this are not ended earlier for having begun earlier.
const SHORT: Duration = Duration::from_secs(8 * 3600);

const EXTENSIONS: u64 = 3;
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];

/// What certificates are signed with. It has signed itself.
pub(super) struct Authority {
    key: KeyPair,
    subject_der: Vec<u8>,
    key_id: Option<Vec<u8>>,
    /// How its key signs, as it is written in certificates.
    algorithm_der: Vec<u8>,
    end: OffsetDateTime,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error("the authority's certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the authority's key cannot be used: {0}")]
    Key(#[from] rcgen::Error),
    #[error("unrecognized usage values: {0:?}")]
    Usage(Vec<String>),
    #[error("the signer has expired: NotAfter={0}")]
    Expired(OffsetDateTime),
}

impl Authority {
    pub(super) fn new(cert_pem: &str, key_pem: &str) -> Result<Authority, IssueError> {
        let wrong = |why: String| IssueError::Certificate(why);
        let (_, block) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).map_err(|e| wrong(e.to_string()))?;
        let (_, certificate) = X509Certificate::from_der(&block.contents).map_err(|e| wrong(e.to_string()))?;
        let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let algorithm = &certificate.signature_algorithm;
        let algorithm_der = construct_der(|writer| {
            writer.write_sequence(|writer| {
                let oid: Vec<u64> = algorithm.algorithm.iter().map(Iterator::collect).unwrap_or_default();
                writer.next().write_oid(&ObjectIdentifier::from_slice(&oid));
                // Algorithms of elliptic curves have no parameters, those of RSA have a null.
                if algorithm.parameters.is_some() {
                    writer.next().write_null();
                }
            });
        });
        Ok(Authority {
            key: KeyPair::from_pem(key_pem)?,
            subject_der: certificate.subject().as_raw().to_vec(),
            key_id,
            algorithm_der,
            end: certificate.validity().not_after.to_datetime(),
        })
    }

    /// The certificate, in PEM.
    pub(super) fn issue(
        &self,
        asked: &SigningRequest,
        usages: &[String],
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, IssueError> {
        let now = OffsetDateTime::from(now);
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let begin = now - BACKDATE;
        let end = if lifetime < SHORT { now + lifetime } else { begin + lifetime };
        if now >= self.end {
            return Err(IssueError::Expired(self.end));
        }
        let usage = Usages::of(usages)?;
        let body = construct_der(|writer| self.write_body(writer, asked, &usage, (begin, end.min(self.end))));
        let signature = self.key.sign(&body)?;
        let whole = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&body);
                writer.next().write_der(&self.algorithm_der);
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        Ok(pem::encode_config(
            &pem::Pem::new("CERTIFICATE", whole),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        ))
    }

    fn write_body(
        &self,
        writer: DERWriter<'_>,
        asked: &SigningRequest,
        usages: &Usages,
        (begin, end): (OffsetDateTime, OffsetDateTime),
    ) {
        writer.write_sequence(|writer| {
            writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            writer.next().write_bigint_bytes(&rand::random::<[u8; 16]>(), true);
            writer.next().write_der(&self.algorithm_der);
            writer.next().write_der(&self.subject_der);
            writer.next().write_sequence(|writer| {
                write_time(writer.next(), begin);
                write_time(writer.next(), end);
            });
            writer.next().write_der(&asked.subject_der);
            writer.next().write_der(&asked.public_key_der);
            writer.next().write_tagged(Tag::context(EXTENSIONS), |writer| {
                writer.write_sequence(|writer| {
                    let mut extension = |oid: &[u64], critical: bool, value: Vec<u8>| {
                        write_extension(writer.next(), oid, critical, &value);
                    };
                    if usages.bits != 0 {
                        extension(KEY_USAGE, true, usages.bits_der());
                    }
                    if !usages.extended.is_empty() {
                        extension(EXTENDED_KEY_USAGE, false, usages.extended_der());
                    }
                    extension(BASIC_CONSTRAINTS, true, construct_der(|writer| writer.write_sequence(|_| ())));
                    if let Some(id) = &self.key_id {
                        extension(AUTHORITY_KEY, false, authority_key(id));
                    }
                    if let Some(names) = alternative_names(asked) {
                        // Whoever has no subject is told apart by these names alone.
                        extension(SUBJECT_ALT_NAME, asked.subject_der.len() <= 2, names);
                    }
                });
            });
        });
    }
}

/// Years from 2050 on need the longer form.
fn write_time(writer: DERWriter<'_>, time: OffsetDateTime) {
    match UTCTime::from_datetime_opt(time) {
        Some(short) => writer.write_utctime(&short),
        None => writer.write_generalized_time(&GeneralizedTime::from_datetime(time)),
    }
}

fn write_extension(writer: DERWriter<'_>, oid: &[u64], critical: bool, value: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

fn authority_key(id: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(id));
        });
    })
}

fn alternative_names(asked: &SigningRequest) -> Option<Vec<u8>> {
    let texts = |tag: u64, names: &[String]| -> Vec<(u64, Vec<u8>)> {
        names.iter().map(|name| (tag, name.clone().into_bytes())).collect()
    };
    let mut names = texts(2, &asked.dns_names);
    names.extend(texts(1, &asked.emails));
    names.extend(asked.ip_addresses.iter().map(|address| (7, address.clone())));
    names.extend(texts(6, &asked.uris));
    (!names.is_empty()).then(|| {
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                for (tag, bytes) in &names {
                    writer.next().write_tagged_implicit(Tag::context(*tag), |writer| writer.write_bytes(bytes));
                }
            });
        })
    })
}

/// What a certificate may be used for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Usages {
    /// Bit `n` of X.509's KeyUsage is bit `n` here.
    bits: u16,
    /// In the order of Go's constants, each once.
    extended: Vec<&'static [u64]>,
}

impl Usages {
    fn of(usages: &[String]) -> Result<Usages, IssueError> {
        let mut out = Usages::default();
        let mut unknown = Vec::new();
        let mut extended = Vec::new();
        for usage in usages {
            if let Some(bit) = key_usage(usage) {
                out.bits |= 1 << bit;
            } else if let Some(known) = extended_usage(usage) {
                extended.push(known);
            } else {
                unknown.push(usage.clone());
            }
        }
        extended.sort_unstable();
        extended.dedup();
        out.extended = extended.into_iter().map(|(_, oid)| oid).collect();
        if unknown.is_empty() { Ok(out) } else { Err(IssueError::Usage(unknown)) }
    }

    fn bits_der(&self) -> Vec<u8> {
        // The first bit is the highest of the first byte; bits behind the last that is set are not written.
        let reversed = self.bits.reverse_bits().to_be_bytes();
        let length = 16 - self.bits.leading_zeros() as usize;
        construct_der(|writer| writer.write_bitvec_bytes(&reversed[..length.div_ceil(8)], length))
    }

    fn extended_der(&self) -> Vec<u8> {
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                for oid in &self.extended {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                }
            });
        })
    }
}

fn key_usage(usage: &str) -> Option<u32> {
    Some(match usage {
        "signing" | "digital signature" => 0,
        "content commitment" => 1,
        "key encipherment" => 2,
        "data encipherment" => 3,
        "key agreement" => 4,
        "cert sign" => 5,
        "crl sign" => 6,
        "encipher only" => 7,
        "decipher only" => 8,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<(u8, &'static [u64])> {
    Some(match usage {
        "any" => (0, &[2, 5, 29, 37, 0]),
        "server auth" => (1, &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
        "client auth" => (2, &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
        "code signing" => (3, &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
        "email protection" | "s/mime" => (4, &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
        "ipsec end system" => (5, &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
        "ipsec tunnel" => (6, &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
        "ipsec user" => (7, &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
        "timestamping" => (8, &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
        "ocsp signing" => (9, &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
        "microsoft sgc" => (10, &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc" => (11, &[2, 16, 840, 1, 113_730, 4, 1]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, Issuer, PKCS_ECDSA_P256_SHA256, string::Ia5String};

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn authority(end: OffsetDateTime) -> (Authority, Vec<u8>) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "ca");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = end;
        let certificate = params.self_signed(&key).expect("signed");
        let _ = Issuer::from_ca_cert_pem(&certificate.pem(), &key).expect("an authority");
        let authority = Authority::new(&certificate.pem(), &key.serialize_pem()).expect("usable");
        (authority, certificate.der().to_vec())
    }

    fn request() -> SigningRequest {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, "system:node:a");
        let name = Ia5String::try_from("a.example.com").expect("ASCII");
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name), rcgen::SanType::IpAddress([10, 0, 0, 1].into())];
        let pem = params.serialize_request(&key).expect("a request").pem().expect("PEM");
        SigningRequest::parse(pem.as_bytes()).expect("a request")
    }

    const YEAR_2100: i64 = 4_102_444_800;

    #[test]
    fn what_was_asked_for_is_certified() {
        let (authority, ca) = authority(OffsetDateTime::from_unix_timestamp(YEAR_2100).expect("a time"));
        let asked = request();
        assert_eq!(
            (asked.common_name.as_str(), asked.organizations.as_slice()),
            ("system:node:a", &texts(&["system:nodes"])[..])
        );
        let usages = texts(&["server auth", "digital signature", "key encipherment", "client auth"]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let pem = authority.issue(&asked, &usages, Duration::from_secs(3600), now).expect("a certificate");
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
        let certificate = block.parse_x509().expect("a certificate");
        let (_, ca) = X509Certificate::from_der(&ca).expect("the authority's");
        certificate.verify_signature(Some(ca.public_key())).expect("signed by the authority");
        assert_eq!(certificate.subject().as_raw(), asked.subject_der);
        assert_eq!(certificate.public_key().raw, asked.public_key_der);
        assert_eq!(certificate.issuer().as_raw(), ca.subject().as_raw());
        assert_eq!(certificate.validity().not_before.timestamp(), 1_800_000_000 - 300);
        assert_eq!(certificate.validity().not_after.timestamp(), 1_800_003_600);
        assert!(!certificate.is_ca());
        let usage = certificate.key_usage().expect("readable").expect("there").value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        let extended = certificate.extended_key_usage().expect("readable").expect("there").value;
        assert!(extended.server_auth && extended.client_auth && !extended.any);
        let names = certificate.subject_alternative_name().expect("readable").expect("there");
        assert_eq!(names.value.general_names.len(), 2);
        assert!(!names.critical);
    }

    #[test]
    fn nothing_outlives_the_authority() {
        let (authority, _) = authority(OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time"));
        let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_799_990_000);
        let year = Duration::from_secs(365 * 24 * 3600);
        let pem = authority.issue(&request(), &texts(&["client auth"]), year, before).expect("a certificate");
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
        assert_eq!(block.parse_x509().expect("a certificate").validity().not_after.timestamp(), 1_800_000_000);
        let after = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert!(matches!(
            authority.issue(&request(), &texts(&["client auth"]), year, after),
            Err(IssueError::Expired(_))
        ));
    }

    #[test]
    fn usages_are_bits_and_purposes() {
        let bits = |list: &[&str]| Usages::of(&texts(list)).expect("known").bits_der();
        assert_eq!(bits(&["digital signature", "key encipherment"]), [3, 2, 5, 0xa0]);
        assert_eq!(bits(&["decipher only"]), [3, 3, 7, 0, 0x80]);
        let sorted = Usages::of(&texts(&["s/mime", "client auth", "email protection"])).expect("known");
        assert_eq!(sorted.extended.len(), 2);
        assert!(matches!(Usages::of(&texts(&["odd"])), Err(IssueError::Usage(odd)) if odd == ["odd"]));
    }
}
