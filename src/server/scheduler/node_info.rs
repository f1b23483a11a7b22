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
    count: i64,
    /// What the pods of each priority hold, and how many they are.
    by_priority: Vec<(i32, Resource, i64)>,
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
            count: 0,
            by_priority: Vec::new(),
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

    /// The node as filters see it that look at no pods: what is taken of it, but not by whom.
    pub fn sum(&self) -> Self {
        let mut sum = Self::new(self.slot, self.facts.clone());
        sum.requested = self.requested.clone();
        (sum.nominated, sum.count) = (self.nominated, self.count);
        sum
    }

    /// In a [`NodeInfo::sum`]: one pod more.
    pub fn take(&mut self, request: &Resource) {
        self.requested.add(request);
        self.count += 1;
    }

    /// In a [`NodeInfo::sum`]: one pod less.
    pub fn give_back(&mut self, request: &Resource) {
        self.requested.subtract(request);
        self.count -= 1;
    }

    /// The sum without the pods of a lower priority; `None` when there are none.
    pub fn sum_without_below(&self, priority: i32) -> Option<Self> {
        let mut sum = self.sum();
        for (_, held, pods) in self.by_priority.iter().filter(|(of, ..)| *of < priority) {
            sum.requested.subtract(held);
            sum.count -= pods;
        }
        (sum.count < self.count).then_some(sum)
    }

    /// Adds a pod that is not here.
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        self.take(&pod.request.exact);
        match self.by_priority.iter_mut().find(|(priority, ..)| *priority == pod.priority) {
            Some((_, held, pods)) => {
                held.add(&pod.request.exact);
                *pods += 1;
            }
            None => self.by_priority.push((pod.priority, pod.request.exact.clone(), 1)),
        }
        self.nominal.add(&pod.request.nominal);
        self.host_ports.extend(pod.host_ports.iter().cloned());
        self.pods.push(pod);
    }

    /// Takes a pod away, if it is here.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodFacts>> {
        let at = self.pods.iter().position(|pod| &*pod.uid == uid)?;
        let pod = self.pods.swap_remove(at);
        self.give_back(&pod.request.exact);
        if let Some(at) = self.by_priority.iter().position(|(priority, ..)| *priority == pod.priority) {
            let (_, held, pods) = &mut self.by_priority[at];
            held.subtract(&pod.request.exact);
            *pods -= 1;
            if *pods == 0 {
                self.by_priority.swap_remove(at);
            }
        }
        self.nominal.subtract(&pod.request.nominal);
        for port in &pod.host_ports {
            if let Some(at) = self.host_ports.iter().position(|held| held == port) {
                self.host_ports.swap_remove(at);
            }
        }
        Some(pod)
    }

    pub fn pod_count(&self) -> i64 {
        self.count
    }
}
