//! Amounts of resources in the units the scheduler reckons in: milli-CPU, bytes, counts.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use mk8s_client::pod::{Container, Pod, PodSpec};
use std::collections::BTreeMap;

/// What a pod without requests counts as when nodes are ranked: 100 milli-CPU and 200 MiB.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// An amount of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// How many pods (set for nodes only).
    pub pods: i64,
    /// Extended resources and huge pages by name.
    pub scalar: BTreeMap<String, i64>,
}

impl Resource {
    /// Reads a resource list; amounts that cannot be read count as nothing (the API server has refused them).
    pub fn from_list(list: &BTreeMap<String, Quantity>) -> Self {
        let mut resource = Self::default();
        for (name, quantity) in list {
            let Ok(quantity) = quantity.0.parse::<mk8s_api::quantity::Quantity>() else { continue };
            match name.as_str() {
                "cpu" => resource.milli_cpu = quantity.millis(),
                "memory" => resource.memory = quantity.value(),
                "ephemeral-storage" => resource.ephemeral_storage = quantity.value(),
                "pods" => resource.pods = quantity.value(),
                _ => {
                    resource.scalar.insert(name.clone(), quantity.value());
                }
            }
        }
        resource
    }

    pub fn add(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_add(other.milli_cpu);
        self.memory = self.memory.saturating_add(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.saturating_add(other.ephemeral_storage);
        for (name, amount) in &other.scalar {
            let sum = self.scalar.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        self.milli_cpu -= other.milli_cpu;
        self.memory -= other.memory;
        self.ephemeral_storage -= other.ephemeral_storage;
        for (name, amount) in &other.scalar {
            *self.scalar.entry(name.clone()).or_default() -= amount;
        }
    }

    /// How much of a resource there is, by its name.
    pub fn of(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.milli_cpu,
            "memory" => self.memory,
            "ephemeral-storage" => self.ephemeral_storage,
            "pods" => self.pods,
            _ => self.scalar.get(name).copied().unwrap_or(0),
        }
    }

    /// Whether there is more of any resource here than there.
    pub fn exceeds_anywhere(&self, other: &Self) -> bool {
        self.milli_cpu > other.milli_cpu
            || self.memory > other.memory
            || self.ephemeral_storage > other.ephemeral_storage
            || self.scalar.iter().any(|(name, amount)| *amount > other.scalar.get(name).copied().unwrap_or(0))
    }

    pub fn is_nothing(&self) -> bool {
        self.milli_cpu == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.scalar.values().all(|amount| *amount == 0)
    }

    fn raise_to(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.scalar {
            let largest = self.scalar.entry(name.clone()).or_default();
            *largest = (*largest).max(*amount);
        }
    }
}

/// What a pod asks for: `exact` is what must fit, `nominal` counts containers without requests as small ones and is
/// what nodes are ranked by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodRequest {
    pub exact: Resource,
    pub nominal: Resource,
}

impl PodRequest {
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        Self {
            exact: total(spec, |container| requests(pod, container)),
            nominal: total(spec, |container| {
                let mut request = requests(pod, container);
                let asked = container.resources.as_ref().and_then(|r| r.requests.as_ref());
                if asked.is_none_or(|r| !r.contains_key("cpu")) {
                    request.milli_cpu = request.milli_cpu.max(DEFAULT_MILLI_CPU);
                }
                if asked.is_none_or(|r| !r.contains_key("memory")) {
                    request.memory = request.memory.max(DEFAULT_MEMORY);
                }
                request
            }),
        }
    }
}

/// What a container asks for. While it is being resized it holds the largest of what it asks for, what it was promised
/// and what it has; of a resize that can never be, what it asks for does not count.
fn requests(pod: &Pod, container: &Container) -> Resource {
    let list = |list: Option<&BTreeMap<String, Quantity>>| list.map(Resource::from_list).unwrap_or_default();
    let asked = list(container.resources.as_ref().and_then(|r| r.requests.as_ref()));
    let Some(status) = pod.status.as_ref() else { return asked };
    let restarts = container.restart_policy.as_deref() == Some("Always");
    let statuses = if restarts { &status.init_container_statuses } else { &status.container_statuses };
    let own = statuses.iter().flatten().find(|own| own.name == container.name);
    let Some((own, resources)) = own.and_then(|own| Some((own, own.resources.as_ref()?))) else { return asked };
    let mut held = list(resources.requests.as_ref());
    held.raise_to(&list(own.allocated_resources.as_ref()));
    let pending = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodResizePending");
    if pending.is_none_or(|condition| condition.reason.as_deref() != Some("Infeasible")) {
        held.raise_to(&asked);
    }
    held
}

/// The sum of the containers and sidecars, or the largest moment of initialisation where that is more; a request of the
/// pod itself goes before, and the overhead of its runtime comes on top.
fn total(spec: &PodSpec, request_of: impl Fn(&Container) -> Resource) -> Resource {
    let mut running = Resource::default();
    for container in &spec.containers {
        running.add(&request_of(container));
    }
    let mut sidecars = Resource::default();
    let mut largest_start = Resource::default();
    for container in spec.init_containers.iter().flatten() {
        let request = request_of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&request);
            largest_start.raise_to(&sidecars);
        } else {
            let mut moment = sidecars.clone();
            moment.add(&request);
            largest_start.raise_to(&moment);
        }
    }
    running.add(&sidecars);
    running.raise_to(&largest_start);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        let whole = Resource::from_list(pod_level);
        if pod_level.contains_key("cpu") {
            running.milli_cpu = whole.milli_cpu;
        }
        if pod_level.contains_key("memory") {
            running.memory = whole.memory;
        }
    }
    if let Some(overhead) = &spec.overhead {
        running.add(&Resource::from_list(overhead));
    }
    running
}

/// Whether a resource is beside those that every node has: extended ones, huge pages, attachable volumes.
pub fn is_scalar(name: &str) -> bool {
    is_extended(name)
        || name.starts_with("hugepages-")
        || name.starts_with("attachable-volumes-")
        || name.contains("kubernetes.io/")
}

/// Whether a resource is one that a device plugin or an administrator has added.
pub fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}
