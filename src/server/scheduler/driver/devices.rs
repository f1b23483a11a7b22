//! Getting the claims of a pod allocated and reserved, and their devices ready, before the pod is bound.

use crate::{
    devices::{
        ClaimPlan, DevicePlan, allocation_of,
        binding::{self, Readiness},
        consumers, extended, key_of,
    },
    pod_facts::PodFacts,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::PodExtendedResourceClaimStatus,
        resource::v1::{AllocationResult, ResourceClaim, ResourceClaimConsumerReference},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use mk8s_client::pod::Pod;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Kept on claims that are allocated; who takes the allocation away takes it away, too.
const ALLOCATED: &str = "resource.kubernetes.io/delete-protection";
/// So often a claim is read again that another has changed meanwhile.
const TRIES: usize = 5;
/// Between two looks at devices that are not ready yet: from `LOOK_FIRST`, doubled up to `LOOK_LAST`.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_LAST: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    #[error("{doing} claim {claim}: {source}")]
    Api {
        doing: &'static str,
        claim: String,
        #[source]
        source: kube::Error,
    },
    #[error("update pod {pod} ExtendedResourceClaimStatus: {source}")]
    Pod {
        pod: String,
        #[source]
        source: kube::Error,
    },
    #[error("claim {0} got deleted in the meantime")]
    Deleted(String),
    #[error("claim {0} got allocated elsewhere in the meantime")]
    Allocated(String),
    #[error("claim {0} got deallocated elsewhere in the meantime")]
    Deallocated(String),
    #[error("device binding timeout: claim={0}")]
    TimedOut(String),
    #[error("{0}")]
    Failed(String),
}

fn claims(client: &Client, claim: &ResourceClaim) -> Api<ResourceClaim> {
    Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default())
}

fn about(doing: &'static str, claim: &ResourceClaim) -> impl FnOnce(kube::Error) -> DeviceError + use<> {
    let claim = key_of(claim);
    move |source| DeviceError::Api { doing, claim, source }
}

/// Writes what the claims get and that the pod uses them; those that were written are added to `written`.
pub(super) async fn write_claims(
    client: &Client,
    pod: &PodFacts,
    plan: DevicePlan,
    written: &mut Vec<Arc<ResourceClaim>>,
) -> Result<(), DeviceError> {
    for mut one in plan {
        if let Some(allocation) = &mut one.allocation {
            draw_shares(allocation);
        }
        let Some(mappings) = one.mappings.take() else {
            written.push(Arc::new(write_claim(client, pod, one).await?));
            continue;
        };
        one.claim = Arc::new(create(client, &one.claim).await?);
        let at = written.len();
        written.push(one.claim.clone());
        written[at] = Arc::new(write_claim(client, pod, one).await?);
        let status =
            PodExtendedResourceClaimStatus { request_mappings: mappings, resource_claim_name: written[at].name_any() };
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"extendedResourceClaimStatus": status}});
        let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
        let patched = pods.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(patch)).await;
        patched.map_err(|source| DeviceError::Pod { pod: pod.key.clone(), source })?;
    }
    Ok(())
}

/// Shares of devices are told apart by what is drawn here.
fn draw_shares(allocation: &mut AllocationResult) {
    let results = allocation.devices.iter_mut().flat_map(|devices| devices.results.iter_mut().flatten());
    for id in results.filter_map(|result| result.share_id.as_mut()) {
        *id = uuid::Uuid::new_v4().to_string();
    }
}

async fn create(client: &Client, claim: &ResourceClaim) -> Result<ResourceClaim, DeviceError> {
    let mut new = claim.clone();
    new.metadata.uid = None;
    let created = claims(client, claim).create(&PostParams::default(), &new).await;
    created.map_err(|source| DeviceError::Api { doing: "create", claim: "for extended resources".to_owned(), source })
}

async fn write_claim(client: &Client, pod: &PodFacts, plan: ClaimPlan) -> Result<ResourceClaim, DeviceError> {
    let api = claims(client, &plan.claim);
    let mut claim = ResourceClaim::clone(&plan.claim);
    let mut tries = 1;
    loop {
        match try_write(&api, pod, &plan, claim).await {
            Err(DeviceError::Api { source: kube::Error::Api(status), .. }) if status.code == 409 && tries < TRIES => {}
            other => return other,
        }
        claim = api.get(&plan.claim.name_any()).await.map_err(about("get updated", &plan.claim))?;
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
    match (&plan.allocation, allocation_of(&claim)) {
        (Some(_), Some(_)) => return Err(DeviceError::Allocated(key)),
        (None, None) => return Err(DeviceError::Deallocated(key)),
        _ => {}
    }
    if let Some(allocation) = &plan.allocation {
        if !claim.finalizers().iter().any(|finalizer| finalizer == ALLOCATED) {
            claim.finalizers_mut().push(ALLOCATED.to_owned());
            let failed = about("add finalizer to", &claim);
            claim = api.replace(&name, &PostParams::default(), &claim).await.map_err(failed)?;
        }
        let mut allocation = allocation.clone();
        allocation.allocation_timestamp = Some(Time(Timestamp::now()));
        claim.status.get_or_insert_default().allocation = Some(allocation);
    }
    if consumers(&claim).any(|uid| uid == &*pod.uid) {
        return Ok(claim);
    }
    let consumer = ResourceClaimConsumerReference {
        api_group: None,
        resource: "pods".to_owned(),
        name: pod.name().to_owned(),
        uid: pod.uid.to_string(),
    };
    claim.status.get_or_insert_default().reserved_for.get_or_insert_default().push(consumer);
    let failed = about("update status of", &claim);
    api.replace_status(&name, &PostParams::default(), &claim).await.map_err(failed)
}

/// Whether devices of any of the claims have to be waited for.
pub(super) fn must_wait(written: &[Arc<ResourceClaim>]) -> bool {
    written.iter().any(|claim| binding::has_conditions(claim))
}

/// Returns once the devices of all claims can be used; fails when one of them cannot, or has had its time.
pub(super) async fn wait_until_ready(
    client: &Client,
    written: &mut [Arc<ResourceClaim>],
    timeout: Duration,
) -> Result<(), DeviceError> {
    for claim in written.iter_mut().filter(|claim| binding::has_conditions(claim)) {
        let api = claims(client, claim);
        let begun = tokio::time::Instant::now();
        let mut pause = LOOK_FIRST;
        loop {
            match binding::readiness(claim) {
                Readiness::Ready => break,
                Readiness::Failed(why) => return Err(DeviceError::Failed(why)),
                Readiness::Waiting if allocation_of(claim).is_none() => {
                    return Err(DeviceError::Deallocated(key_of(claim)));
                }
                Readiness::Waiting => {}
            }
            if binding::timed_out(claim, timeout, Timestamp::now()) || begun.elapsed() > timeout {
                return Err(DeviceError::TimedOut(claim.name_any()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_LAST);
            *claim = Arc::new(api.get(&claim.name_any()).await.map_err(about("get updated", claim))?);
        }
    }
    Ok(())
}

/// After a binding that failed: the claims are not the pod's any more, and that for its extended resources goes.
/// `written` keeps those that are left.
pub(super) async fn unreserve(client: &Client, pod: &PodFacts, written: &mut Vec<Arc<ResourceClaim>>) {
    let mut left = Vec::new();
    for claim in written.drain(..) {
        let done = match extended::is_special(&claim) {
            true => delete(client, &claim).await.map(|()| None),
            false => release(client, pod, &claim).await.map(Some),
        };
        match done {
            Ok(claim) => left.extend(claim.map(Arc::new)),
            Err(error) => {
                tracing::debug!(pod = pod.key, %error, "a claim of a pod that was not bound stays as it is");
                left.push(claim);
            }
        }
    }
    *written = left;
}

async fn release(client: &Client, pod: &PodFacts, claim: &ResourceClaim) -> Result<ResourceClaim, DeviceError> {
    let gone = json!([{"$patch": "delete", "uid": pod.uid}]);
    let patch = json!({"metadata": {"uid": claim.metadata.uid}, "status": {"reservedFor": gone}});
    let (api, params) = (claims(client, claim), PatchParams::default());
    let patched = api.patch_status(&claim.name_any(), &params, &Patch::Strategic(patch)).await;
    patched.map_err(about("unreserve", claim))
}

/// Takes from a claim what it has got; one that was made for extended resources goes as a whole.
pub(super) async fn give_back(client: &Client, claim: &ResourceClaim) -> Result<(), DeviceError> {
    if extended::is_special(claim) {
        return delete(client, claim).await;
    }
    let mut free = claim.clone();
    free.status = None;
    let written = claims(client, claim).replace_status(&free.name_any(), &PostParams::default(), &free).await;
    written.map(drop).map_err(about("deallocate", claim))
}

async fn delete(client: &Client, claim: &ResourceClaim) -> Result<(), DeviceError> {
    let (api, name) = (claims(client, claim), claim.name_any());
    let mut current = claim.clone();
    let mut tries = 1;
    loop {
        current.finalizers_mut().retain(|finalizer| finalizer != ALLOCATED);
        match api.replace(&name, &PostParams::default(), &current).await {
            Ok(_) => break,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => tries += 1,
            Err(source) => return Err(about("update", claim)(source)),
        }
        current = api.get(&name).await.map_err(about("get", claim))?;
    }
    let only = Preconditions { uid: claim.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
    match api.delete(&name, &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(drop).map_err(about("delete", claim)),
    }
}
