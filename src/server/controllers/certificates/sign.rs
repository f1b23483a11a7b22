//! Signs what was approved for Kubernetes' own signers, each of which gives certificates of one kind.

use super::{condition, conditions, has, is_issued, issue::Authority, usages};
use crate::common::{Context, Failure, Result, failure::Doing};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use mk8s_api::signing_request::{
    CLIENT_SIGNER, KUBELET_CLIENT_SIGNER, KUBELET_SERVING_SIGNER, LEGACY_SIGNER, SigningRequest, check_client_usages,
};
use mk8s_client::{
    Informer, Key, Outcome,
    kube::{Api, api::PostParams},
};
use std::time::Duration;

/// Longer than this no certificate lasts, and so long one lasts whose request does not say.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const LIFETIME_MIN: Duration = Duration::from_secs(600);

/// Whether a signer of ours takes the request; `None` for the requests of others.
fn check(signer: &str, asked: &SigningRequest, usages: &[String]) -> Option<Result<(), String>> {
    match signer {
        CLIENT_SIGNER => Some(check_client_usages(usages)),
        KUBELET_CLIENT_SIGNER => Some(asked.check_kubelet_client(usages)),
        KUBELET_SERVING_SIGNER => Some(asked.check_kubelet_serving(usages)),
        LEGACY_SIGNER => Some(Ok(())),
        _ => None,
    }
}

fn lifetime(seconds: Option<i32>) -> Duration {
    let asked = seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    asked.map_or(LIFETIME_MAX, |asked| asked.clamp(LIFETIME_MIN, LIFETIME_MAX))
}

pub(super) async fn sign(
    ctx: &Context,
    requests: &Informer<CertificateSigningRequest>,
    authority: &Authority,
    key: Key,
) -> Result<Outcome> {
    let Some(request) = requests.by_key(&key) else { return Ok(Outcome::Done) };
    let failed = conditions(&request).iter().any(|c| c.type_ == "Failed" && c.status == "True");
    if is_issued(&request) || !has(&request, "Approved") || has(&request, "Denied") || failed {
        return Ok(Outcome::Done);
    }
    let mut written = (*request).clone();
    let status = written.status.get_or_insert_default();
    let asked = SigningRequest::parse(&request.spec.request.0)
        .map_err(|why| Failure::Other(format!("unable to parse csr {:?}: {why}", key.name)))?;
    match check(&request.spec.signer_name, &asked, usages(&request)) {
        None => return Ok(Outcome::Done),
        Some(Err(why)) => {
            let failed = CertificateSigningRequestCondition {
                last_update_time: Some(Time(Timestamp::now())),
                ..condition("Failed", "SignerValidationFailure", why)
            };
            status.conditions.get_or_insert_default().push(failed);
        }
        Some(Ok(())) => {
            let lifetime = lifetime(request.spec.expiration_seconds);
            let pem = authority
                .issue(&asked, usages(&request), lifetime, std::time::SystemTime::now())
                .map_err(|error| Failure::Other(format!("error auto signing csr: {error}")))?;
            status.certificate = Some(ByteString(pem.into_bytes()));
        }
    }
    let api: Api<CertificateSigningRequest> = Api::all(ctx.client.clone());
    let result = api.replace_status(&key.name, &PostParams::default(), &written).await;
    result.map(|_| Outcome::Done).doing(format_args!("error updating signature for csr {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_bounded() {
        let day = Duration::from_secs(24 * 3600);
        for (asked, expected) in
            [(None, LIFETIME_MAX), (Some(86400), day), (Some(1), LIFETIME_MIN), (Some(i32::MAX), LIFETIME_MAX)]
        {
            assert_eq!(lifetime(asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn each_signer_gives_one_kind() {
        let asked = SigningRequest { common_name: "a".into(), ..SigningRequest::default() };
        let usages = ["client auth".to_owned()];
        assert_eq!(check("example.com/a", &asked, &usages), None);
        assert_eq!(check(CLIENT_SIGNER, &asked, &usages), Some(Ok(())));
        assert!(matches!(check(KUBELET_CLIENT_SIGNER, &asked, &usages), Some(Err(_))));
        assert!(matches!(check(KUBELET_SERVING_SIGNER, &asked, &usages), Some(Err(_))));
        assert_eq!(check(LEGACY_SIGNER, &asked, &usages), Some(Ok(())));
    }
}
