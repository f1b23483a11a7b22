//! What the scheduler knows beside nodes and pods: namespaces, what owns and selects pods, budgets, and volumes.

use crate::{devices::Devices, selector, terms::Labels};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    policy::v1::PodDisruptionBudget,
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};
use mk8s_api::select::LabelSelector;
use mk8s_client::pod::Pod;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

/// A budget of disruptions, as far as preemption asks.
#[derive(Debug, Clone)]
pub struct Budget {
    pub namespace: String,
    pub selector: LabelSelector,
    pub allowed: i32,
    /// Pods whose disruption the budget has counted already.
    pub disrupted: Vec<String>,
}

impl Budget {
    pub fn of(budget: &PodDisruptionBudget) -> Self {
        let status = budget.status.as_ref();
        let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
        Self {
            namespace: budget.metadata.namespace.clone().unwrap_or_default(),
            selector: selector::of(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()), Vec::new()),
            allowed: status.map_or(0, |status| status.disruptions_allowed.unwrap_or(0)),
            disrupted: disrupted.map(|pods| pods.keys().cloned().collect()).unwrap_or_default(),
        }
    }
}

/// Volumes and what is said about them.
#[derive(Debug, Default)]
pub struct Storage {
    /// By `namespace/name`.
    pub claims: HashMap<String, Arc<PersistentVolumeClaim>>,
    pub volumes: BTreeMap<String, Arc<PersistentVolume>>,
    pub classes: HashMap<String, Arc<StorageClass>>,
    pub csi_nodes: HashMap<String, Arc<CSINode>>,
    pub csi_drivers: HashMap<String, Arc<CSIDriver>>,
    /// By `namespace/name`.
    pub capacities: BTreeMap<String, Arc<CSIStorageCapacity>>,
    /// By name.
    pub attachments: BTreeMap<String, Arc<VolumeAttachment>>,
    /// Volumes that a pod in binding has chosen: by volume, the claim's `namespace/name`.
    pub promised_volumes: HashMap<String, String>,
    /// Claims that a pod in binding lets be provisioned: by `namespace/name`, the node.
    pub promised_claims: HashMap<String, String>,
}

#[derive(Debug, Default)]
pub struct Catalogue {
    namespaces: HashMap<String, Labels>,
    /// By namespace and name: what a Service selects.
    services: HashMap<String, BTreeMap<String, Labels>>,
    /// By kind, namespace and name: what a ReplicationController, ReplicaSet or StatefulSet selects.
    owners: HashMap<(&'static str, String, String), LabelSelector>,
    pub budgets: BTreeMap<String, Budget>,
    pub storage: Storage,
    pub devices: Devices,
}

static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::new);

/// The kinds whose selector says which pods belong together.
pub const OWNER_KINDS: [&str; 3] = ["ReplicationController", "ReplicaSet", "StatefulSet"];

impl Catalogue {
    pub fn namespace_labels(&self, namespace: &str) -> &Labels {
        self.namespaces.get(namespace).unwrap_or(&NO_LABELS)
    }

    /// Returns whether anything changed.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()) != Some(labels),
            None => self.namespaces.remove(name).is_some(),
        }
    }

    pub fn set_service(&mut self, namespace: &str, name: &str, selector: Option<Labels>) {
        let services = self.services.entry(namespace.to_owned()).or_default();
        match selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => drop(services.insert(name.to_owned(), selector)),
            None => drop(services.remove(name)),
        }
        if services.is_empty() {
            self.services.remove(namespace);
        }
    }

    pub fn set_owner(&mut self, kind: &'static str, namespace: &str, name: &str, selector: Option<LabelSelector>) {
        let key = (kind, namespace.to_owned(), name.to_owned());
        match selector {
            Some(selector) => drop(self.owners.insert(key, selector)),
            None => drop(self.owners.remove(&key)),
        }
    }

    /// What the Services and the controller of a pod select: the pods that belong with it. Everything when there is
    /// nothing of the kind.
    pub fn default_selector(&self, pod: &Pod) -> LabelSelector {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS);
        let mut merged: BTreeMap<&str, &str> = BTreeMap::new();
        for selected in self.services.get(namespace).into_iter().flat_map(BTreeMap::values) {
            if selected.iter().all(|(key, value)| labels.get(key) == Some(value)) {
                merged.extend(selected.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            }
        }
        let services = LabelSelector::from_set(merged);
        let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let found = owner.and_then(|owner| {
            let kind = OWNER_KINDS.into_iter().find(|kind| *kind == owner.kind)?;
            let group = if kind == "ReplicationController" { "v1" } else { "apps/v1" };
            let key = (kind, namespace.to_owned(), owner.name.clone());
            if owner.api_version == group { self.owners.get(&key) } else { None }
        });
        match found {
            None => services,
            Some(owner) if owner.is_nothing() => services,
            Some(owner) => {
                let mut all = services.requirements().to_vec();
                all.extend(owner.requirements().iter().cloned());
                LabelSelector::of(all)
            }
        }
    }
}

/// Puts an object in a map, or takes it out; returns what was there.
pub fn keep<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, Arc<V>>, key: K, new: Option<Arc<V>>) -> Option<Arc<V>> {
    match new {
        Some(new) => map.insert(key, new),
        None => map.remove(&key),
    }
}

/// As [`keep`], for an ordered map.
pub fn keep_ordered<K: Ord, V>(map: &mut BTreeMap<K, Arc<V>>, key: K, new: Option<Arc<V>>) -> Option<Arc<V>> {
    match new {
        Some(new) => map.insert(key, new),
        None => map.remove(&key),
    }
}
