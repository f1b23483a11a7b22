//! Getting the claims of a pod allocated and reserved before the pod is bound.

use crate::{
    devices::{ClaimPlan, DevicePlan, allocation_of, consumers, key_of},
    pod_facts::PodFacts,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use std::sync::Arc;

/// Kept on claims that are allocated; who takes the allocation away takes it away, too.
const ALLOCATED: &str = "resource.kubernetes.io/delete-protection";
/// So often a claim is read again that another has changed meanwhile.
const TRIES: usize = 5;

#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    #[error("{doing} claim {claim}: {source}")]
    Api {
        doing: &'static str,
        claim: String,
        #[source]
        source: kube::Error,
    },
    #[error("claim {0} got deleted in the meantime")]
    Deleted(String),
    #[error("claim {0} already allocated in the meantime")]
    Allocated(String),
}

/// Writes what the claims get and that the pod uses them; those that were written are added to `written`.
pub(super) async fn write_claims(
    client: &Client,
    pod: &PodFacts,
    plan: DevicePlan,
    written: &mut Vec<Arc<ResourceClaim>>,
) -> Result<(), DeviceError> {
    for one in plan {
        written.push(Arc::new(write_claim(client, pod, one).await?));
    }
    Ok(())
}

async fn write_claim(client: &Client, pod: &PodFacts, plan: ClaimPlan) -> Result<ResourceClaim, DeviceError> {
    let (key, name) = (key_of(&plan.claim), plan.claim.name_any());
    let api: Api<ResourceClaim> = Api::namespaced(client.clone(), &pod.namespace);
    let failed = |doing| {
        let claim = key.clone();
        move |source| DeviceError::Api { doing, claim, source }
    };
    let mut claim = ResourceClaim::clone(&plan.claim);
    let mut tries = 1;
    loop {
        match try_write(&api, pod, &plan, claim).await {
            Err(DeviceError::Api { source: kube::Error::Api(status), .. }) if status.code == 409 && tries < TRIES => {}
            other => return other,
        }
        claim = api.get(&name).await.map_err(failed("get updated"))?;
        tries += 1;
    }
}

async fn try_write(
    api: &Api<ResourceClaim>,
    pod: &PodFacts,
    plan: &ClaimPlan,
    mut claim: ResourceClaim,
) -> Result<ResourceClaim, DeviceError> {
    let (key, name) = (key_of(&claim), claim.name_any());
    if claim.metadata.deletion_timestamp.is_some() || claim.uid() != plan.claim.uid() {
        return Err(DeviceError::Deleted(key));
    }
    let failed = |doing| {
        let claim = key.clone();
        move |source| DeviceError::Api { doing, claim, source }
    };
    if let Some(allocation) = &plan.allocation {
        if allocation_of(&claim).is_some() {
            return Err(DeviceError::Allocated(key));
        }
        if !claim.finalizers().iter().any(|finalizer| finalizer == ALLOCATED) {
            claim.finalizers_mut().push(ALLOCATED.to_owned());
            claim = api.replace(&name, &PostParams::default(), &claim).await.map_err(failed("add finalizer to"))?;
        }
        let mut allocation = allocation.clone();
        allocation.allocation_timestamp = Some(Time(Timestamp::now()));
        claim.status.get_or_insert_default().allocation = Some(allocation);
    }
    if consumers(&claim).all(|uid| uid != &*pod.uid) {
        let consumer = ResourceClaimConsumerReference {
            api_group: None,
            resource: "pods".to_owned(),
            name: pod.name().to_owned(),
            uid: pod.uid.to_string(),
        };
        claim.status.get_or_insert_default().reserved_for.get_or_insert_default().push(consumer);
    }
    api.replace_status(&name, &PostParams::default(), &claim).await.map_err(failed("update status of"))
}

/// Takes from a claim what it has got.
pub(super) async fn deallocate(client: &Client, claim: &ResourceClaim) -> Result<(), DeviceError> {
    let api: Api<ResourceClaim> = Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
    let mut free = claim.clone();
    free.status = None;
    let written = api.replace_status(&free.name_any(), &PostParams::default(), &free).await;
    let failed = |source| DeviceError::Api { doing: "deallocate", claim: key_of(claim), source };
    written.map(drop).map_err(failed)
}
