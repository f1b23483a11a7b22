//! Requests are kept for a while after they were decided, and not for ever while they are not.

use super::{conditions, is_issued};
use crate::common::{
    Context,
    failure::{said, unless_gone},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use mk8s_client::{
    Informer,
    kube::{
        Api, ResourceExt,
        api::{DeleteParams, Preconditions},
    },
};
use std::time::Duration;
use x509_parser::pem::parse_x509_pem;

const LOOK_EVERY: Duration = Duration::from_secs(3600);
const DECIDED_KEPT: SignedDuration = SignedDuration::from_hours(1);
const PENDING_KEPT: SignedDuration = SignedDuration::from_hours(24);

pub(super) async fn run(ctx: Context, requests: Informer<CertificateSigningRequest>) {
    let mut clock = tokio::time::interval(LOOK_EVERY);
    while ctx.stop.run_until_cancelled(clock.tick()).await.is_some() {
        let now = Timestamp::now();
        for request in requests.list().iter().filter(|request| is_old(request, now)) {
            let api: Api<CertificateSigningRequest> = Api::all(ctx.client.clone());
            let only = Preconditions { uid: request.uid(), resource_version: None };
            let delete = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
            let name = request.name_any();
            match unless_gone(api.delete(&name, &delete).await) {
                Ok(_) => tracing::debug!(name, "an old certificate signing request is gone"),
                Err(error) => tracing::warn!(name, error = said(&error), "unable to delete CSR"),
            }
        }
    }
}

fn is_old(request: &CertificateSigningRequest, now: Timestamp) -> bool {
    let older = |time: Option<Timestamp>, kept| time.is_some_and(|time| now.duration_since(time) > kept);
    let conditions = conditions(request);
    if conditions.is_empty() {
        return older(request.metadata.creation_timestamp.as_ref().map(|time| time.0), PENDING_KEPT);
    }
    conditions.iter().any(|condition| {
        let since = condition.last_update_time.as_ref().map(|time| time.0);
        match condition.type_.as_str() {
            "Denied" | "Failed" => older(since, DECIDED_KEPT),
            "Approved" if is_issued(request) => older(since, DECIDED_KEPT) || has_expired(request, now),
            "Approved" => older(since, PENDING_KEPT),
            _ => false,
        }
    })
}

fn has_expired(request: &CertificateSigningRequest, now: Timestamp) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    let end = certificate.and_then(|pem| {
        let (_, block) = parse_x509_pem(&pem.0).ok()?;
        Some(block.parse_x509().ok()?.validity().not_after.timestamp())
    });
    end.is_some_and(|end| now.as_second() > end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, one};

    #[test]
    fn old_requests_go() {
        let request = |created: &str, status: &str| -> CertificateSigningRequest {
            one(&format!(
                "{{kind: CertificateSigningRequest, metadata: {{name: a, creationTimestamp: '{created}'}}, \
                 spec: {{request: '', signerName: a/b}}, status: {status}}}"
            ))
        };
        let (today, yesterday) = ("2026-01-01T11:30:00Z", "2025-12-31T11:30:00Z");
        let decided = |kind: &str, at: &str, more: &str| {
            format!("{{conditions: [{{type: {kind}, status: 'True', lastUpdateTime: '{at}'}}]{more}}}")
        };
        let cases = [
            (request(today, "{}"), false),
            (request(yesterday, "{}"), true),
            (request(yesterday, &decided("Approved", today, "")), false),
            (request(yesterday, &decided("Approved", yesterday, "")), true),
            (request(today, &decided("Denied", today, "")), false),
            (request(today, &decided("Denied", "2026-01-01T10:30:00Z", "")), true),
            (request(today, &decided("Approved", "2026-01-01T10:30:00Z", ", certificate: eA==")), true),
            (request(today, &decided("Approved", "2026-01-01T10:30:00Z", "")), false),
        ];
        for (n, (request, expected)) in cases.iter().enumerate() {
            assert_eq!(is_old(request, noon()), *expected, "{n}");
        }
    }
}
