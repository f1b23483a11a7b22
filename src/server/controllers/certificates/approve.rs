//! Client certificates of nodes are approved for those who may ask for them: the node itself, which renews, and those who
//! may bring new nodes, which a bootstrap token allows.
//!
//! What Kubernetes' approver does, and one thing more: a new certificate for a name is only approved for the key that the
//! name belongs to.

use super::{
    claim::{self, Claim},
    condition, has, is_issued, usages,
};
use crate::common::{Context, Result, failure::Doing};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    core::v1::Node,
};
use mk8s_api::signing_request::{KUBELET_CLIENT_SIGNER, SigningRequest};
use mk8s_client::{
    Informer, Key, Outcome,
    kube::{Api, api::PostParams},
};

/// Who is recognised in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// The node of whose certificate it is.
    Itself,
    /// Somebody who brings nodes.
    Bootstrapper,
}

impl Asker {
    /// What it needs the right to create.
    fn subresource(self) -> &'static str {
        match self {
            Asker::Itself => "selfnodeclient",
            Asker::Bootstrapper => "nodeclient",
        }
    }

    fn approval(self) -> &'static str {
        match self {
            Asker::Itself => "Auto approving self kubelet client certificate after SubjectAccessReview.",
            Asker::Bootstrapper => "Auto approving kubelet client certificate after SubjectAccessReview.",
        }
    }
}

/// As whom the one who made the request may be recognised, and in which order.
fn recognise(request: &CertificateSigningRequest, asked: &SigningRequest) -> Vec<Asker> {
    let client =
        request.spec.signer_name == KUBELET_CLIENT_SIGNER && asked.check_kubelet_client(usages(request)).is_ok();
    match client {
        false => Vec::new(),
        true if request.spec.username.as_deref() == Some(&asked.common_name) => {
            vec![Asker::Itself, Asker::Bootstrapper]
        }
        true => vec![Asker::Bootstrapper],
    }
}

pub(super) async fn approve(
    ctx: &Context,
    requests: &Informer<CertificateSigningRequest>,
    nodes: &Informer<Node>,
    key: Key,
) -> Result<Outcome> {
    let Some(request) = requests.by_key(&key) else { return Ok(Outcome::Done) };
    if is_issued(&request) || has(&request, "Approved") || has(&request, "Denied") {
        return Ok(Outcome::Done);
    }
    let asked = match SigningRequest::parse(&request.spec.request.0) {
        Ok(asked) => asked,
        Err(why) => {
            tracing::warn!(csr = %key, why, "unable to parse the request");
            return Ok(Outcome::Done);
        }
    };
    let askers = recognise(&request, &asked);
    for asker in &askers {
        if !may(ctx, &request, *asker).await? {
            continue;
        }
        let decided = match (asker, asked.node_name()) {
            (_, None) => return Ok(Outcome::Done),
            (Asker::Itself, Some(node)) => {
                claim::keep(ctx, node, &asked).await?;
                condition("Approved", "AutoApproved", asker.approval())
            }
            (Asker::Bootstrapper, Some(node)) => match claim::claim(ctx, nodes, node, &asked).await? {
                Claim::Refused(why) => condition("Denied", "NodeNameTaken", why),
                _ => condition("Approved", "AutoApproved", asker.approval()),
            },
        };
        return decide(ctx, &request, decided).await;
    }
    // Somebody may still be given the right.
    Ok(if askers.is_empty() { Outcome::Done } else { Outcome::Again })
}

async fn decide(
    ctx: &Context,
    request: &CertificateSigningRequest,
    decided: CertificateSigningRequestCondition,
) -> Result<Outcome> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let mut written = request.clone();
    written.status.get_or_insert_default().conditions.get_or_insert_default().push(decided);
    let api: Api<CertificateSigningRequest> = Api::all(ctx.client.clone());
    let result = api.replace_subresource("approval", name, &PostParams::default(), &written).await;
    result.map(|_| Outcome::Done).doing(format_args!("error updating approval for csr {name}"))
}

/// Asks whether the one who made the request may have such certificates.
async fn may(ctx: &Context, request: &CertificateSigningRequest, asker: Asker) -> Result<bool> {
    let spec = &request.spec;
    let text = |text: &str| Some(text.to_owned());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: text("certificates.k8s.io"),
                resource: text("certificatesigningrequests"),
                verb: text("create"),
                subresource: text(asker.subresource()),
                version: text("*"),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(ctx.client.clone());
    let answer = api.create(&PostParams::default(), &review).await.doing("reviewing the rights of who asks")?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_those_who_bring_them_are_recognised() {
        let asked = SigningRequest {
            common_name: "system:node:a".into(),
            organizations: vec!["system:nodes".into()],
            ..SigningRequest::default()
        };
        let request = |signer: &str, user: &str| {
            let mut request = CertificateSigningRequest::default();
            request.spec.signer_name = signer.into();
            request.spec.username = Some(user.into());
            request.spec.usages = Some(vec!["digital signature".into(), "client auth".into()]);
            request
        };
        let cases = [
            (request(KUBELET_CLIENT_SIGNER, "system:node:a"), vec![Asker::Itself, Asker::Bootstrapper]),
            (request(KUBELET_CLIENT_SIGNER, "system:bootstrap:abcdef"), vec![Asker::Bootstrapper]),
            (request("kubernetes.io/kube-apiserver-client", "system:node:a"), vec![]),
        ];
        for (request, expected) in cases {
            assert_eq!(recognise(&request, &asked), expected);
        }
    }
}
