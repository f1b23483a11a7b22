//! Claims that ask for more than they have: who expands volumes runs elsewhere, and is waited for.
//!
//! Whether a claim may ask for more is decided when it does; nothing is expanded here, and people are told so.

#[cfg(test)]
mod plays;

use crate::common::{
    Context, Failure, Result,
    failure::{Doing, unless_gone},
    volumes::{claim_of, driver_for, moved_plugin, volume_name},
};
use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::api::resource::Quantity as Text,
};
use mk8s_api::quantity::Quantity;
use mk8s_client::{
    Change, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        ResourceExt,
        api::{Patch, PatchParams},
    },
};
use serde_json::json;
use std::{cmp::Ordering, collections::BTreeMap};

/// On volumes whose file systems are smaller than they are.
const PRE_RESIZE: &str = "volume.alpha.kubernetes.io/pre-resize-capacity";
/// On claims of volumes that Kubernetes once expanded: the driver that does.
const RESIZER: &str = "volume.kubernetes.io/storage-resizer";
const WORKERS: usize = 4;

pub(crate) async fn run(ctx: Context) {
    let (claims, volumes) = (ctx.informers.all::<PersistentVolumeClaim>(), ctx.informers.all::<PersistentVolume>());
    claims.synced().await;
    volumes.synced().await;
    let queue: WorkQueue<Key> = WorkQueue::new("volume_expand");
    claims.handle({
        let queue = queue.clone();
        move |change| {
            if volume_name(change.object()).is_some() && has_grown(change) {
                queue.add(Key::of(change.object().as_ref()));
            }
        }
    });
    let events = ctx.events.with_component("volume_expand");
    let for_claims = ctx.clone();
    let reconcile = move |key: Key| {
        let (ctx, claims, volumes, events) = (for_claims.clone(), claims.clone(), volumes.clone(), events.clone());
        async move {
            let Some(claim) = claims.by_key(&key) else { return Ok(Outcome::Done) };
            let Some(name) = volume_name(&claim) else { return Ok(Outcome::Done) };
            // It may be on its way.
            let volume =
                volumes.get("", name).ok_or_else(|| Failure::Other(format!("failed to get PV {name:?}: not found")))?;
            if !waits(&claim, &volume)? {
                return Ok(Outcome::Done);
            }
            let plugin = moved_plugin(&volume);
            let message = match plugin {
                Some(plugin) => {
                    format!("CSI migration enabled for {plugin}; waiting for external resizer to expand the pvc")
                }
                None => "waiting for an external controller to expand this PVC".to_owned(),
            };
            events.event(claim.as_ref(), EventType::Normal, "ExternalExpanding", message);
            if let Some(driver) = plugin.and_then(driver_for).filter(|driver| resizer(&claim) != Some(driver)) {
                let patch = Patch::Merge(json!({"metadata": {"annotations": {RESIZER: driver}}}));
                let api = ctx.api::<PersistentVolumeClaim>(&key.namespace);
                unless_gone(api.patch(&key.name, &PatchParams::default(), &patch).await)
                    .doing(format_args!("setting resizer annotation to pvc {key}"))?;
            }
            Ok(Outcome::Done)
        }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

/// Whether the claim asks for more than before, or got more.
fn has_grown(change: &Change<PersistentVolumeClaim>) -> bool {
    let new = change.object();
    let more = |amount: fn(&PersistentVolumeClaim) -> Quantity| {
        change.old().is_none_or(|old| amount(new).cmp(&amount(old)) == Ordering::Greater)
    };
    more(requested) || more(capacity)
}

fn resizer(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.annotations().get(RESIZER).map(String::as_str)
}

fn storage(amounts: Option<&BTreeMap<String, Text>>) -> Quantity {
    let text = amounts.and_then(|amounts| amounts.get("storage")).map_or("0", |text| &text.0);
    Quantity::parse(text).unwrap_or_else(|_| Quantity::parse("0").expect("a number"))
}

fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    storage(resources.and_then(|resources| resources.requests.as_ref()))
}

fn capacity(claim: &PersistentVolumeClaim) -> Quantity {
    storage(claim.status.as_ref().and_then(|status| status.capacity.as_ref()))
}

/// Whether somebody is to expand the claim's volume, or its file system.
fn waits(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<bool> {
    let bound =
        claim_of(volume).is_some_and(|(key, uid)| key == Key::of(claim) && uid == claim.metadata.uid.as_deref());
    if !bound {
        let message = format!("persistent Volume is not bound to PVC being updated : {}", Key::of(claim));
        return Err(Failure::Other(message));
    }
    Ok(requested(claim) > capacity(claim) || volume.annotations().contains_key(PRE_RESIZE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::one;

    #[test]
    fn a_claim_waits_while_it_has_less_than_it_asks_for() {
        for (requests, has, annotation, bound, expected) in [
            ("2Gi", "1Gi", "", "c", "Ok(true)"),
            ("1Gi", "1024Mi", "", "c", "Ok(false)"),
            ("1Gi", "2Gi", "", "c", "Ok(false)"),
            ("1Gi", "1Gi", "volume.alpha.kubernetes.io/pre-resize-capacity: 1Gi", "c", "Ok(true)"),
            ("2Gi", "1Gi", "", "other", "Err(\"persistent Volume is not bound to PVC being updated : n/c\")"),
        ] {
            let claim: PersistentVolumeClaim = one(&format!(
                "kind: PersistentVolumeClaim\nmetadata: {{name: c, namespace: n, uid: c}}\nspec: {{volumeName: pv, resources: \
                 {{requests: {{storage: {requests}}}}}}}\nstatus: {{phase: Bound, capacity: {{storage: {has}}}}}"
            ));
            let volume: PersistentVolume = one(&format!(
                "kind: PersistentVolume\nmetadata: {{name: pv, annotations: {{{annotation}}}}}\nspec: {{claimRef: {{namespace: n, \
                 name: c, uid: {bound}}}}}"
            ));
            let said = waits(&claim, &volume).map_err(|failure| failure.message());
            assert_eq!(format!("{said:?}"), expected, "{requests} of {has}");
        }
    }
}
