//! VolumeAttributesClasses that a claim or a volume names: what it is to become, what it is, and what it is becoming.

use super::settle;
use crate::common::{Context, queue_changes};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::VolumeAttributesClass,
};
use mk8s_client::{Informer, Key, Outcome, WorkQueue, kube::Api};

const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Claims and volumes by the classes that they name.
const BY_CLASS: &str = "volume-attributes-class";

pub(super) async fn run(ctx: Context) {
    let classes: Informer<VolumeAttributesClass> = ctx.informers.all();
    let claims: Informer<PersistentVolumeClaim> = ctx.informers.all();
    let volumes: Informer<PersistentVolume> = ctx.informers.all();
    claims.index(BY_CLASS, classes_of_claim);
    volumes.index(BY_CLASS, classes_of_volume);
    classes.synced().await;
    claims.synced().await;
    volumes.synced().await;
    let queue: WorkQueue<Key> = WorkQueue::new("vac-protection-controller");
    queue_changes(&classes, &queue);
    claims.handle({
        let queue = queue.clone();
        move |change| change.old().into_iter().for_each(|old| wake(&queue, classes_of_claim(old)))
    });
    volumes.handle({
        let queue = queue.clone();
        move |change| change.old().into_iter().for_each(|old| wake(&queue, classes_of_volume(old)))
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key: Key| {
            let (ctx, classes, claims, volumes) = (ctx.clone(), classes.clone(), claims.clone(), volumes.clone());
            async move {
                let Some(class) = classes.by_key(&key) else { return Ok(Outcome::Done) };
                let named = !volumes.indexed(BY_CLASS, &key.name).is_empty();
                let used = named || !claims.indexed(BY_CLASS, &key.name).is_empty();
                settle(&Api::all(ctx.client.clone()), class.as_ref(), FINALIZER, used).await
            }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

fn wake(queue: &WorkQueue<Key>, classes: Vec<String>) {
    classes.into_iter().for_each(|name| queue.add(Key::new("", name)));
}

fn classes_of_volume(volume: &PersistentVolume) -> Vec<String> {
    let class = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
    class.into_iter().filter(|name| !name.is_empty()).collect()
}

fn classes_of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let (spec, status) = (claim.spec.as_ref(), claim.status.as_ref());
    let target =
        status.and_then(|status| status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.clone());
    let named = [
        spec.and_then(|spec| spec.volume_attributes_class_name.clone()),
        status.and_then(|status| status.current_volume_attributes_class_name.clone()),
        target,
    ];
    let mut names: Vec<String> = named.into_iter().flatten().filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::one;

    #[test]
    fn a_claim_names_what_it_is_and_what_it_becomes() {
        let claim: PersistentVolumeClaim = one(
            "kind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {volumeAttributesClassName: gold}\nstatus: \
             {currentVolumeAttributesClassName: silver, modifyVolumeStatus: {status: Pending, targetVolumeAttributesClassName: gold}}",
        );
        assert_eq!(classes_of_claim(&claim), ["gold", "silver"]);
        let none: PersistentVolumeClaim =
            one("kind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {volumeAttributesClassName: \"\"}");
        assert!(classes_of_claim(&none).is_empty());
    }
}
