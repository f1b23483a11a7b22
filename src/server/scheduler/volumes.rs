//! The claims of a pod on one node: which volumes they have, which they could have, and what has to be done so that they
//! have them. Pure.
//!
//! As Kubernetes' volume binder: a claim of a class that waits for its first consumer is bound to the smallest volume that
//! suits both the claim and the node, or is provisioned for the node.

use crate::{
    catalogue::Storage,
    framework::{Cycle, Reasons, Rejection},
    node_choice,
    node_info::NodeInfo,
    pod_facts::{ClaimUse, PodFacts},
    selector,
};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIStorageCapacity, StorageClass},
};
use mk8s_api::quantity::Quantity;
use mk8s_client::pod::Pod;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What is done to a pod's volumes before it is bound.
#[derive(Debug, Clone, Default)]
pub struct VolumePlan {
    /// Volumes that are bound to claims.
    pub bindings: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims that are provisioned for the node.
    pub provisions: Vec<Arc<PersistentVolumeClaim>>,
}

impl VolumePlan {
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.provisions.is_empty()
    }
}

/// The claims of a pod, by what has to happen to them.
#[derive(Debug, Default)]
pub struct PodClaims {
    pub bound: Vec<Arc<PersistentVolumeClaim>>,
    /// They wait for the controller of volumes, not for a node.
    pub immediate: Vec<Arc<PersistentVolumeClaim>>,
    pub delayed: Vec<Arc<PersistentVolumeClaim>>,
}

/// The name that objects of a namespace are known by.
pub fn claim_key(claim: &PersistentVolumeClaim) -> String {
    let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", claim.metadata.name.as_deref().unwrap_or_default())
}

pub fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let annotated = claim.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION));
    let named = || claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    annotated.map(String::as_str).or_else(named).unwrap_or_default()
}

fn class_of_volume(volume: &PersistentVolume) -> &str {
    let annotated = volume.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION));
    let named = || volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    annotated.map(String::as_str).or_else(named).unwrap_or_default()
}

pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let completed = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BIND_COMPLETED));
    completed && !volume_name(claim).is_empty()
}

/// Whether the pod has any claim, or why one of them cannot be used.
pub fn check_claims(pod: &PodFacts, storage: &Storage) -> Result<(), String> {
    for used in &pod.claims {
        let name = &used.name;
        let Some(claim) = storage.claims.get(&format!("{}/{name}", pod.namespace)) else {
            return Err(match used.ephemeral {
                true => format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"),
                false => format!("persistentvolumeclaim {name:?} not found"),
            });
        };
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
            let volume = volume_name(claim);
            return Err(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        check_owner(&pod.pod, claim, used)?;
    }
    Ok(())
}

/// The claim of an ephemeral volume must be the pod's own.
pub fn check_owner(pod: &Pod, claim: &PersistentVolumeClaim, used: &ClaimUse) -> Result<(), String> {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    if used.ephemeral && !owners.any(|owner| owner.controller == Some(true) && owner.uid == uid) {
        let key = claim_key(claim);
        let of = |pod: &Pod| crate::pod_facts::key_of(pod);
        return Err(format!("PVC {key} was not created for pod {} (pod is not owner)", of(pod)));
    }
    Ok(())
}

/// Sorts the claims of a pod.
pub fn sort_claims(pod: &PodFacts, storage: &Storage) -> Result<PodClaims, String> {
    let mut sorted = PodClaims::default();
    for used in &pod.claims {
        let Some(claim) = storage.claims.get(&format!("{}/{}", pod.namespace, used.name)) else { continue };
        if is_bound(claim) {
            sorted.bound.push(claim.clone());
        } else if waits_for_consumer(claim, storage)? && volume_name(claim).is_empty() {
            sorted.delayed.push(claim.clone());
        } else {
            sorted.immediate.push(claim.clone());
        }
    }
    Ok(sorted)
}

fn waits_for_consumer(claim: &PersistentVolumeClaim, storage: &Storage) -> Result<bool, String> {
    let Some(class) = storage.classes.get(class_of(claim)) else { return Ok(false) };
    match class.volume_binding_mode.as_deref() {
        Some(mode) => Ok(mode == "WaitForFirstConsumer"),
        None => Err(format!("VolumeBindingMode not set for StorageClass {:?}", class_of(claim))),
    }
}

const BIND_CONFLICT: &str = "node(s) didn't find available persistent volumes to bind";
const NODE_CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
const NO_SPACE: &str = "node(s) did not have enough free storage";
const NO_VOLUME: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// What has to be done so that the claims can be used on a node, or why they cannot.
pub fn on_node(claims: &PodClaims, storage: &Storage, node: &NodeInfo) -> Result<VolumePlan, Rejection> {
    let mut reasons: Vec<Cow<'static, str>> = Vec::new();
    match bound_volumes(&claims.bound, storage, node) {
        Bound::Here => {}
        Bound::Elsewhere => reasons.push(NODE_CONFLICT.into()),
        Bound::Missing => {}
    }
    let mut plan = VolumePlan::default();
    match unbound_volumes(&claims.delayed, storage, node, &mut plan) {
        Ok(()) => {}
        Err(reason) => reasons.push(reason.into()),
    }
    if matches!(bound_volumes(&claims.bound, storage, node), Bound::Missing) {
        reasons.push(NO_VOLUME.into());
    }
    match reasons.len() {
        0 => Ok(plan),
        1 => Err(Rejection { reasons: Reasons::One(reasons.remove(0)), unresolvable: true }),
        _ => Err(Rejection { reasons: Reasons::Several(reasons), unresolvable: true }),
    }
}

enum Bound {
    Here,
    Elsewhere,
    Missing,
}

fn bound_volumes(claims: &[Arc<PersistentVolumeClaim>], storage: &Storage, node: &NodeInfo) -> Bound {
    for claim in claims {
        match storage.volumes.get(volume_name(claim)) {
            None => return Bound::Missing,
            Some(volume) if !reaches(volume, node) => return Bound::Elsewhere,
            Some(_) => {}
        }
    }
    Bound::Here
}

/// Whether a volume can be used on a node.
pub fn reaches(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| node.facts.node.as_ref().is_some_and(|node| node_choice::selects(selector, node)))
}

fn unbound_volumes(
    claims: &[Arc<PersistentVolumeClaim>],
    storage: &Storage,
    node: &NodeInfo,
    plan: &mut VolumePlan,
) -> Result<(), &'static str> {
    let mut to_provision = Vec::new();
    let mut to_match = Vec::new();
    for claim in claims {
        match selected_node(claim, storage) {
            Some(selected) if selected != node.name() => return Err(BIND_CONFLICT),
            Some(_) => to_provision.push(claim.clone()),
            None => to_match.push(claim.clone()),
        }
    }
    // The smallest first, so that they take the smallest volumes.
    to_match.sort_by_key(|claim| requested(claim).map_or(0, Quantity::nanos));
    let mut chosen = HashSet::new();
    for claim in to_match {
        match smallest_match(&claim, storage, node, &chosen) {
            Some(volume) => {
                chosen.insert(volume.metadata.name.clone().unwrap_or_default());
                plan.bindings.push((volume, claim));
            }
            None => to_provision.push(claim),
        }
    }
    for claim in to_provision {
        check_provision(&claim, storage, node)?;
        plan.provisions.push(claim);
    }
    Ok(())
}

/// The node that a claim is provisioned for.
fn selected_node<'a>(claim: &'a PersistentVolumeClaim, storage: &'a Storage) -> Option<&'a str> {
    let annotated = claim.metadata.annotations.as_ref().and_then(|a| a.get(SELECTED_NODE));
    annotated.or_else(|| storage.promised_claims.get(&claim_key(claim))).map(String::as_str)
}

fn quantity(
    list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
) -> Option<Quantity> {
    list?.get("storage")?.0.parse().ok()
}

fn requested(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    quantity(claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref())
}

fn smallest_match(
    claim: &PersistentVolumeClaim,
    storage: &Storage,
    node: &NodeInfo,
    taken: &HashSet<String>,
) -> Option<Arc<PersistentVolume>> {
    let wanted = requested(claim).map_or(0, Quantity::nanos);
    let spec = claim.spec.as_ref()?;
    let chosen = spec.selector.as_ref().map(|chosen| selector::of(Some(chosen), Vec::new()));
    let mut smallest: Option<(i128, &Arc<PersistentVolume>)> = None;
    let class = class_of(claim);
    for (name, volume) in
        storage.volumes.iter().filter(|(name, volume)| !taken.contains(*name) && class_of_volume(volume) == class)
    {
        let Some(offer) = volume.spec.as_ref() else { continue };
        let promised = storage.promised_volumes.get(name);
        let for_claim = offer.claim_ref.is_some() && is_for(volume, claim);
        if (offer.claim_ref.is_some() && !for_claim) || promised.is_some_and(|key| *key != claim_key(claim)) {
            continue;
        }
        let size = quantity(offer.capacity.as_ref()).map_or(0, Quantity::nanos);
        let mode = |mode: Option<&str>| mode.unwrap_or("Filesystem").to_owned();
        let attributes = |class: Option<&str>| class.unwrap_or_default().to_owned();
        if size < wanted
            || mode(spec.volume_mode.as_deref()) != mode(offer.volume_mode.as_deref())
            || attributes(spec.volume_attributes_class_name.as_deref())
                != attributes(offer.volume_attributes_class_name.as_deref())
            || volume.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        if for_claim {
            return reaches(volume, node).then(|| volume.clone());
        }
        let no_labels = BTreeMap::new();
        let labels = volume.metadata.labels.as_ref().unwrap_or(&no_labels);
        let available = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available");
        let modes =
            spec.access_modes.iter().flatten().all(|mode| offer.access_modes.iter().flatten().any(|m| m == mode));
        if available
            && modes
            && chosen.as_ref().is_none_or(|chosen| chosen.matches(labels))
            && reaches(volume, node)
            && smallest.is_none_or(|(known, _)| size < known)
        {
            smallest = Some((size, volume));
        }
    }
    smallest.map(|(_, volume)| volume.clone())
}

/// Whether a volume was made or kept for a claim.
fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let uid = reference.uid.as_deref().filter(|uid| !uid.is_empty());
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && uid.is_none_or(|uid| claim.metadata.uid.as_deref() == Some(uid))
}

fn check_provision(claim: &PersistentVolumeClaim, storage: &Storage, node: &NodeInfo) -> Result<(), &'static str> {
    let Some(class) = storage.classes.get(class_of(claim)) else { return Err(BIND_CONFLICT) };
    if class.provisioner.is_empty() || class.provisioner == NO_PROVISIONER || !allowed(class, node) {
        return Err(BIND_CONFLICT);
    }
    if !has_capacity(claim, class, storage, node) {
        return Err(NO_SPACE);
    }
    Ok(())
}

fn allowed(class: &StorageClass, node: &NodeInfo) -> bool {
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    terms.is_empty()
        || terms.iter().any(|term| {
            let expressions = term.match_label_expressions.as_deref().unwrap_or_default();
            !expressions.is_empty()
                && expressions
                    .iter()
                    .all(|wanted| node.labels().get(&wanted.key).is_some_and(|value| wanted.values.contains(value)))
        })
}

fn has_capacity(claim: &PersistentVolumeClaim, class: &StorageClass, storage: &Storage, node: &NodeInfo) -> bool {
    let Some(wanted) = requested(claim) else { return true };
    let driver = storage.csi_drivers.get(&class.provisioner);
    let tracked = driver.and_then(|driver| driver.spec.storage_capacity).unwrap_or(false);
    !tracked
        || storage.capacities.values().any(|capacity| {
            Some(capacity.storage_class_name.as_str()) == class.metadata.name.as_deref()
                && limit(capacity).is_some_and(|limit| limit.nanos() >= wanted.nanos())
                && capacity
                    .node_topology
                    .as_ref()
                    .is_some_and(|topology| selector::of(Some(topology), Vec::new()).matches(node.labels()))
        })
}

/// The largest volume that can still be made.
pub fn limit(capacity: &CSIStorageCapacity) -> Option<Quantity> {
    capacity.maximum_volume_size.as_ref().or(capacity.capacity.as_ref())?.0.parse().ok()
}

/// What has to be done for the node that was chosen.
pub fn plan(cycle: Cycle<'_>, node: &NodeInfo) -> VolumePlan {
    if cycle.pod.claims.is_empty() {
        return VolumePlan::default();
    }
    let storage = &cycle.snapshot.catalogue.storage;
    sort_claims(cycle.pod, storage).ok().and_then(|claims| on_node(&claims, storage, node).ok()).unwrap_or_default()
}

/// Keeps what was decided from being decided again for another pod.
pub fn promise(storage: &mut Storage, plan: &VolumePlan, node: &str) {
    for (volume, claim) in &plan.bindings {
        storage.promised_volumes.insert(volume.metadata.name.clone().unwrap_or_default(), claim_key(claim));
    }
    for claim in &plan.provisions {
        storage.promised_claims.insert(claim_key(claim), node.to_owned());
    }
}

pub fn take_back(storage: &mut Storage, plan: &VolumePlan) {
    for (volume, _) in &plan.bindings {
        storage.promised_volumes.remove(volume.metadata.name.as_deref().unwrap_or_default());
    }
    for claim in &plan.provisions {
        storage.promised_claims.remove(&claim_key(claim));
    }
}
