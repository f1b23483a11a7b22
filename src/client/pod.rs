//! Pods as whoever decides about them sees them: what a node alone needs is left away, and what is rare is boxed. There
//! are many pods, and most of [`k8s_openapi`]'s type is room for fields that no pod has.
//!
//! Names and shapes are those of the API. Such a pod cannot be written back, being nothing that [`kube::Api`] would
//! send: who wants to change one patches it, or reads the whole of it first.

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{
        AWSElasticBlockStoreVolumeSource, Affinity, AzureDiskVolumeSource, CSIVolumeSource, CinderVolumeSource,
        ContainerPort, ContainerState, EphemeralVolumeSource, GCEPersistentDiskVolumeSource, ISCSIVolumeSource,
        ImageVolumeSource, PersistentVolumeClaimVolumeSource, PodCondition, PodIP, PodResourceClaim,
        PodResourceClaimStatus, PodSchedulingGate, RBDVolumeSource, ResourceRequirements, Toleration,
        TopologySpreadConstraint,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize};
use std::{borrow::Cow, collections::BTreeMap};

/// The pod of a control loop.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: ObjectMeta,
    pub spec: Option<PodSpec>,
    pub status: Option<PodStatus>,
}

/// How it is to run, as far as anyone but its node minds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub active_deadline_seconds: Option<i64>,
    pub affinity: Option<Box<Affinity>>,
    pub containers: Vec<Container>,
    pub hostname: Option<String>,
    pub init_containers: Option<Vec<Container>>,
    pub node_name: Option<String>,
    pub node_selector: Option<BTreeMap<String, String>>,
    pub overhead: Option<BTreeMap<String, Quantity>>,
    pub preemption_policy: Option<String>,
    pub priority: Option<i32>,
    pub priority_class_name: Option<String>,
    pub resource_claims: Option<Vec<PodResourceClaim>>,
    pub resources: Option<Box<ResourceRequirements>>,
    pub scheduler_name: Option<String>,
    pub scheduling_gates: Option<Vec<PodSchedulingGate>>,
    pub subdomain: Option<String>,
    pub tolerations: Option<Vec<Toleration>>,
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// Without those that hold nothing but files of the pod's own.
    #[serde(deserialize_with = "more_than_files")]
    pub volumes: Option<Vec<Volume>>,
}

/// What a container asks for and answers to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub image: Option<String>,
    pub ports: Option<Vec<ContainerPort>>,
    pub resources: Option<Box<ResourceRequirements>>,
    pub restart_policy: Option<String>,
}

/// A volume that someone provides, or that is to be had on some nodes only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: String,
    pub aws_elastic_block_store: Option<Box<AWSElasticBlockStoreVolumeSource>>,
    pub azure_disk: Option<Box<AzureDiskVolumeSource>>,
    pub cinder: Option<Box<CinderVolumeSource>>,
    pub csi: Option<Box<CSIVolumeSource>>,
    pub ephemeral: Option<Box<EphemeralVolumeSource>>,
    pub gce_persistent_disk: Option<Box<GCEPersistentDiskVolumeSource>>,
    pub image: Option<Box<ImageVolumeSource>>,
    pub iscsi: Option<Box<ISCSIVolumeSource>>,
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
    pub rbd: Option<Box<RBDVolumeSource>>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    pub conditions: Option<Vec<PodCondition>>,
    pub container_statuses: Option<Vec<ContainerStatus>>,
    pub init_container_statuses: Option<Vec<ContainerStatus>>,
    pub message: Option<String>,
    pub nominated_node_name: Option<String>,
    pub phase: Option<String>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<PodIP>>,
    pub reason: Option<String>,
    pub resource_claim_statuses: Option<Vec<PodResourceClaimStatus>>,
    pub start_time: Option<Time>,
}

/// What became of one of its containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: String,
    pub allocated_resources: Option<BTreeMap<String, Quantity>>,
    pub resources: Option<Box<ResourceRequirements>>,
    pub restart_count: i32,
    pub state: Option<Box<ContainerState>>,
}

impl Volume {
    fn is_more_than_files(&self) -> bool {
        *self != Volume { name: self.name.clone(), ..Volume::default() }
    }
}

fn more_than_files<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Vec<Volume>>, D::Error> {
    let volumes = Option::<Vec<Volume>>::deserialize(source)?;
    let kept = volumes.map(|volumes| volumes.into_iter().filter(Volume::is_more_than_files).collect::<Vec<_>>());
    Ok(kept.filter(|kept| !kept.is_empty()))
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
