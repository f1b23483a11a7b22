//! One change of the cluster with its objects: what a plugin looks at to tell whether a pod that it rejected may fit now.

use crate::{events::Events, node_info::NodeFacts, pod_facts::PodFacts};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    resource::v1::{DeviceClass, ResourceClaim, ResourceSlice},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};
use std::sync::Arc;

/// Before and after; at least one of them is there.
#[derive(Debug)]
pub struct Pair<T> {
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

impl<T> Pair<T> {
    pub fn added(new: Arc<T>) -> Self {
        Self { old: None, new: Some(new) }
    }

    pub fn gone(old: Arc<T>) -> Self {
        Self { old: Some(old), new: None }
    }
}

#[derive(Debug)]
pub enum Subject {
    Node(Pair<NodeFacts>),
    /// A pod with a node.
    Pod(Pair<PodFacts>),
    /// The waiting pod itself.
    Itself(Pair<PodFacts>),
    Claim(Pair<PersistentVolumeClaim>),
    Volume(Pair<PersistentVolume>),
    StorageClass(Pair<StorageClass>),
    CsiNode(Pair<CSINode>),
    CsiDriver(Pair<CSIDriver>),
    CsiCapacity(Pair<CSIStorageCapacity>),
    Attachment(Pair<VolumeAttachment>),
    ResourceClaim(Pair<ResourceClaim>),
    ResourceSlice(Pair<ResourceSlice>),
    DeviceClass(Pair<DeviceClass>),
}

#[derive(Debug)]
pub struct Change {
    pub events: Events,
    pub subject: Subject,
}

/// The words for an object that was added, changed, and taken away.
fn action<T>(pair: &Pair<T>, [added, updated, gone]: [&'static str; 3]) -> &'static str {
    match (&pair.old, &pair.new) {
        (None, _) => added,
        (Some(_), Some(_)) => updated,
        (Some(_), None) => gone,
    }
}

macro_rules! actions {
    ($pair:expr, $kind:literal) => {
        action($pair, [concat!($kind, "Add"), concat!($kind, "Update"), concat!($kind, "Delete")])
    };
}

impl Change {
    /// What metrics call it.
    pub fn label(&self) -> &'static str {
        match &self.subject {
            Subject::Node(pair) => actions!(pair, "Node"),
            Subject::Pod(pair) => actions!(pair, "AssignedPod"),
            Subject::Itself(pair) => actions!(pair, "UnschedulablePod"),
            Subject::Claim(pair) => actions!(pair, "PersistentVolumeClaim"),
            Subject::Volume(pair) => actions!(pair, "PersistentVolume"),
            Subject::StorageClass(pair) => actions!(pair, "storage.k8s.io/StorageClass"),
            Subject::CsiNode(pair) => actions!(pair, "storage.k8s.io/CSINode"),
            Subject::CsiDriver(pair) => actions!(pair, "storage.k8s.io/CSIDriver"),
            Subject::CsiCapacity(pair) => actions!(pair, "storage.k8s.io/CSIStorageCapacity"),
            Subject::Attachment(pair) => actions!(pair, "storage.k8s.io/VolumeAttachment"),
            Subject::ResourceClaim(pair) => actions!(pair, "resource.k8s.io/ResourceClaim"),
            Subject::ResourceSlice(pair) => actions!(pair, "resource.k8s.io/ResourceSlice"),
            Subject::DeviceClass(pair) => actions!(pair, "resource.k8s.io/DeviceClass"),
        }
    }

    pub fn pod_added(pod: Arc<PodFacts>) -> Self {
        Self { events: Events::POD_ADDED, subject: Subject::Pod(Pair::added(pod)) }
    }

    pub fn pod_gone(pod: Arc<PodFacts>) -> Self {
        Self { events: Events::POD_GONE, subject: Subject::Pod(Pair::gone(pod)) }
    }

    /// What differs between two versions of a pod, as far as it can help a waiting one.
    pub fn pod_updated(old: &Arc<PodFacts>, new: &Arc<PodFacts>, waits: bool) -> Self {
        let mut events = Events::NONE;
        if old.labels() != new.labels() {
            events |= Events::POD_LABELS;
        }
        if old.request.exact.exceeds_anywhere(&new.request.exact) {
            events |= Events::POD_SMALLER;
        }
        if waits && old.tolerations() != new.tolerations() {
            events |= Events::POD_TOLERATIONS;
        }
        if waits && old.device_claims != new.device_claims {
            events |= Events::POD_CLAIMS;
        }
        let pair = Pair { old: Some(old.clone()), new: Some(new.clone()) };
        Self { events, subject: if waits { Subject::Itself(pair) } else { Subject::Pod(pair) } }
    }
}
