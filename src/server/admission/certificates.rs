//! CertificateSigningRequests: who may approve and sign for a signer, and what nobody is given a certificate for.

use base64::{Engine, prelude::BASE64_STANDARD};
use mk8s_api::{
    signing_request::{CLIENT_SIGNER, SigningRequest},
    status::Status,
};
use serde_json::Value;

use super::{Context, Operation, Plugin, Request};
use crate::{
    auth::{Attributes, Authorizer, Decision, MASTERS},
    cluster::SERVERS,
};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

/// Approving needs the right to approve for the signer that was asked first.
pub(super) struct Approval;

/// Signing, which is writing certificates and conditions, needs the right to sign for it.
pub(super) struct Signing;

/// Nobody becomes `system:masters`, or a server of the cluster, by the signer of client certificates.
pub(super) struct SubjectRestriction;

impl Plugin for Approval {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        match changed(request, "approval") {
            Some(old) => check(request, object, context, "approve", old),
            None => Ok(()),
        }
    }
}

impl Plugin for Signing {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        let Some(old) = changed(request, "status") else { return Ok(()) };
        let same = |field: &str| mk8s_api::at::same(&old["status"][field], &object["status"][field]);
        if same("certificate") && same("conditions") {
            return Ok(());
        }
        check(request, object, context, "sign", old)
    }
}

impl Plugin for SubjectRestriction {
    fn validate(&self, request: &Request<'_>, object: &Value, _: &Context<'_>) -> Result<(), Status> {
        if !request.creates(GROUP, REQUESTS) || object["spec"]["signerName"] != CLIENT_SIGNER {
            return Ok(());
        }
        let pem = BASE64_STANDARD.decode(object["spec"]["request"].as_str().unwrap_or_default()).unwrap_or_default();
        let forbidden = |why: String| request.forbidden(Some(object), &why);
        let asked = SigningRequest::parse(&pem).map_err(|why| forbidden(format!("failed to parse CSR: {why}")))?;
        match asked.organizations.iter().find(|organization| [MASTERS, SERVERS].contains(&organization.as_str())) {
            Some(group) => Err(forbidden(format!("use of {CLIENT_SIGNER} signer with {group} group is not allowed"))),
            None => Ok(()),
        }
    }
}

/// What was there before an update of this subresource.
fn changed<'a>(request: &Request<'a>, subresource: &str) -> Option<&'a Value> {
    let ours = request.is(GROUP, REQUESTS) && request.subresource == subresource;
    request.old.filter(|_| ours && request.operation == Operation::Update)
}

fn check(request: &Request<'_>, object: &Value, context: &Context<'_>, verb: &str, old: &Value) -> Result<(), Status> {
    let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
    let all_of_domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    let may = |name: &str| {
        let asked = Attributes { name, ..Attributes::for_resource(request.user, verb, GROUP, "signers") };
        context.authorization.authorize(&asked) == Decision::Allow
    };
    match may(signer) || may(&all_of_domain) {
        true => Ok(()),
        false => {
            let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
            Err(request.forbidden(Some(object), &why))
        }
    }
}
