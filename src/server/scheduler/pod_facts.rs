//! What a cycle needs of the pod it places, computed once per pod rather than once per node.

use crate::resource::PodRequest;
use k8s_openapi::api::core::v1::{Container, Pod, Toleration};
use std::sync::Arc;

/// A port on the node that a pod's container takes for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    pub protocol: String,
    /// The empty string and `0.0.0.0` mean every address of the node.
    pub ip: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be held on one node.
    pub fn conflicts_with(&self, other: &HostPort) -> bool {
        let wild = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || wild(&self.ip) || wild(&other.ip))
    }
}

/// A pod and what follows from its spec.
#[derive(Debug, Clone)]
pub struct PodFacts {
    pub pod: Arc<Pod>,
    /// `namespace/name`.
    pub key: String,
    pub uid: String,
    pub priority: i32,
    pub request: PodRequest,
    pub host_ports: Vec<HostPort>,
    pub tolerations: Vec<Toleration>,
    /// Image names with their tags made explicit.
    pub images: Vec<String>,
}

impl PodFacts {
    pub fn of(pod: Arc<Pod>) -> Self {
        let spec = pod.spec.as_ref();
        let containers = || spec.into_iter().flat_map(|s| s.containers.iter());
        let sidecars = || {
            spec.into_iter()
                .flat_map(|s| s.init_containers.iter().flatten())
                .filter(|c| c.restart_policy.as_deref() == Some("Always"))
        };
        Self {
            key: key_of(&pod),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            priority: spec.and_then(|s| s.priority).unwrap_or(0),
            request: PodRequest::of(&pod),
            host_ports: containers().chain(sidecars()).flat_map(host_ports).collect(),
            tolerations: spec.and_then(|s| s.tolerations.clone()).unwrap_or_default(),
            images: containers().filter_map(|c| c.image.as_deref()).map(with_tag).collect(),
            pod,
        }
    }
}

/// `namespace/name`.
pub fn key_of(pod: &Pod) -> String {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    format!("{namespace}/{name}")
}

fn host_ports(container: &Container) -> impl Iterator<Item = HostPort> {
    container.ports.iter().flatten().filter_map(|port| {
        Some(HostPort {
            port: port.host_port.filter(|p| *p > 0)?,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            ip: port.host_ip.clone().unwrap_or_default(),
        })
    })
}

/// `nginx` -> `nginx:latest`; a name with a tag or a digest stays.
pub fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
