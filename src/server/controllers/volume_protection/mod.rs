//! A claim that a pod uses, a volume that is bound to a claim, and a VolumeAttributesClass that either names, outlive their
//! deletion until that has ended.
//!
//! The finalizers are put on when the objects are created, and again on those that have lost them; they are taken off those
//! that are being deleted and that nobody uses any more.

mod classes;
#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    pods, queue_changes,
    volumes::{self, BY_CLAIM, claim_name, claims_of, index_by_claim, not_made_for},
};
use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::{
    Informer, Key, Kind, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{ListParams, PostParams},
    },
    pod::Pod,
};
use serde::Serialize;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

pub(crate) async fn run(ctx: Context) {
    tokio::join!(claims(ctx.clone()), volumes(ctx.clone()), classes::run(ctx));
}

async fn claims(ctx: Context) {
    let claims: Informer<PersistentVolumeClaim> = ctx.informers.all();
    let pods: Informer<Pod> = ctx.informers.all();
    index_by_claim(&pods);
    claims.synced().await;
    pods.synced().await;
    let queue = WorkQueue::new("pvc-protection-controller");
    queue_changes(&claims, &queue);
    pods.handle({
        let queue = queue.clone();
        move |change| claims_of(change.object()).for_each(|claim| queue.add(claim))
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, claims, pods) = (ctx.clone(), claims.clone(), pods.clone());
            async move { settle_claim(&ctx, &claims, &pods, key).await }
        }
    };
    ctx.serve(queue, 2, reconcile).await;
}

async fn settle_claim(
    ctx: &Context,
    claims: &Informer<PersistentVolumeClaim>,
    pods: &Informer<Pod>,
    key: Key,
) -> Result<Outcome> {
    let Some(claim) = claims.by_key(&key) else { return Ok(Outcome::Done) };
    let api = ctx.api::<PersistentVolumeClaim>(&key.namespace);
    if held(claim.as_ref(), CLAIM) {
        if pods.indexed(BY_CLAIM, &key.to_string()).iter().any(|pod| uses(pod, &claim.metadata)) {
            return Ok(Outcome::Done);
        }
        // Letting go is for ever: the server's own list decides.
        let live = ctx.api::<Pod>(&key.namespace).list(&ListParams::default()).await;
        let live = live.doing(format_args!("listing the pods of {}", key.namespace))?;
        if live.iter().any(|pod| uses(pod, &claim.metadata)) {
            return Ok(Outcome::Again);
        }
    }
    settle(&api, claim.as_ref(), CLAIM, false).await
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
                let Some(volume) = volumes.by_key(&key) else { return Ok(Outcome::Done) };
                settle(&Api::all(ctx.client.clone()), volume.as_ref(), VOLUME, bound(&volume)).await
            }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

/// Puts the finalizer on an object that stays, and takes it off one that goes and is not used.
async fn settle<K: Kind + Serialize>(api: &Api<K>, object: &K, finalizer: &str, used: bool) -> Result<Outcome> {
    let mut next = object.clone();
    if lacks(object, finalizer) {
        next.finalizers_mut().push(finalizer.to_owned());
    } else if held(object, finalizer) && !used {
        next.finalizers_mut().retain(|known| known != finalizer);
    } else {
        return Ok(Outcome::Done);
    }
    let name = object.name_any();
    let written = api.replace(&name, &PostParams::default(), &next).await;
    unless_gone(written).doing(format_args!("protecting or releasing {} {name}", K::kind(&())))?;
    Ok(Outcome::Done)
}

/// Being deleted, and kept by the finalizer.
fn held(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.meta().deletion_timestamp.is_some() && object.finalizers().iter().any(|known| known == finalizer)
}

/// Not being deleted, and without the finalizer.
fn lacks(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.meta().deletion_timestamp.is_none() && object.finalizers().iter().all(|known| known != finalizer)
}

fn bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// A pod on a node uses its claims until it is gone; those that it has brought along, until its node is done with it. One
/// that has no node is not started with a claim that goes.
fn uses(pod: &Pod, claim: &ObjectMeta) -> bool {
    let meta = &pod.metadata;
    let is_shut_down = meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds == Some(0);
    let names_it = |volume| claim_name(pod, volume) == claim.name;
    let mut volumes = volumes::volumes(pod).filter(|volume| names_it(volume));
    !pods::node(pod).is_empty()
        && volumes.any(|volume| {
            volume.persistent_volume_claim.is_some() || (!is_shut_down && not_made_for(pod, claim).is_none())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::one;

    fn claim(name: &str, owner: &str) -> ObjectMeta {
        let claim: PersistentVolumeClaim = one(&format!(
            "kind: PersistentVolumeClaim\nmetadata: {{name: {name}, namespace: n, ownerReferences: [{{apiVersion: v1, kind: Pod, \
             name: p, uid: {owner}, controller: true}}]}}"
        ));
        claim.metadata
    }

    #[test]
    fn a_pod_on_a_node_uses_a_claim_until_it_is_gone() {
        let gone = ", deletionTimestamp: \"2026-01-01T12:00:00Z\", deletionGracePeriodSeconds: 0";
        for (phase, meta, node, named, own) in [
            ("Running", "", "nodeName: n, ", true, true),
            ("Pending", "", "", false, false),
            ("Succeeded", "", "nodeName: n, ", true, true),
            ("Failed", "", "nodeName: n, ", true, true),
            ("Running", gone, "nodeName: n, ", true, false),
        ] {
            let pod: Pod = one(&format!(
                "kind: Pod\nmetadata: {{name: p, namespace: n, uid: u{meta}}}\nspec: {{{node}containers: [], volumes: [{{name: v, \
                 persistentVolumeClaim: {{claimName: c}}}}, {{name: e, ephemeral: {{}}}}]}}\nstatus: {{phase: {phase}}}"
            ));
            assert_eq!(uses(&pod, &claim("c", "other")), named, "{phase} {meta} {node}");
            assert_eq!(uses(&pod, &claim("p-e", "u")), own, "{phase} {meta} {node}");
            assert!(!uses(&pod, &claim("p-e", "other")));
            assert!(!uses(&pod, &claim("another", "u")));
        }
    }
}
