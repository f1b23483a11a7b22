//! Endpoints: the older, one-object form of what EndpointSlices say, for clients that still read it.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Result,
    backends::{self, queue_services},
    failure::{Doing, namespace_terminating, unless_gone},
    own_writes::OwnWrites,
    queue_changes,
    selectors::has_all,
};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::api::{DeleteParams, PostParams},
    pod::Pod,
};
use plan::{Action, Observed, plan};
use std::sync::Arc;

const WORKERS: usize = 5;

struct Controller {
    ctx: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    writes: OwnWrites<Endpoints>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        services: ctx.informers.all(),
        pods: ctx.informers.all(),
        endpoints: ctx.informers.all(),
        writes: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    backends::index_by_selector(&controller.services);
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.endpoints.synced().await;
    let queue = WorkQueue::new("endpoint-controller");
    queue_changes(&controller.services, &queue);
    queue_changes(&controller.endpoints, &queue);
    controller.pods.handle({
        let (queue, services) = (queue.clone(), controller.services.clone());
        move |change| queue_services(change, &services, &queue)
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let current = self.writes.one(&key, &self.endpoints);
        let service = self.services.by_key(&key);
        let pods = match service.as_deref().and_then(backends::selector) {
            Some(selector) => {
                self.pods.select_in(&key.namespace, |pod| has_all(pod.metadata.labels.as_ref(), selector))
            }
            None => Vec::new(),
        };
        let action = plan(&Observed { service, pods, current });
        let endpoints = self.ctx.api::<Endpoints>(&key.namespace);
        let doing = || format!("writing Endpoints {key}");
        match action {
            None => {}
            Some(Action::Create(new)) => match endpoints.create(&PostParams::default(), &new).await {
                Ok(created) => self.writes.wrote(&key, created),
                Err(error) if namespace_terminating(&error) => {}
                Err(error) => return Err(error).doing(doing()),
            },
            Some(Action::Update(new)) => {
                let written = endpoints.replace(&key.name, &PostParams::default(), &new).await;
                self.writes.wrote(&key, written.doing(doing())?);
            }
            Some(Action::Delete) => {
                unless_gone(endpoints.delete(&key.name, &DeleteParams::default()).await).doing(doing())?;
            }
        }
        Ok(Outcome::Done)
    }
}
