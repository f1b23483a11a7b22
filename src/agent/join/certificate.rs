//! A node's client certificate: asked for by a CertificateSigningRequest, and again long before it ends.

use super::{failure::JoinError, server::ANSWER_WITHIN};
use crate::Identity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use mk8s_api::signing_request::{KUBELET_CLIENT_SIGNER, NODE_PREFIX, NODES};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::{future::Future, time::Duration};

/// How long to wait for a certificate, and how often to look.
const SIGNED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) cert_pem: String,
    pub(super) key_pem: String,
    name: String,
    begin: Timestamp,
    end: Timestamp,
}

impl Certificate {
    /// `None` when this is no certificate.
    pub(super) fn read(cert_pem: String, key_pem: String) -> Option<Certificate> {
        let (_, block) = x509_parser::pem::parse_x509_pem(cert_pem.as_bytes()).ok()?;
        let certificate = block.parse_x509().ok()?;
        let name = certificate.subject().iter_common_name().last()?.as_str().ok()?.to_owned();
        let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        let (begin, end) = (time(certificate.validity().not_before)?, time(certificate.validity().not_after)?);
        Some(Certificate { cert_pem, key_pem, name, begin, end })
    }

    pub(super) fn is_of(&self, node_name: &str) -> bool {
        self.name.strip_prefix(NODE_PREFIX) == Some(node_name)
    }

    pub(super) fn is_good_now(&self) -> bool {
        let now = Timestamp::now();
        self.begin <= now && now < self.end && self.identity().is_ok()
    }

    pub(super) fn identity(&self) -> Result<Identity, JoinError> {
        Ok(Identity::from_pem(&self.cert_pem, &self.key_pem)?)
    }

    /// The time until two thirds of its life are over; at most a day, since clocks are set and machines sleep.
    pub(super) fn renew_in(&self, now: Timestamp) -> Duration {
        let life = self.end.duration_since(self.begin);
        let due = self.begin + SignedDuration::from_secs(life.as_secs() / 3 * 2);
        let wait = Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO);
        wait.min(Duration::from_secs(24 * 3600))
    }
}

pub(super) fn new_key() -> Result<String, JoinError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem())
}

/// Asks for a certificate for this node and this key, and waits for it.
pub(super) async fn ask(
    client: &Client,
    server: &str,
    node_name: &str,
    key_pem: String,
) -> Result<Certificate, JoinError> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let request = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("node-csr-".into()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request_pem(node_name, &key_pem)?.into_bytes()),
            signer_name: KUBELET_CLIENT_SIGNER.into(),
            usages: Some(vec!["digital signature".into(), "client auth".into()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let made = within(server, api.create(&PostParams::default(), &request)).await?;
    let name = made.name_any();
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < SIGNED_WITHIN {
        let seen = within(server, api.get(&name)).await?;
        if let Some(found) = outcome(&seen) {
            let cert_pem = found?;
            let no_answer =
                || JoinError::NoAnswer { server: server.into(), why: "the certificate cannot be read".into() };
            return Certificate::read(cert_pem, key_pem).ok_or_else(no_answer);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(JoinError::NotSigned { name, seconds: SIGNED_WITHIN.as_secs() })
}

async fn within<T>(server: &str, asked: impl Future<Output = kube::Result<T>>) -> Result<T, JoinError> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, asked).await;
    let answer = answer.map_err(|_| JoinError::Silent { server: server.into(), seconds: ANSWER_WITHIN.as_secs() })?;
    answer.map_err(|error| JoinError::of(server, error))
}

/// The certificate or the refusal, once there is one.
fn outcome(request: &CertificateSigningRequest) -> Option<Result<String, JoinError>> {
    let status = request.status.as_ref()?;
    let refused = status.conditions.iter().flatten().find(|c| matches!(c.type_.as_str(), "Denied" | "Failed"));
    if let Some(refused) = refused {
        let why = refused.message.clone().filter(|why| !why.is_empty());
        return Some(Err(JoinError::Denied(why.unwrap_or_else(|| {
            let (name, reason) = (request.name_any(), refused.reason.as_deref().unwrap_or_default());
            format!("the request {name} for a certificate was refused: {reason}")
        }))));
    }
    let certificate = status.certificate.as_ref().filter(|certificate| !certificate.0.is_empty())?;
    Some(Ok(String::from_utf8_lossy(&certificate.0).into_owned()))
}

fn request_pem(node_name: &str, key_pem: &str) -> Result<String, JoinError> {
    let key = KeyPair::from_pem(key_pem)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, NODES);
    params.distinguished_name.push(DnType::CommonName, format!("{NODE_PREFIX}{node_name}"));
    Ok(params.serialize_request(&key)?.pem()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mk8s_api::signing_request::SigningRequest;
    use serde_json::json;

    #[test]
    fn requests_are_those_of_nodes() {
        let pem = request_pem("a", &new_key().expect("a key")).expect("a request");
        let request = SigningRequest::parse(pem.as_bytes()).expect("a request");
        let usages = ["digital signature".to_owned(), "client auth".to_owned()];
        assert_eq!(request.check_kubelet_client(&usages), Ok(()));
        assert_eq!(request.node_name(), Some("a"));
    }

    #[test]
    fn certificates_are_renewed_in_time() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let certificate = Certificate {
            cert_pem: String::new(),
            key_pem: String::new(),
            name: "system:node:a".into(),
            begin: time("2026-01-01T00:00:00Z"),
            end: time("2026-01-01T03:00:00Z"),
        };
        assert!(certificate.is_of("a") && !certificate.is_of("b"));
        assert_eq!(certificate.renew_in(time("2026-01-01T01:00:00Z")), Duration::from_secs(3600));
        assert_eq!(certificate.renew_in(time("2026-01-01T02:00:00Z")), Duration::ZERO);
        assert_eq!(certificate.renew_in(time("2026-01-01T05:00:00Z")), Duration::ZERO);
        assert_eq!(certificate.renew_in(time("2025-01-01T05:00:00Z")), Duration::from_secs(24 * 3600));
    }

    #[test]
    fn a_request_ends_in_a_certificate_or_a_refusal() {
        let seen = |status: serde_json::Value| {
            let object =
                json!({"metadata": {"name": "x"}, "spec": {"request": "", "signerName": "a/b"}, "status": status});
            outcome(&serde_json::from_value(object).expect("a request"))
                .map(|found| found.map_err(|why| why.to_string()))
        };
        assert_eq!(seen(json!({})), None);
        assert_eq!(seen(json!({"conditions": [{"type": "Approved", "status": "True"}]})), None);
        assert_eq!(seen(json!({"certificate": "eA=="})), Some(Ok("x".into())));
        let denied = json!({"conditions": [{"type": "Denied", "status": "True", "message": "no"}]});
        assert_eq!(seen(denied), Some(Err("no".into())));
    }
}
