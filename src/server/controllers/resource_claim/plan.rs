//! What a pod's claims on devices need, and what an unused claim has left to do. Pure.

use k8s_openapi::{
    api::{
        core::v1::PodResourceClaim,
        resource::v1::{ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::sync::Arc;

/// Says which claim of its pod a generated ResourceClaim is.
pub(super) const POD_CLAIM: &str = "resource.kubernetes.io/pod-claim-name";

/// Kept on claims that the scheduler has allocated.
pub(super) const ALLOCATED: &str = "resource.kubernetes.io/delete-protection";

/// The longest name that leaves room for what the server adds.
const BASE_LONGEST: usize = 57;

/// The ResourceClaim behind a claim of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// The pod's own words.
    Given(String),
    /// Made from a template, and recorded in the pod's status.
    Generated(String),
    /// It was decided that there need be none.
    NotNeeded,
    /// It has to be made from a template, and is not recorded.
    Unrecorded,
    Unknown,
}

pub(crate) fn named(pod: &Pod, claim: &PodResourceClaim) -> Named {
    if let Some(name) = &claim.resource_claim_name {
        return Named::Given(name.clone());
    }
    if claim.resource_claim_template_name.is_none() {
        return Named::Unknown;
    }
    let statuses = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref());
    match statuses.unwrap_or_default().iter().find(|status| status.name == claim.name) {
        None => Named::Unrecorded,
        Some(status) => status.resource_claim_name.clone().map_or(Named::NotNeeded, Named::Generated),
    }
}

pub(crate) fn claims(pod: &Pod) -> &[PodResourceClaim] {
    pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_deref()).unwrap_or_default()
}

/// The claim that the scheduler has made for a pod's extended resources.
pub(crate) fn extended(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?.extended_resource_claim_status.as_ref()?;
    Some(status.resource_claim_name.as_str())
}

/// What has to be done about one claim of a pod.
#[derive(Debug, PartialEq)]
pub(super) enum Need {
    Nothing,
    /// It is there, and the pod's status does not say so.
    Record(String),
    Create(Box<ResourceClaim>),
    /// The template that it should be made from is not there.
    NoTemplate(String),
}

/// `known`: the ResourceClaim that the pod's status names; `own`: those that the pod controls.
pub(super) fn need(
    pod: &Pod,
    claim: &PodResourceClaim,
    known: Option<&ResourceClaim>,
    own: &[Arc<ResourceClaim>],
    template: Option<&ResourceClaimTemplate>,
) -> Need {
    match named(pod, claim) {
        Named::Given(_) | Named::NotNeeded | Named::Unknown => return Need::Nothing,
        Named::Generated(_) if known.is_some_and(|known| is_for(pod, known)) => return Need::Nothing,
        Named::Generated(_) | Named::Unrecorded => {}
    }
    let made_before = own.iter().find(|own| own.annotations().get(POD_CLAIM) == Some(&claim.name));
    if let Some(made_before) = made_before {
        return Need::Record(made_before.name_any());
    }
    match template {
        Some(template) => Need::Create(Box::new(from_template(pod, claim, template))),
        None => Need::NoTemplate(claim.resource_claim_template_name.clone().unwrap_or_default()),
    }
}

fn from_template(pod: &Pod, claim: &PodResourceClaim, template: &ResourceClaimTemplate) -> ResourceClaim {
    let meta = template.spec.metadata.clone().unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(POD_CLAIM.to_owned(), claim.name.clone());
    ResourceClaim {
        metadata: ObjectMeta {
            generate_name: Some(base_name(&pod.name_any(), &claim.name)),
            namespace: pod.namespace(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: template.spec.spec.clone(),
        status: None,
    }
}

/// `POD-CLAIM-`; when that is too long, both are cut in proportion, so that something is left of each.
fn base_name(pod: &str, claim: &str) -> String {
    let whole = format!("{pod}-{claim}-");
    if whole.len() <= BASE_LONGEST {
        return whole;
    }
    // Names are ASCII.
    let cut = |text: &str| text.chars().take(text.len() * BASE_LONGEST / whole.len()).collect::<String>();
    format!("{}-{}", cut(pod), cut(claim))
}

/// Whether the claim was made for this pod.
pub(crate) fn is_for(pod: &Pod, claim: &ResourceClaim) -> bool {
    claim
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == pod.uid().as_ref())
}

pub(crate) fn reserved_for(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

pub(super) fn is_allocated(claim: &ResourceClaim) -> bool {
    claim.status.as_ref().is_some_and(|status| status.allocation.is_some())
}

/// Whether a pod with a node uses a claim without having reserved it: somebody put it there past the scheduler.
pub(super) fn lacks_reservation(pod: &Pod, claim: &ResourceClaim) -> bool {
    is_allocated(claim) && reserved_for(claim).iter().all(|consumer| Some(&consumer.uid) != pod.uid().as_ref())
}

pub(super) fn consumer(pod: &Pod) -> ResourceClaimConsumerReference {
    ResourceClaimConsumerReference {
        api_group: None,
        resource: "pods".to_owned(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
    }
}

/// Whether a pod will not run, or not any more.
pub(super) fn is_done(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let placed = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    matches!(phase, Some("Succeeded" | "Failed")) || (!placed && pod.metadata.deletion_timestamp.is_some())
}

/// The pod that a generated claim was made for: its name and uid.
pub(super) fn owner(claim: &ResourceClaim) -> Option<(&str, &str)> {
    let owners = claim.metadata.owner_references.as_deref().unwrap_or_default();
    let pod =
        |owner: &&OwnerReference| owner.controller == Some(true) && owner.api_version == "v1" && owner.kind == "Pod";
    owners.iter().find(pod).map(|owner| (owner.name.as_str(), owner.uid.as_str()))
}

/// What is done about a claim, in this order.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Its status is written: who still uses it, and whether it stays allocated.
    Status { reserved_for: Vec<ResourceClaimConsumerReference>, allocated: bool },
    /// Nothing is allocated any more: it may go.
    Release,
    /// It was made for a pod that does not need it any more.
    Delete,
}

/// `remaining`: those of its consumers that still are; `orphan`: it was made for a pod that is known not to need it.
pub(super) fn steps(claim: &ResourceClaim, remaining: Vec<ResourceClaimConsumerReference>, orphan: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let finalized = claim.finalizers().iter().any(|finalizer| finalizer == ALLOCATED);
    let unused = remaining.is_empty();
    if remaining.len() < reserved_for(claim).len() {
        // The last consumer has gone: the next one shall not be bound to the first one's devices.
        let allocated = is_allocated(claim) && !(unused && finalized);
        steps.push(Step::Status { reserved_for: remaining, allocated });
        if finalized && !allocated {
            steps.push(Step::Release);
        }
    } else if finalized && unused && claim.metadata.deletion_timestamp.is_some() {
        if is_allocated(claim) {
            steps.push(Step::Status { reserved_for: remaining, allocated: false });
        }
        steps.push(Step::Release);
    }
    if unused && orphan {
        steps.push(Step::Delete);
    }
    steps
}
