//! A node as a scheduling cycle sees it: what it is, and what the pods on it hold.

use crate::{
    pod_facts::{HostPort, PodFacts},
    resource::Resource,
    terms::Labels,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use std::{
    cmp::Reverse,
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

/// What filters ask of every node, beside what is taken of it: a search that finds nothing visits thousands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    pub cordoned: bool,
    pub tainted: bool,
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    pub pods: i64,
}

impl Room {
    fn of(facts: &NodeFacts) -> Self {
        let Resource { milli_cpu, memory, ephemeral_storage, pods, .. } = facts.allocatable;
        Self { cordoned: facts.cordoned, tainted: facts.tainted, milli_cpu, memory, ephemeral_storage, pods }
    }
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

    /// Its region and zone.
    pub fn zone(&self) -> Option<(&str, &str)> {
        mk8s_api::topology::zone(self.labels())
    }
}

/// What preemption asks of a pod, beside its neighbours on the node rather than somewhere in memory: dry runs look at
/// the pods of hundreds of nodes.
#[derive(Debug, Clone)]
pub struct Held {
    pub priority: i32,
    /// Who has not started comes after all who have.
    pub started: Timestamp,
    pub request: Resource,
}

impl Held {
    fn of(pod: &PodFacts) -> Self {
        let started = pod.started.unwrap_or(Timestamp::MAX);
        Self { priority: pod.priority, started, request: pod.request.exact.clone() }
    }

    /// Sorts the most important first: by priority, then who runs longest.
    pub fn importance(&self) -> (Reverse<i32>, Timestamp) {
        (Reverse(self.priority), self.started)
    }
}

/// A pod that room is kept for.
#[derive(Debug, Clone)]
pub struct Nominated {
    pub held: Held,
    pub pod: Arc<PodFacts>,
}

impl Nominated {
    pub fn of(pod: &Arc<PodFacts>) -> Self {
        Self { held: Held::of(pod), pod: pod.clone() }
    }
}

/// What is taken of a node: by its pods, or by those that are supposed to be there.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    pub requested: Resource,
    pub pods: i64,
}

impl Taken {
    pub fn add(&mut self, request: &Resource) {
        self.requested.add(request);
        self.pods += 1;
    }

    pub fn subtract(&mut self, request: &Resource) {
        self.requested.subtract(request);
        self.pods -= 1;
    }

    pub fn with(&mut self, other: &Taken) {
        self.requested.add(&other.requested);
        self.pods += other.pods;
    }

    fn without(&mut self, other: &Taken) {
        self.requested.subtract(&other.requested);
        self.pods -= other.pods;
    }
}

/// All nominated pods of a node together: their least priority, and what they would take. Beside the node, because a
/// search asks every node.
#[derive(Debug, Clone)]
struct Kept {
    least: i32,
    taken: Taken,
}

impl Default for Kept {
    fn default() -> Self {
        Self { least: i32::MAX, taken: Taken::default() }
    }
}

/// The least priority of a node's pods and what those of it take, and the next one. Beside the node, too.
#[derive(Debug, Clone)]
struct Least {
    priority: i32,
    taken: Taken,
    next: i32,
}

impl Default for Least {
    fn default() -> Self {
        Self { priority: i32::MAX, taken: Taken::default(), next: i32::MAX }
    }
}

/// A node with what is taken of it.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    pub slot: Slot,
    pub taken: Taken,
    /// As what is taken, with containers that ask for nothing counted as small ones.
    pub nominal: Resource,
    pub pods: Vec<Arc<PodFacts>>,
    pub host_ports: Vec<HostPort>,
    pub facts: Arc<NodeFacts>,
    /// From `facts`.
    pub room: Room,
    nominated: Vec<Nominated>,
    kept: Kept,
    /// In the order of `pods`.
    held: Vec<Held>,
    /// What the pods of each priority hold.
    by_priority: Vec<(i32, Taken)>,
    least: Least,
}

impl NodeInfo {
    /// How much of a resource the node has, by its name: what every pod is ranked by lies in the entry itself.
    pub fn allocatable(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.room.milli_cpu,
            "memory" => self.room.memory,
            "ephemeral-storage" => self.room.ephemeral_storage,
            "pods" => self.room.pods,
            _ => self.facts.allocatable.of(name),
        }
    }

    pub fn new(slot: Slot, facts: Arc<NodeFacts>) -> Self {
        Self {
            slot,
            taken: Taken::default(),
            nominal: Resource::default(),
            pods: Vec::new(),
            host_ports: Vec::new(),
            room: Room::of(&facts),
            facts,
            nominated: Vec::new(),
            kept: Kept::default(),
            least: Least::default(),
            held: Vec::new(),
            by_priority: Vec::new(),
        }
    }

    /// Takes a newer version of the node; returns the one before.
    pub fn set_facts(&mut self, facts: Arc<NodeFacts>) -> Arc<NodeFacts> {
        self.room = Room::of(&facts);
        std::mem::replace(&mut self.facts, facts)
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

    /// Pods that room is kept for here, as they have no node yet.
    pub fn nominated(&self) -> &[Nominated] {
        &self.nominated
    }

    pub fn set_nominated(&mut self, nominated: Vec<Nominated>) {
        self.kept = Kept::default();
        for Nominated { held, .. } in &nominated {
            self.kept.least = self.kept.least.min(held.priority);
            self.kept.taken.add(&held.request);
        }
        self.nominated = nominated;
    }

    /// What all nominated pods would take; `None` when there are none, or some of a priority below this.
    pub fn kept_from(&self, priority: i32) -> Option<&Taken> {
        (self.kept.taken.pods > 0 && self.kept.least >= priority).then_some(&self.kept.taken)
    }

    pub fn is_nominated(&self) -> bool {
        self.kept.taken.pods > 0
    }

    /// What is taken without the pods of a lower priority; `None` when there are none.
    pub fn taken_without_below(&self, priority: i32) -> Option<Taken> {
        if self.least.priority >= priority {
            return None;
        }
        let mut taken = self.taken.clone();
        if self.least.next >= priority {
            taken.without(&self.least.taken);
            return Some(taken);
        }
        self.by_priority.iter().filter(|(of, _)| *of < priority).for_each(|(_, held)| taken.without(held));
        Some(taken)
    }

    fn find_least(&mut self) {
        let Some((priority, taken)) = self.by_priority.iter().min_by_key(|(priority, _)| *priority) else {
            self.least = Least::default();
            return;
        };
        let others = self.by_priority.iter().map(|(other, _)| *other).filter(|other| other != priority);
        self.least = Least { priority: *priority, taken: taken.clone(), next: others.min().unwrap_or(i32::MAX) };
    }

    /// The node without the pods of a lower priority, with everything that filters look at.
    pub fn without_below(&self, priority: i32) -> Option<Self> {
        let taken = self.taken_without_below(priority)?;
        let mut left = Self { taken, ..Self::new(self.slot, self.facts.clone()) };
        for pod in self.pods.iter().filter(|pod| pod.priority >= priority) {
            left.host_ports.extend(pod.host_ports.iter().cloned());
            left.nominal.add(&pod.request.nominal);
            left.held.push(Held::of(pod));
            left.pods.push(pod.clone());
        }
        left.by_priority = self.by_priority.iter().filter(|(of, _)| *of >= priority).cloned().collect();
        left.find_least();
        Some(left)
    }

    /// What each of `pods` is to preemption.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// Adds a pod that is not here.
    pub fn add(&mut self, pod: Arc<PodFacts>) {
        self.taken.add(&pod.request.exact);
        let known = self.by_priority.iter().position(|(priority, _)| *priority == pod.priority);
        let at = known.unwrap_or_else(|| {
            self.by_priority.push((pod.priority, Taken::default()));
            self.by_priority.len() - 1
        });
        self.by_priority[at].1.add(&pod.request.exact);
        self.find_least();
        self.nominal.add(&pod.request.nominal);
        self.host_ports.extend(pod.host_ports.iter().cloned());
        self.held.push(Held::of(&pod));
        self.pods.push(pod);
    }

    /// Takes a pod away, if it is here.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodFacts>> {
        let at = self.pods.iter().rposition(|pod| &*pod.uid == uid)?;
        let pod = self.pods.swap_remove(at);
        self.held.swap_remove(at);
        self.taken.subtract(&pod.request.exact);
        if let Some(at) = self.by_priority.iter().position(|(priority, _)| *priority == pod.priority) {
            self.by_priority[at].1.subtract(&pod.request.exact);
            if self.by_priority[at].1.pods == 0 {
                self.by_priority.swap_remove(at);
            }
            self.find_least();
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
        self.taken.pods
    }
}
