//! Pods leave devices whose NoExecute taints their claims do not tolerate, or no longer.
//!
//! Taints are in the ResourceSlices that drivers publish; tolerations were copied into the claim's allocation when the
//! scheduler made it.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::{
    common::{Context, Result, pods},
    resource_claim::BY_CLAIM,
    taint_eviction::{Fate, Waiting, evict},
};
use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceSlice};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue, events::EventType, kube::ResourceExt, pod::Pod,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const WORKERS: usize = 8;

/// ResourceSlices, and the claims with devices of them, by `driver/pool`.
const BY_POOL: &str = "device-pool";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    pods: Informer<Pod>,
    claims: Informer<ResourceClaim>,
    slices: Informer<ResourceSlice>,
    waiting: Waiting,
    queue: WorkQueue<Key>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component("device-taint-eviction-controller"),
        pods: ctx.informers.all(),
        claims: ctx.informers.all(),
        slices: ctx.informers.all(),
        waiting: Waiting::default(),
        queue: WorkQueue::new("device-taint-eviction-controller"),
        ctx: ctx.clone(),
    });
    crate::resource_claim::index(&controller.pods);
    controller.claims.index(BY_POOL, |claim| {
        let pools: BTreeSet<String> = plan::devices(claim).iter().map(plan::pool_of_device).collect();
        pools.into_iter().collect()
    });
    controller.slices.index(BY_POOL, |slice| vec![plan::pool_of(&slice.spec)]);
    controller.pods.synced().await;
    controller.claims.synced().await;
    controller.slices.synced().await;
    controller.pods.handle({
        let controller = controller.clone();
        move |change| controller.pod_changed(change)
    });
    controller.claims.handle({
        let controller = controller.clone();
        move |change| controller.claim_changed(change)
    });
    controller.slices.handle({
        let controller = controller.clone();
        move |change| controller.slice_changed(change)
    });
    let queue = controller.queue.clone();
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

impl Controller {
    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let key = Key::of(pod.as_ref());
        if matches!(change, Change::Deleted(_)) {
            self.waiting.end(&key, pod.metadata.uid.as_deref());
        } else if !crate::resource_claim::claims(pod).is_empty() && !pods::node(pod).is_empty() {
            self.queue.add(key);
        }
    }

    fn claim_changed(&self, change: &Change<ResourceClaim>) {
        let claim = change.object();
        if change.old().is_some_and(|old| !Arc::ptr_eq(old, claim) && plan::same(old, claim)) {
            return;
        }
        for pod in self.pods.indexed(BY_CLAIM, &Key::of(claim.as_ref()).to_string()) {
            self.queue.add(Key::of(pod.as_ref()));
        }
    }

    /// A slice decides about its whole pool: by being of a newer generation than others, or by going.
    fn slice_changed(&self, change: &Change<ResourceSlice>) {
        let pool = plan::pool_of(&change.object().spec);
        let now = self.slices.indexed(BY_POOL, &pool);
        if !change.old().is_some_and(|old| plan::evicts(old)) && !now.iter().any(|slice| plan::evicts(slice)) {
            return;
        }
        for claim in self.claims.indexed(BY_POOL, &pool) {
            let namespace = claim.namespace().unwrap_or_default();
            plan::users(&claim).for_each(|pod| self.queue.add(Key::new(namespace.clone(), pod)));
        }
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(pod) = self.pods.by_key(&key) else { return Ok(Outcome::Done) };
        let (now, uid) = (Timestamp::now(), pod.metadata.uid.as_deref());
        let claims = plan::used(&pod, |name| self.claims.get(&key.namespace, name));
        let pools: BTreeSet<String> =
            claims.iter().flat_map(|claim| plan::devices(claim)).map(plan::pool_of_device).collect();
        let slices: Vec<Arc<ResourceSlice>> =
            pools.iter().flat_map(|pool| self.slices.indexed(BY_POOL, pool)).collect();
        match plan::fate(&pod, &claims, &slices, now) {
            Fate::LeaveIn(wait) => {
                self.waiting.begin(&key, uid, now);
                return Ok(Outcome::After(wait.max(Duration::from_millis(10))));
            }
            Fate::Stay => {
                if self.waiting.end(&key, uid) && pods::is_active(&pod) {
                    self.say(&pod, "Cancelling deletion");
                }
            }
            Fate::Leave => {
                self.say(&pod, "Marking for deletion");
                let why = "Device Taint manager: deleting due to NoExecute taint";
                evict(&self.ctx, &pod, "DeletionByDeviceTaintManager", why, now).await?;
                self.waiting.end(&key, uid);
            }
        }
        Ok(Outcome::Done)
    }

    fn say(&self, pod: &Pod, what: &str) {
        self.events.event(pod, EventType::Normal, "DeviceTaintManagerEviction", what);
    }
}
