//! Devices that claims of pods get: what drivers offer, what is taken, and what a pod's claims would get on a node. Pure.
//!
//! ```text
//! ResourceSlice ──▶ pools (of one node) ──▶ allocate ──▶ DevicePlan ──▶ promised ──▶ written to the ResourceClaim
//! DeviceClass ───────────────────────────────▲
//! ```
//!
//! Invariant: a device is given to one claim at a time, but for access of administrators: what is promised counts as
//! taken until the claim that carries it has been seen.
//! Absent: devices that are shared or consume counters, and those that have to be prepared before a pod is bound; they
//! are not given to anybody.

pub mod allocate;
pub mod pools;

use crate::{
    framework::Cycle,
    node_info::NodeInfo,
    pod_facts::{DeviceUse, NamedClaim, PodFacts},
};
use allocate::{Failure, Limit};
use k8s_openapi::api::resource::v1::{
    AllocationResult, Device, DeviceClass, DeviceRequest, DeviceSelector, ResourceClaim, ResourceSlice,
};
use kube::ResourceExt;
use mk8s_api::cel::device::Selector;
use pools::PoolId;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// A device of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    pub driver: String,
    pub pool: String,
    pub device: String,
}

/// A selector, or what is wrong with it.
pub type Compiled = Arc<Result<Selector, String>>;

/// A class with its selectors compiled; a selector of an unknown kind is absent.
#[derive(Debug)]
pub struct Class {
    pub class: DeviceClass,
    pub selectors: Vec<Option<Compiled>>,
}

/// A slice, with its devices as selectors see them.
#[derive(Debug)]
pub struct Slice {
    pub slice: Arc<ResourceSlice>,
    pub name: String,
    pub pool: PoolId,
    pub devices: Vec<Offered>,
}

#[derive(Debug)]
pub struct Offered {
    pub id: DeviceId,
    pub device: Device,
    attributes: serde_json::Value,
    capacity: serde_json::Value,
}

impl Offered {
    pub fn seen(&self) -> mk8s_api::cel::device::Device<'_> {
        mk8s_api::cel::device::Device {
            driver: &self.id.driver,
            attributes: &self.attributes,
            capacity: &self.capacity,
            allow_multiple_allocations: self.device.allow_multiple_allocations.unwrap_or(false),
        }
    }
}

/// What is done for a claim before its pod is bound.
#[derive(Debug, Clone)]
pub struct ClaimPlan {
    pub claim: Arc<ResourceClaim>,
    /// What it gets, when it has nothing yet.
    pub allocation: Option<AllocationResult>,
}

/// Claims that have to be allocated or reserved for a pod.
pub type DevicePlan = Vec<ClaimPlan>;

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
    /// What claims are about to get, by the uid of the claim.
    promised: HashMap<String, AllocationResult>,
    /// By how many allocations a device is held.
    taken: HashMap<DeviceId, usize>,
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

/// The uids of those who use a claim.
pub fn consumers(claim: &ResourceClaim) -> impl Iterator<Item = &str> {
    let consumers = claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default();
    consumers.iter().map(|consumer| consumer.uid.as_str())
}

fn version_of(claim: &ResourceClaim) -> u64 {
    claim.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// The devices that an allocation takes for itself.
fn held(allocation: &AllocationResult) -> impl Iterator<Item = DeviceId> {
    let results = allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
    results.filter(|result| result.admin_access != Some(true)).map(|result| DeviceId {
        driver: result.driver.clone(),
        pool: result.pool.clone(),
        device: result.device.clone(),
    })
}

impl Devices {
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    pub fn is_taken(&self, device: &DeviceId) -> bool {
        self.taken.contains_key(device)
    }

    /// A claim is new, has changed, or is gone. Returns the version before; what is older than that is not taken.
    pub fn set_claim(&mut self, claim: &Arc<ResourceClaim>, exists: bool) -> Option<Arc<ResourceClaim>> {
        let key = key_of(claim);
        let known = self.claims.get(&key);
        if exists && known.is_some_and(|known| known.uid() == claim.uid() && version_of(known) > version_of(claim)) {
            return Some(claim.clone());
        }
        let old = match exists {
            true => self.claims.insert(key, claim.clone()),
            false => self.claims.remove(&key),
        };
        if exists && let Some(allocation) = allocation_of(claim) {
            self.take(allocation);
        }
        if let Some(allocation) = old.as_deref().and_then(allocation_of) {
            self.give_back(allocation);
        }
        for request in requests_of(claim) {
            let exactly = request.exactly.iter().flat_map(|one| one.selectors.iter().flatten());
            let several = request.first_available.iter().flatten().flat_map(|one| one.selectors.iter().flatten());
            exactly.chain(several).for_each(|selector| drop(self.compiled(selector)));
        }
        old
    }

    pub fn set_class(&mut self, class: &DeviceClass, exists: bool) -> bool {
        if !exists {
            return self.classes.remove(&class.name_any()).is_some();
        }
        let selectors = class.spec.selectors.iter().flatten().map(|selector| self.compiled(selector)).collect();
        self.classes.insert(class.name_any(), Class { class: class.clone(), selectors }).is_some()
    }

    pub fn set_slice(&mut self, slice: &Arc<ResourceSlice>, exists: bool) -> bool {
        let name = slice.name_any();
        let node = slice.spec.node_name.clone().unwrap_or_default();
        let pool = PoolId { driver: slice.spec.driver.clone(), pool: slice.spec.pool.name.clone() };
        if !exists {
            drop_name(&mut self.by_node, &node, &name);
            drop_name(&mut self.by_pool, &pool, &name);
            return self.slices.remove(&name).is_some();
        }
        let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
        let devices = slice.spec.devices.iter().flatten().map(|device| Offered {
            id: DeviceId { driver: pool.driver.clone(), pool: pool.pool.clone(), device: device.name.clone() },
            attributes: json(serde_json::to_value(&device.attributes)),
            capacity: json(serde_json::to_value(&device.capacity)),
            device: device.clone(),
        });
        let devices = devices.collect();
        self.by_node.entry(node).or_default().insert(name.clone());
        self.by_pool.entry(pool.clone()).or_default().insert(name.clone());
        self.slices.insert(name.clone(), Arc::new(Slice { slice: slice.clone(), name, pool, devices })).is_some()
    }

    fn take(&mut self, allocation: &AllocationResult) {
        for device in held(allocation) {
            *self.taken.entry(device).or_default() += 1;
        }
    }

    fn give_back(&mut self, allocation: &AllocationResult) {
        for device in held(allocation) {
            if let Some(count) = self.taken.get_mut(&device) {
                *count -= 1;
                if *count == 0 {
                    self.taken.remove(&device);
                }
            }
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
        for ClaimPlan { claim, allocation } in plan {
            if let Some(allocation) = allocation {
                self.take(allocation);
                self.promised.insert(claim.uid().unwrap_or_default(), allocation.clone());
            }
        }
    }

    /// What was promised is written, or will not be.
    pub fn take_back(&mut self, plan: &DevicePlan) {
        for ClaimPlan { claim, .. } in plan {
            if let Some(allocation) = self.promised.remove(&claim.uid().unwrap_or_default()) {
                self.give_back(&allocation);
            }
        }
    }
}

fn compile(expression: &str) -> Compiled {
    Arc::new(Selector::compile(expression).map_err(|error| error.to_string()))
}

fn drop_name<K: std::hash::Hash + Eq>(names: &mut HashMap<K, BTreeSet<String>>, key: &K, name: &str) {
    if let Some(of_key) = names.get_mut(key) {
        of_key.remove(name);
        if of_key.is_empty() {
            names.remove(key);
        }
    }
}

/// What has to be written for the claims of a pod that goes to a node that the filters have let through.
pub fn plan(cycle: Cycle<'_>, node: &NodeInfo) -> Result<DevicePlan, Failure> {
    let devices = &cycle.snapshot.catalogue.devices;
    if cycle.pod.device_claims.is_empty() {
        return Ok(Vec::new());
    }
    let claims = devices.claims_of(cycle.pod).map_err(Failure::Claim)?;
    let open: Vec<Arc<ResourceClaim>> = claims.iter().filter(|c| allocation_of(c).is_none()).cloned().collect();
    let allocated = allocate::allocate(devices, node, &open, &Limit::default())?;
    let Some(allocated) = allocated else { return Err(Failure::Claim("cannot allocate all claims".to_owned())) };
    let mut allocated = allocated.into_iter();
    let mut plan = Vec::new();
    for claim in claims {
        if allocation_of(&claim).is_none() {
            plan.push(ClaimPlan { claim, allocation: allocated.next() });
        } else if consumers(&claim).all(|uid| uid != &*cycle.pod.uid) {
            plan.push(ClaimPlan { claim, allocation: None });
        }
    }
    Ok(plan)
}
