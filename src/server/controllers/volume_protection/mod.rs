//! A claim that a pod uses, and a volume that is bound to a claim, outlive their deletion until that has ended.
//!
//! The finalizers are put on when the objects are created; here they are taken off those that are being deleted and that
//! nobody uses any more.

#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    queue_changes,
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{ListParams, PostParams},
    },
    pod::Pod,
};

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

pub(crate) async fn run(ctx: Context) {
    tokio::join!(claims(ctx.clone()), volumes(ctx));
}

async fn claims(ctx: Context) {
    let claims: Informer<PersistentVolumeClaim> = ctx.informers.all();
    let pods: Informer<Pod> = ctx.informers.all();
    claims.synced().await;
    pods.synced().await;
    let queue = WorkQueue::new("pvc-protection-controller");
    queue_changes(&claims, &queue);
    pods.handle({
        let queue = queue.clone();
        move |change| {
            let pod = change.object();
            for name in claims_of(pod.as_ref()) {
                queue.add(Key::new(pod.namespace().unwrap_or_default(), name));
            }
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, claims, pods) = (ctx.clone(), claims.clone(), pods.clone());
            async move { release_claim(&ctx, &claims, &pods, key).await }
        }
    };
    ctx.serve(queue, 2, reconcile).await;
}

async fn release_claim(
    ctx: &Context,
    claims: &Informer<PersistentVolumeClaim>,
    pods: &Informer<Pod>,
    key: Key,
) -> Result<Outcome> {
    let Some(claim) = claims.by_key(&key).filter(|claim| held(claim.as_ref(), CLAIM)) else { return Ok(Outcome::Done) };
    if !pods.select_in(&key.namespace, |pod| uses(pod, &key.name)).is_empty() {
        return Ok(Outcome::Done);
    }
    // Letting go is for ever: the server's own list decides.
    let live = ctx.api::<Pod>(&key.namespace).list(&ListParams::default()).await;
    if live.doing(format_args!("listing the pods of {}", key.namespace))?.iter().any(|pod| uses(pod, &key.name)) {
        return Ok(Outcome::Again);
    }
    let free = released(claim.as_ref(), CLAIM);
    let result =
        ctx.api::<PersistentVolumeClaim>(&key.namespace).replace(&key.name, &PostParams::default(), &free).await;
    unless_gone(result).doing(format_args!("releasing the claim {key}"))?;
    Ok(Outcome::Done)
}

async fn volumes(ctx: Context) {
    let volumes: Informer<PersistentVolume> = ctx.informers.all();
    volumes.synced().await;
    let queue = WorkQueue::new("pv-protection-controller");
    queue_changes(&volumes, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key: Key| {
            let (ctx, volumes) = (ctx.clone(), volumes.clone());
            async move {
                let volume = volumes.by_key(&key).filter(|volume| held(volume.as_ref(), VOLUME) && !bound(volume));
                let Some(volume) = volume else { return Ok(Outcome::Done) };
                let api: Api<PersistentVolume> = Api::all(ctx.client.clone());
                let result = api.replace(&key.name, &PostParams::default(), &released(volume.as_ref(), VOLUME)).await;
                unless_gone(result).doing(format_args!("releasing the volume {}", key.name))?;
                Ok(Outcome::Done)
            }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

/// Being deleted, and kept by the finalizer.
fn held(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.meta().deletion_timestamp.is_some() && object.finalizers().iter().any(|f| f == finalizer)
}

fn released<K: ResourceExt + Clone>(object: &K, finalizer: &str) -> K {
    let mut free = object.clone();
    free.finalizers_mut().retain(|f| f != finalizer);
    free
}

fn bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Claims that a pod names, and those made for its ephemeral volumes.
fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), volume.name)),
            (None, None) => None,
        })
        .collect()
}

/// A pod that has ended uses nothing; one that runs nowhere and is being deleted never will.
fn uses(pod: &Pod, claim: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let over = matches!(phase, Some("Succeeded" | "Failed")) || (!placed && pod.metadata.deletion_timestamp.is_some());
    !over && claims_of(pod).iter().any(|name| name == claim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::one;

    #[test]
    fn a_pod_uses_a_claim_until_it_has_ended() {
        for (phase, meta, node, expected) in [
            ("Running", "", "nodeName: n, ", true),
            ("Pending", "", "", true),
            ("Pending", ", deletionTimestamp: \"2026-01-01T12:00:00Z\"", "", false),
            ("Succeeded", "", "nodeName: n, ", false),
            ("Failed", "", "nodeName: n, ", false),
        ] {
            let pod: Pod = one(&format!(
                "kind: Pod\nmetadata: {{name: p{meta}}}\nspec: {{{node}containers: [], volumes: [{{name: v, persistentVolumeClaim: \
                 {{claimName: c}}}}, {{name: e, ephemeral: {{}}}}]}}\nstatus: {{phase: {phase}}}"
            ));
            assert_eq!(uses(&pod, "c"), expected, "{phase} {meta} {node}");
            assert_eq!(uses(&pod, "p-e"), expected, "{phase} {meta} {node}");
            assert!(!uses(&pod, "other"));
        }
    }
}
