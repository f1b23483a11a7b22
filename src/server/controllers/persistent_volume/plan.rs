//! What becomes of one claim, and of one volume.

use super::{
    matching::{class_of_claim, find, has_volume_mode, is_reserved_for, mismatch},
    reclaim::{Recycler, finalizers, migrated_to, reclaim},
};
use crate::common::volumes::{PROVISIONED_BY, driver_for};
use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity as Text,
};
use mk8s_api::quantity::Quantity;
use mk8s_client::{events::EventType, kube::ResourceExt};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
pub(super) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
pub(super) const PROVISIONERS: [&str; 2] =
    ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"];

/// On volumes whose file systems are smaller than they are: how large.
const PRE_RESIZE: &str = "volume.alpha.kubernetes.io/pre-resize-capacity";

/// Provisioners of Kubernetes itself, of which none is left; one of them never was one: its classes are for volumes that
/// someone makes by hand.
const BUILT_IN: &str = "kubernetes.io/";

/// A reason and a message, with their type.
pub(super) type Report = (EventType, &'static str, String);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// The claim has no class, and there is a default one.
    Classify { class: String },
    /// Volume and claim get each other.
    Bind { volume: String },
    /// Asks who provisions the class for a volume; on a node, where that is known.
    Provision { provisioner: String, node: Option<String> },
    /// The claim's phase.
    Claim { phase: &'static str },
    /// The volume's phase, and why.
    Volume { phase: &'static str, message: String },
    /// The volume is free for other claims, or for the one it is reserved for.
    Unbind,
    /// The claim is to look again: the next step is its.
    WakeClaim,
    /// The claim's author learns why it does not get the volume.
    WarnClaim { message: String },
    /// What says who takes care of the volume: finalizers, and the driver that does it now.
    Mark { finalizers: Vec<String>, driver: Option<&'static str> },
    /// A pod is to delete what is on the volume.
    Recycle,
    /// That pod goes.
    EndRecycler,
    /// The volume goes.
    Remove,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) events: Vec<Report>,
}

impl Plan {
    pub(super) fn tell(mut self, kind: EventType, reason: &'static str, message: impl Into<String>) -> Plan {
        self.events.push((kind, reason, message.into()));
        self
    }

    pub(super) fn then(mut self, action: Action) -> Plan {
        self.actions.push(action);
        self
    }
}

pub(super) struct ObservedClaim {
    pub(super) claim: Arc<PersistentVolumeClaim>,
    pub(super) volumes: Vec<Arc<PersistentVolume>>,
    /// The claim's class, when there is one of that name.
    pub(super) class: Option<Arc<StorageClass>>,
    /// The class of claims that say nothing.
    pub(super) default_class: Option<String>,
    /// Where a pod with this claim runs, or is about to.
    pub(super) node: Option<Arc<Node>>,
    /// The pods with this claim that have no node yet, by name.
    pub(super) unplaced: Vec<String>,
}

pub(super) fn plan_claim(observed: &ObservedClaim) -> Plan {
    let claim = observed.claim.as_ref();
    let Some(spec) = claim.spec.as_ref() else { return Plan::default() };
    let wanted = spec.volume_name.as_deref().unwrap_or_default();
    let named = |name: &str| observed.volumes.iter().find(|volume| volume.name_any() == name);
    if claim.annotations().contains_key(BIND_COMPLETED) {
        return keep(claim, wanted, named(wanted));
    }
    if wanted.is_empty() {
        return seek(observed, claim);
    }
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let pending = || match phase {
        Some("Pending") => Plan::default(),
        _ => Plan::default().then(Action::Claim { phase: "Pending" }),
    };
    let Some(volume) = named(wanted) else { return pending() };
    let bind = || Plan::default().then(Action::Bind { volume: wanted.to_owned() });
    let reserved = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
    match (reserved, is_reserved_for(volume, claim)) {
        (false, _) => match mismatch(volume, claim) {
            None => bind(),
            Some(why) => {
                let message = format!("Cannot bind to requested volume {wanted:?}: {why}");
                pending().tell(EventType::Warning, "VolumeMismatch", message)
            }
        },
        (true, true) => bind(),
        (true, false) => {
            let message = format!("volume {wanted:?} already bound to a different claim.");
            pending().tell(EventType::Warning, "FailedBinding", message)
        }
    }
}

/// A claim that was bound once.
fn keep(claim: &PersistentVolumeClaim, wanted: &str, volume: Option<&Arc<PersistentVolume>>) -> Plan {
    let lost = |reason, message: &str| match claim.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Lost") => Plan::default(),
        _ => Plan::default().then(Action::Claim { phase: "Lost" }).tell(EventType::Warning, reason, message),
    };
    let Some(volume) = volume.filter(|_| !wanted.is_empty()) else {
        return match wanted {
            "" => lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"),
            _ => lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        };
    };
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    match reference {
        None => Plan::default().then(Action::Bind { volume: wanted.to_owned() }),
        Some(reference) if reference.uid == claim.metadata.uid => {
            Plan::default().then(Action::Bind { volume: wanted.to_owned() })
        }
        Some(_) => lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly"),
    }
}

/// The status of a claim that has this volume, where it must become another one.
pub(super) fn bound_status(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<Value> {
    let spec = volume.spec.clone().unwrap_or_default();
    let known = claim.status.clone().unwrap_or_default();
    let phase = known.phase.as_deref();
    if phase == Some("Bound") {
        // Size and attributes have been changed since by whoever does so.
        let same = known.access_modes == spec.access_modes;
        return (!same).then(|| json!({"accessModes": spec.access_modes}));
    }
    let capacity = match volume.annotations().get(PRE_RESIZE) {
        // Its file system is still as it was.
        Some(size) if Quantity::parse(size).is_ok() => {
            let mut capacity = known.capacity.unwrap_or_default();
            capacity.insert("storage".to_owned(), Text(size.clone()));
            Some(capacity)
        }
        _ => spec.capacity,
    };
    let mut status = json!({"phase": "Bound", "accessModes": spec.access_modes, "capacity": capacity});
    if phase.is_none_or(|phase| phase == "Pending") {
        status["currentVolumeAttributesClassName"] = json!(spec.volume_attributes_class_name);
    }
    Some(status)
}

/// A claim that takes any volume that fits.
fn seek(observed: &ObservedClaim, claim: &PersistentVolumeClaim) -> Plan {
    let class = observed.class.as_deref();
    let delayed = class.and_then(|class| class.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer");
    if let Some(volume) = find(&observed.volumes, claim, delayed, observed.node.as_deref()) {
        return Plan::default().then(Action::Bind { volume: volume.name_any() });
    }
    let name = class_of_claim(claim);
    let says_nothing = claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_none());
    if let Some(default) = observed.default_class.as_ref().filter(|_| says_nothing && name.is_empty()) {
        return Plan::default().then(Action::Classify { class: default.clone() });
    }
    if delayed && observed.node.is_none() {
        return await_pod(&observed.unplaced);
    }
    if name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return Plan::default().tell(EventType::Normal, "FailedBinding", message);
    }
    let Some(class) = class else {
        let message = format!("storageclass.storage.k8s.io {name:?} not found");
        return Plan::default().tell(EventType::Warning, "ProvisioningFailed", message);
    };
    let provisioner = driver_for(&class.provisioner).unwrap_or(&class.provisioner);
    if provisioner.starts_with(BUILT_IN) {
        let message = format!("no volume plugin matched name: {provisioner}");
        return Plan::default().tell(EventType::Warning, "ProvisioningFailed", message);
    }
    provision(observed, claim, provisioner, delayed)
}

/// Where the volume is to be is known once a pod with the claim has a node.
fn await_pod(unplaced: &[String]) -> Plan {
    let (reason, message) = match unplaced {
        [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
        [pod] => ("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
        pods => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", pods.join(","))),
    };
    Plan::default().tell(EventType::Normal, reason, message)
}

fn provision(observed: &ObservedClaim, claim: &PersistentVolumeClaim, provisioner: &str, delayed: bool) -> Plan {
    let asked = PROVISIONERS.iter().all(|key| claim.annotations().get(*key).is_some_and(|known| known == provisioner));
    let node = observed.node.as_ref().filter(|_| delayed).map(|node| node.name_any());
    let told = node.is_none() || claim.annotations().contains_key(SELECTED_NODE);
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    let plan = match asked && told {
        true => Plan::default(),
        false => Plan::default().then(Action::Provision { provisioner: provisioner.to_owned(), node }),
    };
    plan.tell(EventType::Normal, "ExternalProvisioning", message)
}

pub(super) struct ObservedVolume {
    pub(super) volume: Arc<PersistentVolume>,
    /// The claim it is reserved for, when there is one of that name.
    pub(super) claim: Option<Arc<PersistentVolumeClaim>>,
    /// Pods that use a claim of that name while there is none: `namespace/name`.
    pub(super) users: Vec<String>,
    pub(super) recycler: Recycler,
}

pub(super) fn plan_volume(observed: &ObservedVolume) -> Plan {
    let volume = observed.volume.as_ref();
    let (wanted, driver) = (finalizers(volume), migrated_to(volume));
    if wanted != volume.finalizers() || driver.is_some() {
        return Plan::default().then(Action::Mark { finalizers: wanted, driver });
    }
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let to = |wanted: &'static str| match phase == wanted {
        true => Plan::default(),
        false => Plan::default().then(Action::Volume { phase: wanted, message: String::new() }),
    };
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return to("Available") };
    if reference.uid.as_ref().is_none_or(String::is_empty) {
        return to("Available");
    }
    let Some(claim) = observed.claim.as_ref().filter(|claim| claim.metadata.uid == reference.uid) else {
        let plan = if phase == "Failed" { Plan::default() } else { to("Released") };
        return reclaim(observed, phase, plan);
    };
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    if wanted.is_empty() {
        if !has_volume_mode(volume, claim) {
            let message = format!(
                "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
                claim.name_any()
            );
            let plan = Plan::default().tell(EventType::Warning, "VolumeMismatch", message);
            let message = format!(
                "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
                volume.name_any()
            );
            return plan.then(Action::WarnClaim { message });
        }
        return Plan::default().then(Action::WakeClaim);
    }
    if wanted == volume.name_any() {
        return to("Bound");
    }
    let provisioned = volume.annotations().contains_key(PROVISIONED_BY);
    match provisioned && policy(volume) == "Delete" {
        true => reclaim(observed, phase, if phase == "Failed" { Plan::default() } else { to("Released") }),
        false => Plan::default().then(Action::Unbind),
    }
}

pub(super) fn policy(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain")
}
