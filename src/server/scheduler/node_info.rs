//! A node as a scheduling cycle sees it: its object, and what the pods on it hold.

use crate::{
    pod_facts::{HostPort, PodFacts},
    resource::Resource,
};
use k8s_openapi::api::core::v1::Node;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A node with what is taken of it.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    pub name: String,
    /// Absent while pods are known on a node that is not: such an entry takes no pods.
    pub node: Option<Arc<Node>>,
    pub allocatable: Resource,
    pub requested: Resource,
    /// As `requested`, with containers that ask for nothing counted as small ones.
    pub nominal: Resource,
    pub host_ports: Vec<HostPort>,
    /// Bytes of each image on the node, by every name of it.
    pub images: HashMap<String, i64>,
    /// Pods by uid.
    pods: BTreeMap<String, Arc<PodFacts>>,
}

impl NodeInfo {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        self.allocatable =
            status.and_then(|s| s.allocatable.as_ref()).map(Resource::from_list).unwrap_or_default();
        self.images = status
            .into_iter()
            .flat_map(|s| s.images.iter().flatten())
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or(0);
                image.names.iter().flatten().map(move |name| (name.clone(), size))
            })
            .collect();
        self.node = Some(node);
    }

    /// Adds a pod, or replaces the one with the same uid.
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        self.remove(&pod.uid);
        self.requested.add(&pod.request.exact);
        self.nominal.add(&pod.request.nominal);
        self.host_ports.extend(pod.host_ports.iter().cloned());
        self.pods.insert(pod.uid.clone(), pod);
    }

    /// Returns whether the pod was there.
    pub fn remove(&mut self, uid: &str) -> bool {
        let Some(pod) = self.pods.remove(uid) else { return false };
        self.requested.subtract(&pod.request.exact);
        self.nominal.subtract(&pod.request.nominal);
        for port in &pod.host_ports {
            if let Some(at) = self.host_ports.iter().position(|held| held == port) {
                self.host_ports.swap_remove(at);
            }
        }
        true
    }

    pub fn pod_count(&self) -> i64 {
        i64::try_from(self.pods.len()).unwrap_or(i64::MAX)
    }
}
