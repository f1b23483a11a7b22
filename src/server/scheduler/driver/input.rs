//! What the owner of the scheduler is told, and how the scheduler takes it.

use crate::{
    catalogue::{Budget, keep, keep_ordered},
    change::{Change, Pair, Subject},
    events::Events,
    scheduler::Scheduler,
    selector,
    volumes::claim_key,
};
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, ReplicationController, Service},
    policy::v1::PodDisruptionBudget,
    resource::v1::{DeviceClass, ResourceClaim, ResourceSlice},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};
use kube::ResourceExt;
use mk8s_api::select::LabelSelector;
use mk8s_client::pod::Pod;
use std::{sync::Arc, time::Instant};

pub(super) enum Input {
    Observed(Observed),
    /// One more kind has been listed.
    Synced,
    /// A binding ended: the pod's uid, and whether it is bound.
    Bound {
        uid: Arc<str>,
        bound: bool,
        /// Its claims on devices as they were written.
        claims: Vec<Arc<ResourceClaim>>,
    },
    /// The victims of a pod were asked to go, or could not be.
    Preempted {
        uid: Arc<str>,
        failed: bool,
    },
}

/// An object in its newest version, and whether it is still there.
pub(super) struct Seen<K> {
    pub(super) object: Arc<K>,
    pub(super) exists: bool,
}

impl<K> Seen<K> {
    fn current(&self) -> Option<Arc<K>> {
        self.exists.then(|| self.object.clone())
    }
}

pub(super) enum Observed {
    Pod(Seen<Pod>),
    Node(Seen<Node>),
    Namespace(Seen<Namespace>),
    Service(Seen<Service>),
    ReplicationController(Seen<ReplicationController>),
    ReplicaSet(Seen<ReplicaSet>),
    StatefulSet(Seen<StatefulSet>),
    Budget(Seen<PodDisruptionBudget>),
    Claim(Seen<PersistentVolumeClaim>),
    Volume(Seen<PersistentVolume>),
    StorageClass(Seen<StorageClass>),
    CsiNode(Seen<CSINode>),
    CsiDriver(Seen<CSIDriver>),
    CsiCapacity(Seen<CSIStorageCapacity>),
    Attachment(Seen<VolumeAttachment>),
    ResourceClaim(Seen<ResourceClaim>),
    ResourceSlice(Seen<ResourceSlice>),
    DeviceClass(Seen<DeviceClass>),
}

fn names<K: ResourceExt>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

impl Observed {
    pub(super) fn tell(self, scheduler: &mut Scheduler, now: Instant) {
        match self {
            Observed::Pod(seen) if seen.exists => scheduler.pod_applied(seen.object, now),
            Observed::Pod(seen) => scheduler.pod_deleted(seen.object.metadata.uid.as_deref().unwrap_or_default(), now),
            Observed::Node(seen) if seen.exists => scheduler.node_applied(Node::clone(&seen.object), now),
            Observed::Node(seen) => scheduler.node_deleted(&seen.object.name_any(), now),
            Observed::Namespace(seen) => {
                let labels = seen.current().map(|namespace| namespace.metadata.labels.clone().unwrap_or_default());
                scheduler.snapshot.set_namespace(&seen.object.name_any(), labels);
            }
            Observed::Service(seen) => {
                let (namespace, name) = names(&*seen.object);
                let selector = seen.current().and_then(|service| service.spec.as_ref()?.selector.clone());
                scheduler.snapshot.catalogue.set_service(&namespace, &name, selector);
            }
            Observed::Budget(seen) => {
                let (namespace, name) = names(&*seen.object);
                let budgets = &mut scheduler.snapshot.catalogue.budgets;
                let key = format!("{namespace}/{name}");
                match seen.current() {
                    Some(budget) => drop(budgets.insert(key, Budget::of(&budget))),
                    None => drop(budgets.remove(&key)),
                }
            }
            Observed::ReplicationController(seen) => {
                let selected = seen.current().map(|owner| {
                    let selector = owner.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                    let pairs = selector.into_iter().flatten();
                    LabelSelector::from_set(pairs.map(|(key, value)| (key.as_str(), value.as_str())))
                });
                owner(scheduler, "ReplicationController", &*seen.object, selected);
            }
            Observed::ReplicaSet(seen) => {
                let selected = seen
                    .current()
                    .map(|owner| selector::of(owner.spec.as_ref().map(|spec| &spec.selector), Vec::new()));
                owner(scheduler, "ReplicaSet", &*seen.object, selected);
            }
            Observed::StatefulSet(seen) => {
                let selected = seen
                    .current()
                    .map(|owner| selector::of(owner.spec.as_ref().map(|spec| &spec.selector), Vec::new()));
                owner(scheduler, "StatefulSet", &*seen.object, selected);
            }
            Observed::ResourceClaim(seen) => scheduler.claim_changed(&seen.object, seen.exists, now),
            Observed::ResourceSlice(seen) => scheduler.slice_changed(&seen.object, seen.exists, now),
            Observed::DeviceClass(seen) => scheduler.device_class_changed(&seen.object, seen.exists, now),
            storage => storage.tell_storage(scheduler, now),
        }
    }

    fn tell_storage(self, scheduler: &mut Scheduler, now: Instant) {
        let storage = &mut scheduler.snapshot.catalogue.storage;
        let change = match self {
            Observed::Claim(seen) => {
                let old = keep(&mut storage.claims, claim_key(&seen.object), seen.current());
                changed(Events::CLAIM, Subject::Claim(Pair { old, new: seen.current() }))
            }
            Observed::Volume(seen) => {
                let old = keep_ordered(&mut storage.volumes, seen.object.name_any(), seen.current());
                changed(Events::VOLUME, Subject::Volume(Pair { old, new: seen.current() }))
            }
            Observed::StorageClass(seen) => {
                let old = keep(&mut storage.classes, seen.object.name_any(), seen.current());
                changed(Events::STORAGE_CLASS, Subject::StorageClass(Pair { old, new: seen.current() }))
            }
            Observed::CsiNode(seen) => {
                let old = keep(&mut storage.csi_nodes, seen.object.name_any(), seen.current());
                changed(Events::CSI_NODE, Subject::CsiNode(Pair { old, new: seen.current() }))
            }
            Observed::CsiDriver(seen) => {
                let old = keep(&mut storage.csi_drivers, seen.object.name_any(), seen.current());
                changed(Events::CSI_DRIVER, Subject::CsiDriver(Pair { old, new: seen.current() }))
            }
            Observed::CsiCapacity(seen) => {
                let (namespace, name) = names(&*seen.object);
                let old = keep_ordered(&mut storage.capacities, format!("{namespace}/{name}"), seen.current());
                changed(Events::CSI_CAPACITY, Subject::CsiCapacity(Pair { old, new: seen.current() }))
            }
            Observed::Attachment(seen) => {
                let old = keep_ordered(&mut storage.attachments, seen.object.name_any(), seen.current());
                changed(Events::ATTACHMENT, Subject::Attachment(Pair { old, new: seen.current() }))
            }
            _ => return,
        };
        scheduler.changed(&change, now);
    }
}

fn changed(events: Events, subject: Subject) -> Change {
    Change { events, subject }
}

fn owner<K: ResourceExt>(scheduler: &mut Scheduler, kind: &'static str, object: &K, selected: Option<LabelSelector>) {
    let (namespace, name) = names(object);
    scheduler.snapshot.catalogue.set_owner(kind, &namespace, &name, selected);
}
