//! How long a pod may stay with the devices that its claims have.

use crate::{
    common::pods,
    resource_claim::{Named, claims, is_for, named, reserved_for},
    taint_eviction::Fate,
};
use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{
    DeviceRequestAllocationResult, DeviceTaint, ResourceClaim, ResourceSlice, ResourceSliceSpec,
};
use mk8s_api::device_taints::tolerates;
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::sync::Arc;

/// Where slices and claims meet: `driver/pool`.
pub(super) fn pool_of(spec: &ResourceSliceSpec) -> String {
    format!("{}/{}", spec.driver, spec.pool.name)
}

pub(super) fn pool_of_device(device: &DeviceRequestAllocationResult) -> String {
    format!("{}/{}", device.driver, device.pool)
}

/// The devices that were allocated for a claim.
pub(super) fn devices(claim: &ResourceClaim) -> &[DeviceRequestAllocationResult] {
    let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
    let results = allocation.and_then(|allocation| allocation.devices.as_ref()?.results.as_deref());
    results.unwrap_or_default()
}

/// Whether any device of a slice sends pods away.
pub(super) fn evicts(slice: &ResourceSlice) -> bool {
    slice.spec.devices.iter().flatten().any(|device| device.taints.iter().flatten().any(is_evicting))
}

fn is_evicting(taint: &DeviceTaint) -> bool {
    taint.effect == "NoExecute"
}

/// The claims that a pod has and may use, of those that `get` knows by name.
pub(super) fn used(pod: &Pod, get: impl Fn(&str) -> Option<Arc<ResourceClaim>>) -> Vec<Arc<ResourceClaim>> {
    let claim_of = |claim| match named(pod, claim) {
        Named::Given(name) => get(&name),
        Named::Generated(name) => get(&name).filter(|claim| is_for(pod, claim)),
        Named::NotNeeded | Named::Unrecorded | Named::Unknown => None,
    };
    // Reserved for another pod: this one does not run with it.
    let reserved = |claim: &Arc<ResourceClaim>| {
        reserved_for(claim).iter().any(|user| Some(&user.uid) == pod.metadata.uid.as_ref())
    };
    claims(pod).iter().filter_map(claim_of).filter(reserved).collect()
}

/// The first taint to run out decides. `slices`: all of the pools that the claims have devices of.
pub(super) fn fate(pod: &Pod, claims: &[Arc<ResourceClaim>], slices: &[Arc<ResourceSlice>], now: Timestamp) -> Fate {
    if !pods::is_active(pod) || pods::node(pod).is_empty() {
        return Fate::Stay;
    }
    let allocated = claims.iter().flat_map(|claim| devices(claim));
    let fates = allocated.flat_map(|device| taints(device, slices).map(|taint| fate_by(taint, device, now)));
    fates.fold(Fate::Stay, Fate::sooner)
}

/// What sends pods away from a device, by the newest generation of its pool.
fn taints<'s>(
    device: &DeviceRequestAllocationResult,
    slices: &'s [Arc<ResourceSlice>],
) -> impl Iterator<Item = &'s DeviceTaint> + use<'s> {
    let pool = pool_of_device(device);
    let of_pool = slices.iter().map(|slice| &slice.spec).filter(|spec| pool_of(spec) == pool);
    let newest = of_pool.clone().map(|spec| spec.pool.generation).max();
    let mut newest = of_pool.filter(|spec| Some(spec.pool.generation) == newest).collect::<Vec<_>>().into_iter();
    let name = device.device.clone();
    let known = newest.find_map(|spec| spec.devices.iter().flatten().find(|known| known.name == name));
    known.into_iter().flat_map(|device| device.taints.iter().flatten()).filter(|taint| is_evicting(taint))
}

/// What one taint does to who uses the device. A toleration that is no longer for ever ends with the shortest time.
fn fate_by(taint: &DeviceTaint, device: &DeviceRequestAllocationResult, now: Timestamp) -> Fate {
    let tolerations = device.tolerations.iter().flatten().filter(|toleration| tolerates(toleration, taint));
    // Seconds belong to the effect that they name.
    let seconds: Vec<Option<i64>> = tolerations
        .map(|toleration| toleration.toleration_seconds.filter(|_| toleration.effect.as_deref() == Some("NoExecute")))
        .collect();
    if seconds.contains(&None) {
        return Fate::Stay;
    }
    match seconds.into_iter().flatten().min() {
        None => Fate::Leave,
        // The server gives every taint a time; one of before that is as old as its slice can be.
        Some(seconds) => Fate::after(taint.time_added.as_ref().map_or(Timestamp::MIN, |time| time.0), seconds, now),
    }
}

/// The pods that a claim is reserved for, as far as they are pods of the core.
pub(super) fn users(claim: &ResourceClaim) -> impl Iterator<Item = &str> {
    let is_pod = |resource: &str, group: Option<&str>| resource == "pods" && group.is_none_or(str::is_empty);
    let pods = reserved_for(claim).iter().filter(move |user| is_pod(&user.resource, user.api_group.as_deref()));
    pods.map(|user| user.name.as_str())
}

/// Whether two versions of a claim say the same to whoever evicts.
pub(super) fn same(one: &ResourceClaim, other: &ResourceClaim) -> bool {
    one.uid() == other.uid() && reserved_for(one) == reserved_for(other) && devices(one) == devices(other)
}
