//! Which claims get a folder, what their volumes look like, and when they go.

use k8s_openapi::{
    api::{
        core::v1::{
            LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
            PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::kube::ResourceExt;
use std::{collections::BTreeMap, sync::Arc};

pub(super) const PROVISIONER: &str = "mk8s.io/local-path";
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
pub(super) const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
const ASKED: [&str; 2] = ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On volumes: the node whose folder it is.
const NODE: &str = "mk8s.io/node";
const HOSTNAME: &str = "kubernetes.io/hostname";

pub(super) struct Observed {
    pub(super) claim: Arc<PersistentVolumeClaim>,
    pub(super) class: Option<Arc<StorageClass>>,
    /// The node that was chosen for the claim, when there is one of that name.
    pub(super) node: Option<Arc<Node>>,
    /// There is a volume for the claim.
    pub(super) provisioned: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    Provision {
        node: String,
        folder: String,
    },
    /// It will never do, as it is.
    Refuse {
        why: String,
    },
    /// Another node is to be chosen.
    Reschedule {
        why: String,
    },
}

#[derive(Debug, PartialEq)]
pub(super) enum VolumeStep {
    Nothing,
    Delete {
        node: String,
        folder: String,
    },
    /// What is kept needs no one to delete its folder.
    LetGo,
}

pub(super) fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let spec = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    claim.annotations().get(CLASS).or(spec).map(String::as_str).unwrap_or_default()
}

pub(super) fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.annotations().get(SELECTED_NODE).map(String::as_str).filter(|node| !node.is_empty())
}

/// The name of the volume for a claim: the same at each attempt.
pub(super) fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.uid().unwrap_or_default())
}

pub(super) fn plan_claim(observed: &Observed) -> Step {
    let claim = observed.claim.as_ref();
    let Some(spec) = claim.spec.as_ref() else { return Step::Nothing };
    let asked = ASKED.iter().find_map(|key| claim.annotations().get(*key)).is_some_and(|name| name == PROVISIONER);
    let bound = spec.volume_name.as_ref().is_some_and(|name| !name.is_empty());
    let leaving = claim.metadata.deletion_timestamp.is_some();
    let Some(class) = observed.class.as_deref().filter(|class| class.provisioner == PROVISIONER) else {
        return Step::Nothing;
    };
    if !asked || bound || leaving || observed.provisioned {
        return Step::Nothing;
    }
    let refuse = |why: &str| Step::Refuse { why: why.to_owned() };
    if spec.selector.is_some() {
        return refuse("claim.Spec.Selector is not supported");
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return refuse("local-path volumes are folders: volumeMode Block is not supported");
    }
    let one_node = |mode: &String| matches!(mode.as_str(), "ReadWriteOnce" | "ReadWriteOncePod");
    if !spec.access_modes.iter().flatten().all(one_node) {
        return refuse("NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes");
    }
    match (selected_node(claim), &observed.node) {
        (None, _) if class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") => Step::Nothing,
        (None, _) => refuse("configuration error, no node was specified"),
        (Some(name), None) => Step::Reschedule { why: format!("failed to get target node: node {name:?} not found") },
        (Some(_), Some(node)) => Step::Provision { node: node.name_any(), folder: folder(claim) },
    }
}

/// Whose it is can be read from its name.
fn folder(claim: &PersistentVolumeClaim) -> String {
    format!("{}_{}_{}", volume_name(claim), claim.namespace().unwrap_or_default(), claim.name_any())
}

/// The volume of a claim, once its folder is there.
pub(super) fn volume_for(observed: &Observed, path: &str) -> Option<PersistentVolume> {
    let (claim, class, node) = (observed.claim.as_ref(), observed.class.as_ref()?, observed.node.as_ref()?);
    let spec = claim.spec.as_ref()?;
    let requested = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage")).cloned();
    let hostname = node.labels().get(HOSTNAME).cloned().unwrap_or_else(|| node.name_any());
    let on_node =
        NodeSelectorRequirement { key: HOSTNAME.to_owned(), operator: "In".to_owned(), values: Some(vec![hostname]) };
    let term = NodeSelectorTerm { match_expressions: Some(vec![on_node]), match_fields: None };
    Some(PersistentVolume {
        metadata: ObjectMeta {
            name: Some(volume_name(claim)),
            annotations: Some(BTreeMap::from([
                (PROVISIONED_BY.to_owned(), PROVISIONER.to_owned()),
                (NODE.to_owned(), node.name_any()),
            ])),
            finalizers: Some(vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            capacity: requested.map(|amount| BTreeMap::from([("storage".to_owned(), amount)])),
            access_modes: spec.access_modes.clone(),
            volume_mode: spec.volume_mode.clone(),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone().or(Some("Delete".to_owned())),
            storage_class_name: Some(class.name_any()),
            mount_options: class.mount_options.clone(),
            local: Some(LocalVolumeSource { path: path.to_owned(), fs_type: None }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: claim.namespace(),
                name: claim.metadata.name.clone(),
                uid: claim.uid(),
                resource_version: claim.resource_version(),
                ..ObjectReference::default()
            }),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })
}

pub(super) fn plan_volume(volume: &PersistentVolume) -> VolumeStep {
    if volume.annotations().get(PROVISIONED_BY).map(String::as_str) != Some(PROVISIONER) {
        return VolumeStep::Nothing;
    }
    let Some(spec) = volume.spec.as_ref() else { return VolumeStep::Nothing };
    let deleted = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    let ours = volume.finalizers().iter().any(|name| name == FINALIZER);
    if !deleted {
        let leaving = volume.metadata.deletion_timestamp.is_some();
        return if leaving && ours { VolumeStep::LetGo } else { VolumeStep::Nothing };
    }
    let released = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released");
    let folder =
        spec.local.as_ref().and_then(|local| local.path.rsplit('/').next()).filter(|name| name.starts_with("pvc-"));
    match (released, volume.annotations().get(NODE), folder) {
        (true, Some(node), Some(folder)) => VolumeStep::Delete { node: node.clone(), folder: folder.to_owned() },
        _ => VolumeStep::Nothing,
    }
}
