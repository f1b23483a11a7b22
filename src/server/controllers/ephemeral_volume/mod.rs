//! Volumes that pods bring along: a claim is made for each, which goes with its pod.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Failure, Result,
    failure::said,
    volumes::{BY_CLAIM, index_by_claim},
};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{ResourceExt, api::PostParams},
    pod::Pod,
};
use plan::{Step, steps};
use std::sync::Arc;

const COMPONENT: &str = "ephemeral_volume";
const WORKERS: usize = 4;

struct Controller {
    ctx: Context,
    events: EventRecorder,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        pods: ctx.informers.all(),
        claims: ctx.informers.all(),
        ctx: ctx.clone(),
    });
    index_by_claim(&controller.pods);
    controller.pods.synced().await;
    controller.claims.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    let wake = {
        let queue = queue.clone();
        move |pod: &Pod| {
            if plan::wants_claims(pod) {
                queue.add(Key::of(pod));
            }
        }
    };
    controller.pods.handle({
        let wake = wake.clone();
        move |change| {
            // What a pod brings along never changes.
            if let Change::Added(pod) = change {
                wake(pod);
            }
        }
    });
    controller.claims.handle({
        let pods = controller.pods.clone();
        move |change| {
            // It is made again while its pod is there.
            if let Change::Deleted(claim) = change {
                pods.indexed(BY_CLAIM, &Key::of(claim.as_ref()).to_string()).iter().for_each(|pod| wake(pod));
            }
        }
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(pod) = self.pods.by_key(&key) else { return Ok(Outcome::Done) };
        for (volume, step) in steps(&pod, |name| self.claims.get(&key.namespace, name)) {
            let made = match step {
                Step::Create(claim) => self.create(&key, &claim).await,
                Step::Refuse(why) => Err(why),
            };
            if let Err(why) = made {
                let message = format!("ephemeral volume {volume}: {why}");
                self.events.event(pod.as_ref(), EventType::Warning, "FailedBinding", message.clone());
                return Err(Failure::Other(message));
            }
        }
        Ok(Outcome::Done)
    }

    async fn create(&self, key: &Key, claim: &PersistentVolumeClaim) -> Result<(), String> {
        let created = self.ctx.api::<PersistentVolumeClaim>(&key.namespace).create(&PostParams::default(), claim).await;
        created.map(drop).map_err(|error| format!("create PVC {}: {}", claim.name_any(), said(&error)))
    }
}
