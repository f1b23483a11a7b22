//! What a cycle needs of a pod, computed once per version of the pod rather than once per node.

use crate::{
    node_choice::RequiredNodes,
    resource::PodRequest,
    spread::{self, Spread},
    terms::{Labels, PodTerms},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Toleration;
use mk8s_client::pod::{Container, Pod, Volume};
use std::sync::{Arc, LazyLock};

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

/// A claim that a pod mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimUse {
    pub name: String,
    /// Made for the pod by the ephemeral-volume controller; the pod must own it.
    pub ephemeral: bool,
}

/// A claim on devices, by the pod's own name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceUse {
    pub name: String,
    pub claim: NamedClaim,
}

/// The ResourceClaim behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedClaim {
    Given(String),
    /// Made for the pod, which must own it.
    Generated(String),
    /// It was decided that there need be none.
    NotNeeded,
    /// To be made from a template.
    Missing,
    Unknown,
}

/// A pod and what follows from its spec.
#[derive(Debug, Clone)]
pub struct PodFacts {
    pub pod: Arc<Pod>,
    /// `namespace/name`.
    pub key: String,
    pub uid: Arc<str>,
    pub namespace: String,
    pub priority: i32,
    pub request: PodRequest,
    pub host_ports: Vec<HostPort>,
    /// Image names with their tags made explicit, of all containers and of image volumes.
    pub images: Vec<String>,
    /// With init containers.
    pub container_count: i64,
    pub required_nodes: RequiredNodes,
    pub terms: PodTerms,
    pub spread: Vec<Spread>,
    pub claims: Vec<ClaimUse>,
    pub device_claims: Vec<DeviceUse>,
    /// When it began to run, once it has.
    pub started: Option<Timestamp>,
    pub deleting: bool,
}

static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::new);

impl PodFacts {
    pub fn of(pod: Arc<Pod>) -> Self {
        let spec = pod.spec.as_ref();
        let containers = || spec.into_iter().flat_map(|s| s.containers.iter());
        let init = || spec.into_iter().flat_map(|s| s.init_containers.iter().flatten());
        let sidecars = || init().filter(|c| c.restart_policy.as_deref() == Some("Always"));
        let all = || init().chain(containers());
        let volume_images = spec
            .into_iter()
            .flat_map(|s| s.volumes.iter().flatten())
            .filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
        let volumes = spec.into_iter().flat_map(|s| s.volumes.iter().flatten());
        Self {
            key: key_of(&pod),
            uid: Arc::from(pod.metadata.uid.as_deref().unwrap_or_default()),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            priority: spec.and_then(|s| s.priority).unwrap_or(0),
            request: PodRequest::of(&pod),
            host_ports: containers().chain(sidecars()).flat_map(host_ports).collect(),
            images: all().filter_map(|c| c.image.as_deref()).chain(volume_images).map(with_tag).collect(),
            container_count: i64::try_from(all().count()).unwrap_or(i64::MAX),
            required_nodes: RequiredNodes::of(&pod),
            terms: PodTerms::of(&pod),
            spread: spread::of(&pod),
            device_claims: device_claims(&pod),
            claims: volumes.filter_map(|volume| claim_of(&pod, volume)).collect(),
            started: pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|time| time.0),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            pod,
        }
    }

    pub fn labels(&self) -> &Labels {
        self.pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn tolerations(&self) -> &[Toleration] {
        self.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
    }

    pub fn volumes(&self) -> &[Volume] {
        self.pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
    }

    /// The node that room is kept for it on, by its status.
    pub fn nominated_node(&self) -> Option<&str> {
        let name = self.pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        name.filter(|name| !name.is_empty())
    }

    pub fn scheduler_name(&self) -> &str {
        scheduler_name(&self.pod)
    }

    /// Whether it ends because a more important pod needs its room.
    pub fn ends_for_preemption(&self) -> bool {
        let conditions = self.pod.status.as_ref().and_then(|status| status.conditions.as_deref());
        let target = conditions.unwrap_or_default().iter().find(|c| c.type_ == "DisruptionTarget");
        self.deleting
            && target.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some("PreemptionByScheduler"))
    }
}

/// Who places a pod.
pub fn scheduler_name(pod: &Pod) -> &str {
    let name = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    name.filter(|name| !name.is_empty()).unwrap_or("default-scheduler")
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

fn claim_of(pod: &Pod, volume: &Volume) -> Option<ClaimUse> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(ClaimUse { name: claim.claim_name.clone(), ephemeral: false });
    }
    volume.ephemeral.as_ref()?;
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    Some(ClaimUse { name: format!("{pod}-{}", volume.name), ephemeral: true })
}

fn device_claims(pod: &Pod) -> Vec<DeviceUse> {
    let claims = pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_deref()).unwrap_or_default();
    let statuses = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref());
    let made = |name: &str| match statuses.unwrap_or_default().iter().find(|status| status.name == name) {
        None => NamedClaim::Missing,
        Some(status) => status.resource_claim_name.clone().map_or(NamedClaim::NotNeeded, NamedClaim::Generated),
    };
    let named = claims.iter().map(|claim| DeviceUse {
        name: claim.name.clone(),
        claim: match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(name), _) => NamedClaim::Given(name.clone()),
            (None, Some(_)) => made(&claim.name),
            (None, None) => NamedClaim::Unknown,
        },
    });
    named.collect()
}

/// `nginx` -> `nginx:latest`; a name with a tag or a digest stays.
pub fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
