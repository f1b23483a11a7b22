//! A node as a scheduling cycle sees it: what it is, and what the pods on it hold.

use crate::{
    pod_facts::{HostPort, PodFacts},
    resource::Resource,
    terms::Labels,
};
use k8s_openapi::api::core::v1::{Node, Taint};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// Where a node is in the snapshot. Stays the same while the node is known.
pub type Slot = u32;

/// What a version of a node says.
#[derive(Debug, Default)]
pub struct NodeFacts {
    pub name: String,
    /// Absent while pods are known on a node that is not.
    pub node: Option<Node>,
    pub allocatable: Resource,
    pub cordoned: bool,
    pub tainted: bool,
    /// Bytes of each image on the node, by every name of it.
    pub images: HashMap<String, i64>,
}

static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::new);

impl NodeFacts {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub fn of(node: Node) -> Self {
        let status = node.status.as_ref();
        let spec = node.spec.as_ref();
        let images = status.into_iter().flat_map(|s| s.images.iter().flatten());
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            allocatable: status.and_then(|s| s.allocatable.as_ref()).map(Resource::from_list).unwrap_or_default(),
            cordoned: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            tainted: spec.and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| !taints.is_empty()),
            images: images
                .flat_map(|image| {
                    let size = image.size_bytes.unwrap_or(0);
                    image.names.iter().flatten().map(move |name| (name.clone(), size))
                })
                .collect(),
            node: Some(node),
        }
    }

    pub fn labels(&self) -> &Labels {
        self.node.as_ref().and_then(|node| node.metadata.labels.as_ref()).unwrap_or(&NO_LABELS)
    }

    pub fn taints(&self) -> &[Taint] {
        if !self.tainted {
            return &[];
        }
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// Its region and zone, by the labels of today and those of before.
    pub fn zone(&self) -> Option<(&str, &str)> {
        let labels = self.labels();
        let of = |now: &str, before: &str| labels.get(before).or_else(|| labels.get(now)).map_or("", String::as_str);
        let region = of("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region");
        let zone = of("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
        (!region.is_empty() || !zone.is_empty()).then_some((region, zone))
    }
}

/// A node with what is taken of it.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    pub slot: Slot,
    pub requested: Resource,
    /// As `requested`, with containers that ask for nothing counted as small ones.
    pub nominal: Resource,
    pub pods: Vec<Arc<PodFacts>>,
    pub host_ports: Vec<HostPort>,
    pub facts: Arc<NodeFacts>,
    /// Whether room is kept here for pods that have no node yet.
    pub nominated: bool,
}

impl NodeInfo {
    pub fn new(slot: Slot, facts: Arc<NodeFacts>) -> Self {
        Self {
            slot,
            requested: Resource::default(),
            nominal: Resource::default(),
            pods: Vec::new(),
            host_ports: Vec::new(),
            facts,
            nominated: false,
        }
    }

    pub fn name(&self) -> &str {
        &self.facts.name
    }

    pub fn exists(&self) -> bool {
        self.facts.node.is_some()
    }

    pub fn labels(&self) -> &Labels {
        self.facts.labels()
    }

    /// Adds a pod that is not here.
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        self.requested.add(&pod.request.exact);
        self.nominal.add(&pod.request.nominal);
        self.host_ports.extend(pod.host_ports.iter().cloned());
        self.pods.push(pod);
    }

    /// Takes a pod away, if it is here.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodFacts>> {
        let at = self.pods.iter().position(|pod| &*pod.uid == uid)?;
        let pod = self.pods.swap_remove(at);
        self.requested.subtract(&pod.request.exact);
        self.nominal.subtract(&pod.request.nominal);
        for port in &pod.host_ports {
            if let Some(at) = self.host_ports.iter().position(|held| held == port) {
                self.host_ports.swap_remove(at);
            }
        }
        Some(pod)
    }

    pub fn pod_count(&self) -> i64 {
        i64::try_from(self.pods.len()).unwrap_or(i64::MAX)
    }
}
