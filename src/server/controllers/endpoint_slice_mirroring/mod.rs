//! EndpointSlices for Endpoints that someone writes by hand: of Services without a selector.
//!
//! Who reads slices only, as every node does, would not see such Endpoints otherwise.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Result,
    batch::all_at_once,
    own_writes::OwnWrites,
    queue_changes,
    slices::{self, service_of_slice},
};
use k8s_openapi::api::{
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use mk8s_client::{EventRecorder, Informer, Key, Outcome, WorkQueue, events::EventType};
use plan::{MANAGER, Observed, plan};
use std::sync::Arc;

const COMPONENT: &str = "endpoint-slice-mirroring-controller";
const WORKERS: usize = 5;
const BY_ENDPOINTS: &str = "mirrored";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    endpoints: Informer<Endpoints>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    writes: OwnWrites<EndpointSlice>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        endpoints: ctx.informers.all(),
        services: ctx.informers.all(),
        slices: ctx.informers.all(),
        writes: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    controller
        .slices
        .index(BY_ENDPOINTS, |slice| service_of_slice(slice, MANAGER).map(|key| key.to_string()).into_iter().collect());
    controller.endpoints.synced().await;
    controller.services.synced().await;
    controller.slices.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    queue_changes(&controller.endpoints, &queue);
    queue_changes(&controller.services, &queue);
    controller.slices.handle({
        let queue = queue.clone();
        move |change| {
            let both = [Some(change.object()), change.old()].into_iter().flatten();
            both.filter_map(|slice| service_of_slice(slice, MANAGER)).for_each(|key| queue.add(key));
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
        let term = key.to_string();
        let observed = Observed {
            endpoints: self.endpoints.by_key(&key),
            service: self.services.by_key(&key),
            slices: self.writes.read(&key, &self.slices, || self.slices.indexed(BY_ENDPOINTS, &term)),
        };
        let plan = plan(&observed);
        for (reason, message) in &plan.events {
            if let Some(endpoints) = &observed.endpoints {
                self.events.event(endpoints.as_ref(), EventType::Warning, reason, message.clone());
            }
        }
        all_at_once(plan.actions.iter().map(|action| slices::act(&self.ctx, &self.writes, &key, action))).await?;
        if observed.endpoints.is_none() {
            self.writes.forget(&key);
        }
        Ok(Outcome::Done)
    }
}
