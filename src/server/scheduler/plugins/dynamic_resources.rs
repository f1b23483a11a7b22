//! The devices that a pod's claims ask for must be there: allocated where the node can reach them, or free on the node.

use crate::{
    change::{Change, Subject},
    devices::{
        self, Devices,
        allocate::{Failure, Limit, allocate},
        allocation_of, consumers, requests_of,
    },
    events::Events,
    framework::*,
    node_choice::selects,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use k8s_openapi::api::resource::v1::ResourceClaim;
use std::sync::Arc;

pub struct DynamicResources;

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
                let Some(new) = &pair.new else { return false };
                let given_back =
                    |old: &Arc<ResourceClaim>| allocation_of(old).is_some() && allocation_of(new).is_none();
                pair.old.as_ref().is_some_and(given_back)
                    || own.iter().any(|claim| claim.metadata.uid == new.metadata.uid)
                        && pair.old.as_ref().is_none_or(|old| old.status != new.status)
            }
            Subject::Itself(_) => devices.claims_of(pod).is_ok(),
            _ => true,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        if cycle.pod.device_claims.is_empty() {
            return Prepared::Skip;
        }
        match Wanted::of(cycle) {
            Ok(wanted) if wanted.is_nothing() => Prepared::Skip,
            Ok(wanted) => Prepared::Ask(Box::new(wanted)),
            Err(why) => Prepared::Reject(Rejection::unresolvable(why)),
        }
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        if cycle.pod.device_claims.is_empty() {
            return None;
        }
        let wanted = Wanted::of(cycle).ok()?;
        let mut requests = wanted.open.iter().flat_map(|claim| requests_of(claim));
        let chooses = requests.any(|request| request.first_available.as_ref().is_some_and(|one| !one.is_empty()));
        chooses.then(|| Box::new(wanted) as Box<dyn Score + 'a>)
    }
}

struct Wanted<'a> {
    devices: &'a Devices,
    /// Where they can be reached is said.
    allocated: Vec<Arc<ResourceClaim>>,
    /// They have no devices yet.
    open: Vec<Arc<ResourceClaim>>,
    limit: Limit,
}

impl<'a> Wanted<'a> {
    fn of(cycle: Cycle<'a>) -> Result<Self, String> {
        let devices = &cycle.snapshot.catalogue.devices;
        let claims = devices.claims_of(cycle.pod)?;
        let (allocated, open): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| allocation_of(claim).is_some());
        for claim in &open {
            if devices.is_promised(claim) {
                let claim = devices::key_of(claim);
                return Err(format!("resource claim {claim} is in the process of being allocated"));
            }
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
        }
        let placed = |claim: &Arc<ResourceClaim>| allocation_of(claim).is_some_and(|a| a.node_selector.is_some());
        let allocated = allocated.into_iter().filter(placed).collect();
        Ok(Self { devices, allocated, open, limit: Limit::default() })
    }

    fn is_nothing(&self) -> bool {
        self.allocated.is_empty() && self.open.is_empty()
    }
}

/// Whether the devices of a claim can be reached from a node.
fn reachable(claim: &ResourceClaim, node: &NodeInfo) -> bool {
    let selector = allocation_of(claim).and_then(|allocation| allocation.node_selector.as_ref());
    let node = node.facts.node.as_ref();
    selector.is_none_or(|selector| node.is_some_and(|node| selects(selector, node)))
}

impl Filter for Wanted<'_> {
    fn check(&self, node: &NodeInfo) -> Verdict {
        let allocated = allocate(self.devices, node, &self.open, &self.limit);
        match allocated {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Rejection::unresolvable("cannot allocate all claims")),
            Err(Failure::Node(why) | Failure::Claim(why)) => return Err(Rejection::unresolvable(why)),
        }
        if !self.allocated.iter().all(|claim| reachable(claim, node)) {
            return Err(Rejection::unresolvable("resourceclaim not available on the node"));
        }
        Ok(())
    }
}

impl Score for Wanted<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let Ok(Some(results)) = allocate(self.devices, node, &self.open, &self.limit) else { return 0 };
        let mut score = 0;
        for (claim, result) in self.open.iter().zip(&results) {
            let results = result.devices.iter().flat_map(|devices| devices.results.iter().flatten());
            let taken: Vec<&str> = results.map(|result| result.request.as_str()).collect();
            for request in requests_of(claim) {
                for (n, one) in request.first_available.iter().flatten().enumerate() {
                    if taken.contains(&format!("{}/{}", request.name, one.name).as_str()) {
                        score += ALTERNATIVES_MAX.saturating_sub(n) as i64;
                    }
                }
            }
        }
        score
    }
    fn normalize(&self, _: &[&NodeInfo], scores: &mut [i64]) {
        scale_to_max(scores, false);
    }
}

/// An allocation that stands in the pod's way on all nodes and that nobody else uses: it can be given back.
pub fn in_the_way(cycle: Cycle<'_>) -> Option<Arc<ResourceClaim>> {
    let claims = cycle.snapshot.catalogue.devices.claims_of(cycle.pod).ok()?;
    let nodes = || cycle.snapshot.order().iter().map(|slot| cycle.snapshot.at(*slot));
    claims.into_iter().find(|claim| {
        allocation_of(claim).is_some()
            && consumers(claim).all(|uid| uid == &*cycle.pod.uid)
            && nodes().any(|node| !reachable(claim, node))
    })
}
