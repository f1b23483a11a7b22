//! Which volume a claim gets: of those that satisfy it the one with the fewest access modes, then the smallest.

use crate::{common::selectors, daemon_set::term_matches};
use k8s_openapi::{
    api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::api::resource::Quantity as Text,
};
use mk8s_api::quantity::Quantity;
use mk8s_client::kube::ResourceExt;
use std::{collections::BTreeMap, sync::Arc};

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn storage(amounts: Option<&BTreeMap<String, Text>>) -> Quantity {
    let text = amounts.and_then(|amounts| amounts.get("storage"));
    let amount = text.and_then(|text| Quantity::parse(&text.0).ok());
    amount.unwrap_or_else(|| Quantity::parse("0").expect("a number"))
}

/// The class of a claim; empty when it is to have none.
pub(super) fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    let spec = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    claim.annotations().get(CLASS).or(spec).map(String::as_str).unwrap_or_default()
}

pub(super) fn class_of_volume(volume: &PersistentVolume) -> &str {
    let spec = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    volume.annotations().get(CLASS).or(spec).map(String::as_str).unwrap_or_default()
}

/// Reserved for this claim, by name, and by uid where there is one.
pub(super) fn is_reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let same_uid = reference.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref());
    reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace && same_uid
}

fn modes(volume: &PersistentVolume) -> &[String] {
    volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default()
}

fn volume_mode(mode: Option<&String>) -> &str {
    mode.map(String::as_str).unwrap_or("Filesystem")
}

/// Why a volume that was asked for by name cannot be had.
pub(super) fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    let (Some(has), Some(wants)) = (volume.spec.as_ref(), claim.spec.as_ref()) else { return None };
    if volume.metadata.deletion_timestamp.is_some() {
        return Some(format!("the volume is marked for deletion {:?}", volume.name_any()));
    }
    let asked = wants.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    if storage(has.capacity.as_ref()) < storage(asked) {
        return Some("requested PV is too small".to_owned());
    }
    if class_of_volume(volume) != class_of_claim(claim) {
        return Some("storageClassName does not match".to_owned());
    }
    if !has_attributes(volume, claim) {
        return Some("volumeAttributesClassName does not match".to_owned());
    }
    if !has_volume_mode(volume, claim) {
        return Some("incompatible volumeMode".to_owned());
    }
    if !has_modes(volume, claim) {
        return Some("incompatible accessMode".to_owned());
    }
    None
}

fn has_attributes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let has = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let wants = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    has.unwrap_or_default() == wants.unwrap_or_default()
}

/// Block devices and file systems are not each other.
pub(super) fn has_volume_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let has = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref());
    let wants = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref());
    volume_mode(has) == volume_mode(wants)
}

fn has_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    wanted.iter().all(|mode| modes(volume).contains(mode))
}

fn reaches(volume: &PersistentVolume, node: Option<&Node>) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    match (affinity, node) {
        (Some(required), Some(node)) => required.node_selector_terms.iter().any(|term| term_matches(term, node)),
        _ => true,
    }
}

/// `node` is where the claim will be used; while that is awaited (`delayed`) only a reserved volume will do.
pub(super) fn find<'a>(
    volumes: &'a [Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
    delayed: bool,
    node: Option<&Node>,
) -> Option<&'a Arc<PersistentVolume>> {
    let wants = claim.spec.as_ref()?;
    let asked = storage(wants.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    let selector = wants.selector.as_ref().map(|selector| selectors::compile(Some(selector)));
    let fits = |volume: &&Arc<PersistentVolume>| {
        let Some(has) = volume.spec.as_ref() else { return false };
        volume.metadata.deletion_timestamp.is_none()
            && storage(has.capacity.as_ref()) >= asked
            && has_volume_mode(volume, claim)
            && has_attributes(volume, claim)
            && has_modes(volume, claim)
            && reaches(volume, node)
    };
    let candidates: Vec<&Arc<PersistentVolume>> = volumes.iter().filter(fits).collect();
    if let Some(reserved) = candidates.iter().find(|volume| is_reserved_for(volume, claim)) {
        return Some(reserved);
    }
    if delayed && node.is_none() {
        return None;
    }
    let is_free = |volume: &&&Arc<PersistentVolume>| {
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let selected = match &selector {
            None => true,
            Some(selector) => selector.as_ref().is_some_and(|selector| selector.matches(&volume.metadata.labels)),
        };
        phase == Some("Available")
            && volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_none())
            && selected
            && class_of_volume(volume) == class_of_claim(claim)
    };
    let size = |volume: &PersistentVolume| storage(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()));
    let free = candidates.iter().filter(is_free);
    free.min_by_key(|volume| (modes(volume).len(), size(volume), volume.name_any())).copied()
}
