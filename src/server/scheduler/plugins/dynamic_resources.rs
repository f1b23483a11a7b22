//! The devices that a pod's claims ask for must be there: allocated where the node can reach them, or free on the node. So
//! must be those of extended resources that device classes stand behind.

use crate::{
    change::{Change, Subject},
    devices::{
        self, Devices,
        allocate::{Failure, Limit, allocate},
        allocation_of,
        binding::{self, Readiness},
        consumers, extended, requests_of, results_of,
    },
    events::Events,
    framework::*,
    node_choice::selects,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use k8s_openapi::api::resource::v1::{DeviceRequestAllocationResult, ResourceClaim};
use std::{sync::Arc, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicResources {
    /// Bounds the search for devices, as [`Limit::of_time`] takes it.
    pub filter_timeout: Duration,
    /// How long allocated devices may take to be ready.
    pub binding_timeout: Duration,
}

impl Default for DynamicResources {
    fn default() -> Self {
        Self { filter_timeout: Duration::from_secs(10), binding_timeout: Duration::from_secs(600) }
    }
}

/// A claim has so many users at most.
const CONSUMERS_MAX: usize = 256;

/// The best of a request's alternatives counts so much, the next one less.
const ALTERNATIVES_MAX: usize = 8;

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED
            | Events::NODE_LABELS
            | Events::NODE_ALLOCATABLE
            | Events::RESOURCE_CLAIM
            | Events::DEVICE_CLASS
            | Events::RESOURCE_SLICE
            | Events::POD_CLAIMS
    }
    fn helps(&self, pod: &PodFacts, change: &Change, snapshot: &Snapshot) -> bool {
        let devices = &snapshot.catalogue.devices;
        match &change.subject {
            Subject::ResourceClaim(pair) => {
                let Ok(own) = devices.claims_of(pod) else { return false };
                let had = pair.old.as_ref().is_some_and(|old| allocation_of(old).is_some());
                let Some(new) = &pair.new else {
                    return had || pair.old.as_ref().is_some_and(|old| extended::pod_of(old) == Some(&pod.uid));
                };
                had && allocation_of(new).is_none()
                    || own.iter().any(|claim| claim.metadata.uid == new.metadata.uid)
                        && pair.old.as_ref().is_none_or(|old| old.status != new.status)
            }
            Subject::Itself(_) => devices.claims_of(pod).is_ok(),
            _ => true,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        if !wants_devices(cycle) {
            return Prepared::Skip;
        }
        match Wanted::of(cycle, self) {
            Ok(wanted) if wanted.is_nothing() => Prepared::Skip,
            Ok(wanted) => Prepared::Ask(Box::new(wanted)),
            Err(why) => Prepared::Reject(Rejection::unresolvable(why)),
        }
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        if cycle.pod.device_claims.is_empty() {
            return None;
        }
        let wanted = Wanted::of(cycle, self).ok()?;
        let mut requests = wanted.open.iter().flat_map(|claim| requests_of(claim));
        let chooses = requests.any(|request| request.first_available.as_ref().is_some_and(|one| !one.is_empty()));
        chooses.then(|| Box::new(wanted) as Box<dyn Score + 'a>)
    }
}

/// Whether a pod asks for devices.
pub fn wants_devices(cycle: Cycle<'_>) -> bool {
    !cycle.pod.device_claims.is_empty() || cycle.snapshot.catalogue.devices.backs_resources_of(cycle.pod)
}

struct Wanted<'a> {
    cycle: Cycle<'a>,
    devices: &'a Devices,
    /// Where they can be reached and whether they are ready has to be looked at.
    allocated: Vec<Arc<ResourceClaim>>,
    /// They have no devices yet.
    open: Vec<Arc<ResourceClaim>>,
    /// Whether a claim for extended resources is needed on nodes without a device plugin for them.
    backed: bool,
    /// What the allocated claims count for on every node.
    score: i64,
    limit: Limit,
    plugin: &'a DynamicResources,
}

impl<'a> Wanted<'a> {
    fn of(cycle: Cycle<'a>, plugin: &'a DynamicResources) -> Result<Self, String> {
        let devices = &cycle.snapshot.catalogue.devices;
        let claims = devices.claims_of(cycle.pod)?;
        let uid = &*cycle.pod.uid;
        let full = |claim: &ResourceClaim| {
            consumers(claim).len() >= CONSUMERS_MAX && consumers(claim).all(|consumer| consumer != uid)
        };
        let (mut allocated, open): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| allocation_of(claim).is_some());
        if allocated.iter().any(|claim| full(claim)) {
            return Err("resourceclaim in use".to_owned());
        }
        for claim in &open {
            if devices.is_promised(claim) {
                let claim = devices::key_of(claim);
                return Err(format!("resource claim {claim} is in the process of being allocated"));
            }
            classes_exist(devices, claim)?;
        }
        let score = allocated.iter().map(|claim| alternatives(claim, results_of(claim))).sum();
        let placed = |claim: &ResourceClaim| allocation_of(claim).is_some_and(|a| a.node_selector.is_some());
        allocated.retain(|claim| placed(claim) || binding::has_conditions(claim));
        let backed = devices.backs_resources_of(cycle.pod);
        let limit = Limit::of_time(plugin.filter_timeout);
        Ok(Self { cycle, devices, allocated, open, backed, score, limit, plugin })
    }

    fn is_nothing(&self) -> bool {
        self.allocated.is_empty() && self.open.is_empty() && !self.backed
    }

    /// The claims that get devices on a node.
    fn open_on(&self, node: &NodeInfo) -> Result<Vec<Arc<ResourceClaim>>, String> {
        let mut open = self.open.clone();
        if self.backed {
            if self.devices.made_for(self.cycle.pod).is_some() {
                return Err("cannot schedule extended resource claim".to_owned());
            }
            open.extend(self.devices.special_claim(self.cycle.pod, node)?.map(|special| special.claim));
        }
        Ok(open)
    }
}

fn classes_exist(devices: &Devices, claim: &ResourceClaim) -> Result<(), String> {
    for request in requests_of(claim) {
        let class = request.exactly.iter().map(|one| (&one.device_class_name, request.name.clone()));
        let several = request.first_available.iter().flatten();
        let several = several.map(|one| (&one.device_class_name, format!("{}/{}", request.name, one.name)));
        for (class, name) in class.chain(several) {
            if devices.class(class).is_none() {
                return Err(format!("request {name}: device class {class} does not exist"));
            }
        }
    }
    Ok(())
}

/// What the alternatives count for that a claim has got: the earlier ones more.
fn alternatives(claim: &ResourceClaim, results: &[DeviceRequestAllocationResult]) -> i64 {
    let taken: Vec<&str> = results.iter().map(|result| result.request.as_str()).collect();
    let mut score = 0;
    for request in requests_of(claim) {
        for (n, one) in request.first_available.iter().flatten().enumerate() {
            if taken.contains(&format!("{}/{}", request.name, one.name).as_str()) {
                score += ALTERNATIVES_MAX.saturating_sub(n) as i64;
            }
        }
    }
    score
}

/// Whether the devices of a claim can be reached from a node.
fn reachable(claim: &ResourceClaim, node: &NodeInfo) -> bool {
    let selector = allocation_of(claim).and_then(|allocation| allocation.node_selector.as_ref());
    let node = node.facts.node.as_ref();
    selector.is_none_or(|selector| node.is_some_and(|node| selects(selector, node)))
}

/// Whether the devices of a claim cannot be used on a node: out of reach, not made ready in time, or failed.
fn is_unavailable(claim: &ResourceClaim, node: &NodeInfo, cycle: Cycle<'_>, timeout: Duration) -> bool {
    !reachable(claim, node)
        || match binding::readiness(claim) {
            Readiness::Ready => false,
            Readiness::Waiting => binding::timed_out(claim, timeout, cycle.now),
            Readiness::Failed(_) => true,
        }
}

impl Filter for Wanted<'_> {
    fn check(&self, node: &NodeInfo) -> Verdict {
        let open = self.open_on(node).map_err(Rejection::unresolvable)?;
        match allocate(self.devices, node, &open, &self.limit) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Rejection::unresolvable("cannot allocate all claims")),
            Err(Failure::Node(why) | Failure::Claim(why)) => return Err(Rejection::unresolvable(why)),
        }
        let mut allocated = self.allocated.iter();
        if allocated.any(|claim| is_unavailable(claim, node, self.cycle, self.plugin.binding_timeout)) {
            return Err(Rejection::unresolvable("resourceclaim not available on the node"));
        }
        Ok(())
    }
}

impl Score for Wanted<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let Ok(Some(results)) = allocate(self.devices, node, &self.open, &self.limit) else { return 0 };
        let mut score = self.score;
        for (claim, result) in self.open.iter().zip(&results) {
            let results = result.devices.as_ref().and_then(|devices| devices.results.as_deref());
            score += alternatives(claim, results.unwrap_or_default());
        }
        score
    }
    fn normalize(&self, _: &[&NodeInfo], scores: &mut [i64]) {
        scale_to_max(scores, false);
    }
}

/// A claim that stands in the pod's way on all nodes and that nobody else uses: it can give its devices back. With what
/// the pod is told.
pub fn in_the_way(cycle: Cycle<'_>, binding_timeout: Duration) -> Option<(Arc<ResourceClaim>, &'static str)> {
    if !wants_devices(cycle) {
        return None;
    }
    let devices = &cycle.snapshot.catalogue.devices;
    let claims = devices.claims_of(cycle.pod).ok()?;
    let nodes = || cycle.snapshot.order().iter().map(|slot| cycle.snapshot.at(*slot));
    let unused = claims.into_iter().find(|claim| {
        allocation_of(claim).is_some()
            && consumers(claim).all(|uid| uid == &*cycle.pod.uid)
            && nodes().any(|node| is_unavailable(claim, node, cycle, binding_timeout))
    });
    let made = || devices.made_for(cycle.pod).map(|claim| (claim.clone(), "deletion of ResourceClaim completed"));
    unused.map(|claim| (claim, "deallocation of ResourceClaim completed")).or_else(made)
}
