//! What has to be written for the claims of a pod before it is bound.

use super::{
    allocate::{Failure, Limit, allocate},
    allocation_of, binding, consumers, extended,
};
use crate::{framework::Cycle, node_info::NodeInfo};
use k8s_openapi::api::{
    core::v1::ContainerExtendedResourceRequest,
    resource::v1::{AllocationResult, ResourceClaim},
};
use std::sync::Arc;

/// What is done for a claim before its pod is bound: it is allocated, reserved for the pod, and its devices are waited
/// for.
#[derive(Debug, Clone)]
pub struct ClaimPlan {
    pub claim: Arc<ResourceClaim>,
    /// What it gets, when it has nothing yet.
    pub allocation: Option<AllocationResult>,
    /// Of the claim for the pod's extended resources, which is not made yet: which container gets what.
    pub mappings: Option<Vec<ContainerExtendedResourceRequest>>,
}

/// Claims that something has to be done for.
pub type DevicePlan = Vec<ClaimPlan>;

/// For a node that the filters have let through.
pub fn plan(cycle: Cycle<'_>, node: &NodeInfo) -> Result<DevicePlan, Failure> {
    let devices = &cycle.snapshot.catalogue.devices;
    let backed = devices.backs_resources_of(cycle.pod);
    if cycle.pod.device_claims.is_empty() && !backed {
        return Ok(Vec::new());
    }
    let claims = devices.claims_of(cycle.pod).map_err(Failure::Claim)?;
    let special = if backed { devices.special_claim(cycle.pod, node).map_err(Failure::Node)? } else { None };
    let mut open: Vec<Arc<ResourceClaim>> = claims.iter().filter(|c| allocation_of(c).is_none()).cloned().collect();
    open.extend(special.iter().map(|special| special.claim.clone()));
    let allocated = allocate(devices, node, &open, &Limit::none())?;
    let Some(allocated) = allocated else { return Err(Failure::Claim("cannot allocate all claims".to_owned())) };
    let mut allocated = allocated.into_iter();
    let mut plan = Vec::new();
    for claim in claims {
        if allocation_of(&claim).is_none() {
            plan.push(ClaimPlan { claim, allocation: allocated.next(), mappings: None });
        } else if consumers(&claim).all(|uid| uid != &*cycle.pod.uid) || binding::has_conditions(&claim) {
            plan.push(ClaimPlan { claim, allocation: None, mappings: None });
        }
    }
    if let Some(extended::Special { claim, mappings }) = special {
        plan.push(ClaimPlan { claim, allocation: allocated.next(), mappings: Some(mappings) });
    }
    Ok(plan)
}
