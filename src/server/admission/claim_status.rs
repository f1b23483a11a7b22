//! The status of a ResourceClaim has several owners. Who allocates or reserves needs the right to bind claims; who tells
//! about devices needs the right to speak for their driver, on the claim's node or on all.
//!
//! Those rights are for subresources that nobody requests, `resourceclaims/binding` and `resourceclaims/driver`, and the
//! verbs of the latter begin with `associated-node:` or `arbitrary-node:`.

use std::collections::BTreeSet;

use mk8s_api::{
    at::same,
    field::{FieldError, Path},
    names,
    status::Status,
};
use serde_json::Value;

use super::{Context, Operation, Options, Plugin, Request, stored::items};
use crate::auth::{Attributes, Authorization, Decision, User, Verdict, forbidden};

const GROUP: &str = "resource.k8s.io";
const CLAIMS: &str = "resourceclaims";
/// What the token of a service account tells about its pod.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

pub(super) struct ClaimStatusAuthorization;

impl Plugin for ClaimStatusAuthorization {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        let ours = request.is(GROUP, CLAIMS) && request.subresource == "status";
        let updated = request.old.filter(|_| ours && request.operation == Operation::Update);
        let Some(old) = updated else { return Ok(()) };
        let errors = refusals(request, &object["status"], &old["status"], context.authorization);
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Status::invalid(GROUP, request.kind, request.name_of(Some(object)), errors)),
        }
    }
}

fn refusals(request: &Request<'_>, new: &Value, old: &Value, authorization: &Authorization) -> Vec<FieldError> {
    let path = Path::new("status");
    let verb = match request.options {
        Options::Write(options) if options.is_patch => "patch",
        _ => "update",
    };
    let claims = Attributes { version: request.version, ..Attributes::for_resource(request.user, verb, GROUP, CLAIMS) };
    let mut errors = Vec::new();
    if ["allocation", "reservedFor"].iter().any(|field| !same(&new[*field], &old[*field]))
        && let Some(why) = refusal(authorization, &Attributes { subresource: "binding", ..claims })
    {
        let what = format!(
            "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"{verb}\" permission: {why}"
        );
        errors.push(FieldError::forbidden(&path.child("allocation"), what));
    }
    // What is told about devices goes with the allocation, whoever takes it away.
    if new["allocation"].is_null() {
        return errors;
    }
    let is_there = allocated_node(&new["allocation"]).is_some_and(|node| is_on(request.user, node));
    let places: &[&str] = if is_there { &["associated-node", "arbitrary-node"] } else { &["arbitrary-node"] };
    let verbs: Vec<String> = places.iter().map(|place| format!("{place}:{verb}")).collect();
    for driver in changed_drivers(new, old) {
        let of_driver = Attributes { subresource: "driver", namespace: request.namespace, name: driver, ..claims };
        // One of the verbs is enough.
        let refused: Option<Vec<String>> =
            verbs.iter().map(|verb| refusal(authorization, &Attributes { verb, ..of_driver })).collect();
        if let Some(why) = refused.as_ref().and_then(|reasons| reasons.first()) {
            let what = format!(
                "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{}]\" permission: {why}",
                verbs.join(" ")
            );
            errors.push(FieldError::forbidden(&path.child("devices"), what));
        }
    }
    errors
}

/// Why this may not be; nothing when it may.
fn refusal(authorization: &Authorization, attributes: &Attributes<'_>) -> Option<String> {
    let Verdict { decision, error, .. } = authorization.judge(attributes);
    let reason = match decision {
        Decision::Allow => return None,
        Decision::Deny(reason) | Decision::NoOpinion(reason) => reason,
    };
    let why = match error {
        None => reason,
        Some(error) if reason.is_empty() => error,
        Some(error) => format!("{error}: {reason}"),
    };
    Some(forbidden(attributes, &why).message)
}

/// Of which drivers something is told that was not, or is not told any more.
fn changed_drivers<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let (new, old) = (items(&new["devices"]), items(&old["devices"]));
    let missing = |device: &&Value, from: &[Value]| !from.iter().any(|other| same(device, other));
    let added = new.iter().filter(|device| missing(device, old));
    let removed = old.iter().filter(|device| missing(device, new));
    added.chain(removed).filter_map(|device| device["driver"].as_str()).collect()
}

/// The node of an allocation, when it is for exactly one.
fn allocated_node(allocation: &Value) -> Option<&str> {
    let [term] = items(&allocation["nodeSelector"]["nodeSelectorTerms"]) else { return None };
    let [field] = items(&term["matchFields"]) else { return None };
    let [node] = items(&field["values"]) else { return None };
    let is_named = field["key"] == "metadata.name" && field["operator"] == "In";
    node.as_str().filter(|_| is_named && items(&term["matchExpressions"]).is_empty())
}

/// Whether this is a service account of a pod on the node.
fn is_on(user: &User, node: &str) -> bool {
    let told = user.extra.get(NODE_NAME).map(Vec::as_slice);
    let same_node = matches!(told, Some([name]) if name == node);
    same_node && user.service_account().is_some() && names::dns1123_subdomain(node).is_empty()
}
