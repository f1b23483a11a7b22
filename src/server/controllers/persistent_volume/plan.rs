//! What becomes of one claim, and of one volume.

use super::matching::{class_of_claim, find, is_reserved_for, mismatch};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use mk8s_client::{events::EventType, kube::ResourceExt};
use std::sync::Arc;

pub(super) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
pub(super) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
pub(super) const PROVISIONERS: [&str; 2] =
    ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"];

/// A class with this provisioner is for volumes that someone makes by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

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
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) events: Vec<Report>,
}

impl Plan {
    fn tell(mut self, kind: EventType, reason: &'static str, message: impl Into<String>) -> Plan {
        self.events.push((kind, reason, message.into()));
        self
    }

    fn then(mut self, action: Action) -> Plan {
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
            let other = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            let other = other.map(|other| {
                format!("{}/{}", other.namespace.clone().unwrap_or_default(), other.name.clone().unwrap_or_default())
            });
            let message =
                format!("volume {wanted:?} already bound to a different claim ({}).", other.unwrap_or_default());
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
        let message = "waiting for first consumer to be created before binding";
        return Plan::default().tell(EventType::Normal, "WaitForFirstConsumer", message);
    }
    if name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return Plan::default().tell(EventType::Normal, "FailedBinding", message);
    }
    let Some(class) = class else {
        let message = format!("storageclass.storage.k8s.io {name:?} not found");
        return Plan::default().tell(EventType::Warning, "ProvisioningFailed", message);
    };
    if class.provisioner == NO_PROVISIONER {
        let message = format!("no volume plugin matched name: {NO_PROVISIONER}");
        return Plan::default().tell(EventType::Warning, "ProvisioningFailed", message);
    }
    provision(observed, claim, &class.provisioner, delayed)
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
}

pub(super) fn plan_volume(observed: &ObservedVolume) -> Plan {
    let volume = observed.volume.as_ref();
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
        return reclaim(volume, phase, plan);
    };
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    if wanted.is_empty() {
        return Plan::default().then(Action::WakeClaim);
    }
    if wanted == volume.name_any() {
        return to("Bound");
    }
    let provisioned = volume.annotations().contains_key(PROVISIONED_BY);
    match provisioned && policy(volume) == "Delete" {
        true => reclaim(volume, phase, if phase == "Failed" { Plan::default() } else { to("Released") }),
        false => Plan::default().then(Action::Unbind),
    }
}

fn policy(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or("Retain")
}

/// What is retained waits for its administrator; who has made a volume deletes it.
fn reclaim(volume: &PersistentVolume, phase: &str, plan: Plan) -> Plan {
    let provisioned = volume.annotations().contains_key(PROVISIONED_BY);
    let (reason, message) = match policy(volume) {
        "Delete" if !provisioned => {
            let name = volume.name_any();
            (
                "VolumeFailedDelete",
                format!("error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"),
            )
        }
        "Recycle" => ("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned()),
        _ => return plan,
    };
    if phase == "Failed" {
        return plan;
    }
    let failed = Plan::default().then(Action::Volume { phase: "Failed", message: message.clone() });
    failed.tell(EventType::Warning, reason, message)
}
