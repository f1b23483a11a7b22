//! Devices that claims of pods get: what drivers offer, what is taken, and what a pod's claims would get on a node. Pure.
//!
//! ```text
//! ResourceSlice ──▶ pools (of one node) ──▶ allocate ──▶ DevicePlan ──▶ promised ──▶ written to the ResourceClaim
//! DeviceClass ───────────────────────────────▲
//! extended resources of a pod ──▶ its special claim
//! ```
//!
//! Reading order: [`offered`] (slices as they are read), [`pools`], [`allocate`] (the search) with [`capacity`] and
//! [`counters`], [`held`] (what is taken), [`extended`] (claims for extended resources), [`binding`] (devices that have
//! to be made ready), [`plan`](mod@plan).
//!
//! Invariant: a device is given to one claim at a time, but for access of administrators and for shares of what several
//! claims can have: what is promised counts as taken until the claim that carries it has been seen.

pub mod allocate;
pub mod binding;
pub mod capacity;
pub mod counters;
pub mod extended;
pub mod held;
pub mod offered;
pub mod plan;
pub mod pools;

use crate::pod_facts::{DeviceUse, NamedClaim, PodFacts};
use held::Held;
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceClass, DeviceRequest, DeviceRequestAllocationResult, DeviceSelector, ResourceClaim,
    ResourceSlice,
};
use kube::ResourceExt;
use mk8s_api::{cel::device::Selector, quantity::Quantity};
use offered::Slice;
pub use plan::{ClaimPlan, DevicePlan, plan};
use pools::PoolId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

/// A device of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    pub driver: String,
    pub pool: String,
    pub device: String,
}

/// Amounts by name: of capacities or counters.
pub type Amounts = BTreeMap<String, Quantity>;

/// A selector, or what is wrong with it.
pub type Compiled = Arc<Result<Selector, String>>;

/// A class with its selectors compiled; a selector of an unknown kind is absent.
#[derive(Debug)]
pub struct Class {
    pub class: DeviceClass,
    pub selectors: Vec<Option<Compiled>>,
}

/// Compiled selectors that are kept; more than honest clusters have.
const SELECTORS_KEPT: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Devices {
    /// By `namespace/name`.
    claims: HashMap<String, Arc<ResourceClaim>>,
    classes: HashMap<String, Class>,
    slices: HashMap<String, Arc<Slice>>,
    /// Names of slices by the node that has their devices; the empty name for those of several nodes.
    by_node: HashMap<String, BTreeSet<String>>,
    by_pool: HashMap<PoolId, BTreeSet<String>>,
    /// Those with counters.
    by_counted_pool: HashMap<PoolId, BTreeSet<String>>,
    /// Names of classes by the extended resource that they say.
    by_resource: HashMap<String, BTreeSet<String>>,
    /// Keys of claims for extended resources, by the uid of their pod.
    by_pod: HashMap<String, BTreeSet<String>>,
    /// What claims are about to get, by the uid of the claim.
    promised: HashMap<String, AllocationResult>,
    held: Held,
    selectors: HashMap<String, Compiled>,
}

pub fn key_of(claim: &ResourceClaim) -> String {
    format!("{}/{}", claim.namespace().unwrap_or_default(), claim.name_any())
}

pub fn allocation_of(claim: &ResourceClaim) -> Option<&AllocationResult> {
    claim.status.as_ref()?.allocation.as_ref()
}

pub fn requests_of(claim: &ResourceClaim) -> &[DeviceRequest] {
    claim.spec.devices.as_ref().and_then(|devices| devices.requests.as_deref()).unwrap_or_default()
}

/// The results of a claim's allocation, as long as it has one.
pub fn results_of(claim: &ResourceClaim) -> &[DeviceRequestAllocationResult] {
    let devices = allocation_of(claim).and_then(|allocation| allocation.devices.as_ref());
    devices.and_then(|devices| devices.results.as_deref()).unwrap_or_default()
}

/// The uids of those who use a claim.
pub fn consumers(claim: &ResourceClaim) -> impl ExactSizeIterator<Item = &str> {
    let consumers = claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default();
    consumers.iter().map(|consumer| consumer.uid.as_str())
}

fn version_of(claim: &ResourceClaim) -> u64 {
    claim.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Devices {
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    /// Whether a claim has all of it.
    pub fn is_taken(&self, device: &DeviceId) -> bool {
        self.held.is_taken(device)
    }

    pub fn held(&self) -> &Held {
        &self.held
    }

    /// A claim is new, has changed, or is gone. Returns the version before; what is older than that is not taken.
    pub fn set_claim(&mut self, claim: &Arc<ResourceClaim>, exists: bool) -> Option<Arc<ResourceClaim>> {
        let key = key_of(claim);
        let known = self.claims.get(&key);
        if exists && known.is_some_and(|known| known.uid() == claim.uid() && version_of(known) > version_of(claim)) {
            return Some(claim.clone());
        }
        if let Some(pod) = extended::pod_of(claim) {
            set_name(&mut self.by_pod, pod.to_owned(), &key, exists);
        }
        let old = match exists {
            true => self.claims.insert(key, claim.clone()),
            false => self.claims.remove(&key),
        };
        if exists && let Some(allocation) = allocation_of(claim) {
            self.held.take(allocation);
        }
        if let Some(allocation) = old.as_deref().and_then(allocation_of) {
            self.held.give_back(allocation);
        }
        for request in requests_of(claim) {
            let exactly = request.exactly.iter().flat_map(|one| one.selectors.iter().flatten());
            let several = request.first_available.iter().flatten().flat_map(|one| one.selectors.iter().flatten());
            exactly.chain(several).for_each(|selector| drop(self.compiled(selector)));
        }
        old
    }

    pub fn set_class(&mut self, class: &DeviceClass, exists: bool) -> bool {
        let name = class.name_any();
        let resource = |class: &DeviceClass| class.spec.extended_resource_name.clone();
        let old = self.classes.remove(&name);
        if let Some(resource) = old.as_ref().and_then(|old| resource(&old.class)) {
            set_name(&mut self.by_resource, resource, &name, false);
        }
        if exists {
            if let Some(resource) = resource(class) {
                set_name(&mut self.by_resource, resource, &name, true);
            }
            let selectors = class.spec.selectors.iter().flatten().map(|selector| self.compiled(selector)).collect();
            self.classes.insert(name, Class { class: class.clone(), selectors });
        }
        old.is_some()
    }

    pub fn set_slice(&mut self, slice: &Arc<ResourceSlice>, exists: bool) -> bool {
        let old = self.slices.remove(&slice.name_any());
        if let Some(old) = &old {
            self.file(old, false);
        }
        if exists {
            let new = Arc::new(Slice::of(slice));
            self.file(&new, true);
            self.slices.insert(new.name.clone(), new);
        }
        old.is_some()
    }

    fn file(&mut self, slice: &Slice, exists: bool) {
        let node = slice.slice.spec.node_name.clone().unwrap_or_default();
        set_name(&mut self.by_node, node, &slice.name, exists);
        set_name(&mut self.by_pool, slice.pool.clone(), &slice.name, exists);
        if !slice.counters.is_empty() {
            set_name(&mut self.by_counted_pool, slice.pool.clone(), &slice.name, exists);
        }
    }

    /// A selector by its text; those of claims and classes that are known are compiled already.
    pub fn selector(&self, selector: &DeviceSelector) -> Option<Compiled> {
        let expression = &selector.cel.as_ref()?.expression;
        Some(self.selectors.get(expression).cloned().unwrap_or_else(|| compile(expression)))
    }

    fn compiled(&mut self, selector: &DeviceSelector) -> Option<Compiled> {
        let expression = &selector.cel.as_ref()?.expression;
        if let Some(known) = self.selectors.get(expression) {
            return Some(known.clone());
        }
        if self.selectors.len() >= SELECTORS_KEPT {
            self.selectors.clear();
        }
        let compiled = compile(expression);
        self.selectors.insert(expression.clone(), compiled.clone());
        Some(compiled)
    }

    /// The claims of a pod, or why it cannot have them now.
    pub fn claims_of(&self, pod: &PodFacts) -> Result<Vec<Arc<ResourceClaim>>, String> {
        let mut claims = Vec::with_capacity(pod.device_claims.len());
        for DeviceUse { name, claim } in &pod.device_claims {
            let (named, own) = match claim {
                NamedClaim::NotNeeded => continue,
                NamedClaim::Given(named) => (named, false),
                NamedClaim::Generated(named) => (named, true),
                NamedClaim::Missing => return Err(format!("pod {:?}: ResourceClaim not created yet", pod.key)),
                NamedClaim::Unknown => {
                    let why = "none of the supported fields are set";
                    return Err(format!("pod {:?}, spec.resourceClaim {name:?}: {why}", pod.key));
                }
            };
            let key = format!("{}/{named}", pod.namespace);
            let found = self.claims.get(&key);
            let found = found.ok_or_else(|| format!("could not find ResourceClaim {key:?}"))?;
            if found.metadata.deletion_timestamp.is_some() {
                return Err(format!("resourceclaim {named:?} is being deleted"));
            }
            let owner = found.owner_references().iter().find(|owner| owner.controller == Some(true));
            if own && owner.is_none_or(|owner| owner.uid != *pod.uid) {
                return Err(format!("ResourceClaim {key} was not created for Pod {} (Pod is not owner)", pod.key));
            }
            claims.push(found.clone());
        }
        Ok(claims)
    }

    /// Whether a pod in binding has been promised an allocation for the claim.
    pub fn is_promised(&self, claim: &ResourceClaim) -> bool {
        claim.metadata.uid.as_ref().is_some_and(|uid| self.promised.contains_key(uid))
    }

    /// Counts what a pod is about to get as taken.
    pub fn promise(&mut self, plan: &DevicePlan) {
        for ClaimPlan { claim, allocation, .. } in plan {
            if let Some(allocation) = allocation {
                self.held.take(allocation);
                self.promised.insert(claim.uid().unwrap_or_default(), allocation.clone());
            }
        }
    }

    /// What was promised is written, or will not be.
    pub fn take_back(&mut self, plan: &DevicePlan) {
        for ClaimPlan { claim, .. } in plan {
            if let Some(allocation) = self.promised.remove(&claim.uid().unwrap_or_default()) {
                self.held.give_back(&allocation);
            }
        }
    }
}

fn compile(expression: &str) -> Compiled {
    Arc::new(Selector::compile(expression).map_err(|error| error.to_string()))
}

/// Files a name under a key, or takes it away from there.
fn set_name<K: std::hash::Hash + Eq>(names: &mut HashMap<K, BTreeSet<String>>, key: K, name: &str, exists: bool) {
    let of_key = names.entry(key);
    if exists {
        of_key.or_default().insert(name.to_owned());
    } else if let Entry::Occupied(mut of_key) = of_key {
        of_key.get_mut().remove(name);
        if of_key.get().is_empty() {
            of_key.remove();
        }
    }
}
