//! Devices that have to be made ready after they were allocated: a pod is bound once all conditions that their driver
//! waits for are true, and none that says that it failed.

use super::results_of;
use crate::devices::allocation_of;
use jiff::Timestamp;
use k8s_openapi::{
    api::resource::v1::{AllocatedDeviceStatus, DeviceRequestAllocationResult, ResourceClaim},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::ResourceExt;
use std::time::Duration;

/// Whether the devices of a claim can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Also of a claim without an allocation.
    Waiting,
    /// With what the driver says.
    Failed(String),
}

fn conditions(result: &DeviceRequestAllocationResult) -> &[String] {
    result.binding_conditions.as_deref().unwrap_or_default()
}

/// Whether any device of a claim has to be made ready.
pub fn has_conditions(claim: &ResourceClaim) -> bool {
    results_of(claim).iter().any(|result| !conditions(result).is_empty())
}

pub fn readiness(claim: &ResourceClaim) -> Readiness {
    if allocation_of(claim).is_none() {
        return Readiness::Waiting;
    }
    for result in results_of(claim).iter().filter(|result| !conditions(result).is_empty()) {
        let statuses = claim.status.iter().flat_map(|status| status.devices.iter().flatten());
        let Some(status) = statuses.into_iter().find(|status| is_of(status, result)) else {
            return Readiness::Waiting;
        };
        let is_true = |wanted: &String| {
            let known = status.conditions.iter().flatten().find(|condition| condition.type_ == *wanted);
            known.filter(|condition| condition.status == "True")
        };
        if let Some(failed) = result.binding_failure_conditions.iter().flatten().find_map(is_true) {
            let Condition { reason, message, .. } = failed;
            let claim = claim.name_any();
            return Readiness::Failed(format!(
                "device binding failed: claim={claim}, reason={reason}, message={message:?}"
            ));
        }
        if !conditions(result).iter().all(|wanted| is_true(wanted).is_some()) {
            return Readiness::Waiting;
        }
    }
    Readiness::Ready
}

fn is_of(status: &AllocatedDeviceStatus, result: &DeviceRequestAllocationResult) -> bool {
    status.driver == result.driver && status.pool == result.pool && status.device == result.device
}

/// Whether the devices of a claim have had their time.
pub fn timed_out(claim: &ResourceClaim, timeout: Duration, now: Timestamp) -> bool {
    let since = allocation_of(claim).and_then(|allocation| allocation.allocation_timestamp.as_ref());
    let over = |since: Timestamp| now.duration_since(since).unsigned_abs() > timeout && now > since;
    has_conditions(claim) && since.is_some_and(|since| over(since.0))
}
