//! Getting the volumes of a pod bound before the pod is: the choice is written, the controllers of volumes do the rest.

use crate::volumes::{SELECTED_NODE, VolumePlan, claim_key, is_bound};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use kube::{Api, Client, ResourceExt, api::PostParams};
use std::{sync::Arc, time::Duration};

/// Between two looks at a claim that is not bound yet: from `FIRST`, doubled up to `LAST`.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_LAST: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    #[error("{object}: {source}")]
    Api {
        object: String,
        #[source]
        source: kube::Error,
    },
    #[error("binding volumes: provisioning failed for PVC {0:?}")]
    Refused(String),
    #[error("binding volumes: context deadline exceeded")]
    TimedOut,
}

/// Writes which volumes and nodes were chosen, and waits until all claims are bound.
pub(super) async fn bind_volumes(
    client: &Client,
    node: &str,
    plan: VolumePlan,
    timeout: Duration,
) -> Result<(), VolumeError> {
    for (volume, claim) in &plan.bindings {
        choose_volume(client, volume, claim).await?;
    }
    for claim in &plan.provisions {
        choose_node(client, claim, node).await?;
    }
    let all_bound = async {
        for (_, claim) in &plan.bindings {
            wait_for(client, claim, None).await?;
        }
        for claim in &plan.provisions {
            wait_for(client, claim, Some(node)).await?;
        }
        Ok(())
    };
    tokio::time::timeout(timeout, all_bound).await.unwrap_or(Err(VolumeError::TimedOut))
}

async fn choose_volume(
    client: &Client,
    volume: &Arc<PersistentVolume>,
    claim: &PersistentVolumeClaim,
) -> Result<(), VolumeError> {
    let mut chosen = PersistentVolume::clone(volume);
    let name = chosen.name_any();
    if let Some(spec) = &mut chosen.spec {
        if spec.claim_ref.is_none() {
            let annotations = chosen.metadata.annotations.get_or_insert_default();
            annotations.insert("pv.kubernetes.io/bound-by-controller".to_owned(), "yes".to_owned());
        }
        spec.claim_ref = Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            name: claim.metadata.name.clone(),
            namespace: claim.metadata.namespace.clone(),
            uid: claim.metadata.uid.clone(),
            resource_version: claim.metadata.resource_version.clone(),
            ..ObjectReference::default()
        });
    }
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let written = volumes.replace(&name, &PostParams::default(), &chosen).await;
    written.map(drop).map_err(|source| VolumeError::Api { object: format!("persistentvolume {name:?}"), source })
}

async fn choose_node(client: &Client, claim: &Arc<PersistentVolumeClaim>, node: &str) -> Result<(), VolumeError> {
    let mut chosen = PersistentVolumeClaim::clone(claim);
    let annotations = chosen.metadata.annotations.get_or_insert_default();
    if annotations.insert(SELECTED_NODE.to_owned(), node.to_owned()).as_deref() == Some(node) {
        return Ok(());
    }
    let written = claims(client, claim).replace(&claim.name_any(), &PostParams::default(), &chosen).await;
    written.map(drop).map_err(|source| about(claim, source))
}

/// Returns once a claim is bound; fails when its node is taken back, which is how a provisioner says that it cannot.
async fn wait_for(client: &Client, claim: &PersistentVolumeClaim, node: Option<&str>) -> Result<(), VolumeError> {
    let api = claims(client, claim);
    let mut pause = LOOK_FIRST;
    loop {
        let current = api.get(&claim.name_any()).await.map_err(|source| about(claim, source))?;
        if is_bound(&current) {
            return Ok(());
        }
        let selected = current.metadata.annotations.as_ref().and_then(|a| a.get(SELECTED_NODE));
        if node.is_some() && selected.map(String::as_str) != node {
            return Err(VolumeError::Refused(claim.name_any()));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_LAST);
    }
}

fn claims(client: &Client, claim: &PersistentVolumeClaim) -> Api<PersistentVolumeClaim> {
    Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default())
}

fn about(claim: &PersistentVolumeClaim, source: kube::Error) -> VolumeError {
    VolumeError::Api { object: format!("persistentvolumeclaim {:?}", claim_key(claim)), source }
}
