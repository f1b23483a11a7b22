//! How many pods those want who manage a budget's pods: Kubernetes' own kinds from what is known of them, others from
//! their `scale`.

use super::{Controller, plan::Expected};
use crate::common::{claims::controller_of, failure::said};
use k8s_openapi::{api::autoscaling::v1::Scale, apimachinery::pkg::apis::meta::v1::OwnerReference};
use mk8s_api::decode;
use mk8s_client::kube::{
    self, ResourceExt,
    api::{Api, DynamicObject},
};
use mk8s_client::pod::Pod;
use std::{collections::BTreeMap, sync::Arc};

/// Whose scale counts, and what it is.
type Scaled = (String, i32);

impl Controller {
    pub(super) async fn expected(&self, namespace: &str, pods: &[Arc<Pod>]) -> Result<Expected, String> {
        let mut expected = Expected::default();
        // By the uid in the pods' references, so that each is looked up once; several may have the same controller.
        let mut found: BTreeMap<String, Scaled> = BTreeMap::new();
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                expected.unmanaged.insert(pod.name_any());
                continue;
            };
            if !found.contains_key(&owner.uid) {
                let scale = self.scale_of(namespace, owner).await?;
                let scale = scale.ok_or_else(|| format!("found no controllers for pod {:?}", pod.name_any()))?;
                found.insert(owner.uid.clone(), scale);
            }
        }
        let scales: BTreeMap<String, i32> = found.into_values().collect();
        expected.pods = scales.values().sum();
        Ok(expected)
    }

    async fn scale_of(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<Scaled>, String> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let one = |replicas: Option<i32>| (owner.uid.clone(), replicas.unwrap_or(1));
        match (group, owner.kind.as_str()) {
            ("", "ReplicationController") => {
                let known = self.controllers.get(namespace, &owner.name).filter(|known| is(&known.metadata, owner));
                Ok(known.map(|known| one(known.spec.as_ref().and_then(|spec| spec.replicas))))
            }
            ("apps" | "extensions", "ReplicaSet") => Ok(self.of_replica_set(namespace, owner)),
            ("apps", "StatefulSet") => {
                let known = self.sets.get(namespace, &owner.name).filter(|known| is(&known.metadata, owner));
                Ok(known.map(|known| one(known.spec.as_ref().and_then(|spec| spec.replicas))))
            }
            _ => self.of_other(namespace, owner, group).await,
        }
    }

    /// A ReplicaSet of a Deployment stands for that, beside all others of the same.
    fn of_replica_set(&self, namespace: &str, owner: &OwnerReference) -> Option<Scaled> {
        let known = self.replica_sets.get(namespace, &owner.name).filter(|known| is(&known.metadata, owner))?;
        let replicas = known.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let Some(above) = controller_of(&known.metadata).filter(|above| above.kind == "Deployment") else {
            return Some((owner.uid.clone(), replicas));
        };
        let deployment = self.deployments.get(namespace, &above.name).filter(|known| is(&known.metadata, above))?;
        Some((above.uid.clone(), deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
    }

    async fn of_other(&self, namespace: &str, owner: &OwnerReference, group: &str) -> Result<Option<Scaled>, String> {
        let Some(kind) = self.inventory.kinds().find(&owner.api_version, &owner.kind).cloned() else {
            let version = &owner.api_version;
            return Err(format!("no matches for kind {:?} in version {version:?}", owner.kind));
        };
        let api: Api<DynamicObject> = match kind.namespaced {
            true => Api::namespaced_with(self.ctx.client.clone(), namespace, &kind.resource()),
            false => Api::all_with(self.ctx.client.clone(), &kind.resource()),
        };
        match api.get_subresource("scale", &owner.name).await {
            Ok(scale) => {
                let uid = scale.metadata.uid.clone().unwrap_or_default();
                let scale: Option<Scale> =
                    serde_json::to_value(scale).ok().and_then(|scale| decode::typed(&scale).ok());
                let replicas = scale.and_then(|scale| scale.spec?.replicas).unwrap_or_default();
                Ok((uid == owner.uid).then_some((uid, replicas)))
            }
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => {
                let there = api.get_opt(&owner.name).await.map_err(|error| said(&error))?;
                let name = if group.is_empty() { kind.plural.clone() } else { format!("{}.{group}", kind.plural) };
                there.map_or(Ok(None), |_| Err(format!("{name} does not implement the scale subresource")))
            }
            Err(error) => Err(said(&error)),
        }
    }
}

fn is(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, owner: &OwnerReference) -> bool {
    meta.uid.as_ref() == Some(&owner.uid)
}
