//! Pods as whoever decides about them sees them: what a node alone needs is left away, and what is rare is boxed. There
//! are many pods, and most of [`k8s_openapi`]'s type is room for fields that no pod has.
//!
//! Names and shapes are those of the API. Such a pod cannot be written back, being nothing that [`kube::Api`] would
//! send: who wants to change one patches it, or reads the whole of it first.

mod alike;

pub use alike::Alike;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{
        AWSElasticBlockStoreVolumeSource, Affinity, ContainerPort, ContainerState, EphemeralVolumeSource,
        GCEPersistentDiskVolumeSource, ISCSIVolumeSource, ImageVolumeSource, PersistentVolumeClaimVolumeSource,
        PodCondition, PodExtendedResourceClaimStatus, PodIP, PodResourceClaim, PodResourceClaimStatus,
        PodSchedulingGate, RBDVolumeSource, ResourceRequirements, Toleration, TopologySpreadConstraint,
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
    pub containers: Alike<Container>,
    pub hostname: Option<String>,
    pub init_containers: Option<Alike<Container>>,
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
    pub tolerations: Option<Alike<Toleration>>,
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
    /// Few pods have one.
    pub extended_resource_claim_status: Option<Box<PodExtendedResourceClaimStatus>>,
    pub init_container_statuses: Option<Vec<ContainerStatus>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_decided_by_stays() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": {"a": "b"}},
            "spec": {
                "nodeName": "n",
                "containers": [{
                    "name": "c", "image": "i", "command": ["x"], "env": [{"name": "A", "value": "b"}],
                    "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "1"}},
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}], "livenessProbe": {"tcpSocket": {"port": 80}},
                }],
                "initContainers": [{"name": "s", "restartPolicy": "Always", "args": ["x"]}],
                "volumes": [
                    {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
                    {"name": "t", "projected": {"sources": []}},
                    {"name": "e", "emptyDir": {}},
                ],
            },
            "status": {"phase": "Running", "podIPs": [{"ip": "10.42.0.2"}]},
        }))
        .expect("a pod");
        let spec = pod.spec.expect("a spec");
        let container = Container {
            name: "c".into(),
            image: Some("i".into()),
            ports: Some(vec![ContainerPort { container_port: 80, ..ContainerPort::default() }]),
            resources: Some(Box::new(ResourceRequirements {
                requests: Some(BTreeMap::from([("cpu".into(), Quantity("1".into()))])),
                ..ResourceRequirements::default()
            })),
            restart_policy: None,
        };
        let sidecar = Container { name: "s".into(), restart_policy: Some("Always".into()), ..Container::default() };
        assert_eq!((pod.metadata.name.as_deref(), spec.node_name.as_deref()), (Some("a"), Some("n")));
        assert_eq!(spec.containers[..], [container]);
        assert_eq!(spec.init_containers.as_deref(), Some(&[sidecar][..]));
        let claim = PersistentVolumeClaimVolumeSource { claim_name: "c".into(), read_only: None };
        let volume = Volume { name: "v".into(), persistent_volume_claim: Some(claim), ..Volume::default() };
        assert_eq!(spec.volumes, Some(vec![volume]));
        let ips = pod.status.and_then(|status| status.pod_ips).unwrap_or_default();
        assert_eq!(ips[0].ip, "10.42.0.2");
    }

    #[test]
    fn null_is_nothing() {
        let spec = json!({"containers": null, "initContainers": null, "volumes": null, "tolerations": null});
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": null})).expect("a pod");
        assert_eq!(pod.spec, Some(PodSpec::default()));
    }
}
