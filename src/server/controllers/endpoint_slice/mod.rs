//! EndpointSlices: where the traffic of a Service may go, in portions of at most a hundred.
//!
//! The hot path of a new Service: nothing here waits for more changes to come. A slice is changed as little as possible,
//! because every node reads each change.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Result,
    backends::{self, queue_services},
    batch::all_at_once,
    own_writes::OwnWrites,
    queue_changes,
    selectors::has_all,
    slices::{self, service_of_slice},
};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue, events::EventType, kube::ResourceExt, pod::Pod,
};
use plan::{MANAGER, Observed, plan};
use std::{collections::HashMap, sync::Arc};

const WORKERS: usize = 5;
const BY_SERVICE: &str = "service";
const ZONE: &str = "topology.kubernetes.io/zone";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    writes: OwnWrites<EndpointSlice>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component("endpoint-slice-controller"),
        services: ctx.informers.all(),
        pods: ctx.informers.all(),
        nodes: ctx.informers.all(),
        slices: ctx.informers.all(),
        writes: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    backends::index_by_selector(&controller.services);
    controller.slices.index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.slices.synced().await;
    let queue = WorkQueue::new("endpoint-slice-controller");
    controller.pods.handle({
        let (queue, services) = (queue.clone(), controller.services.clone());
        move |change| queue_services(change, &services, &queue)
    });
    controller.slices.handle({
        let queue = queue.clone();
        move |change| queue_of_slice(change, &queue)
    });
    controller.nodes.handle({
        let (queue, services) = (queue.clone(), controller.services.clone());
        move |change| queue_of_node(change, &services, &queue)
    });
    queue_changes(&controller.services, &queue);
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

/// The Service of a slice that this controller keeps.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    service_of_slice(slice, MANAGER)
}

/// Only what someone else did to a slice needs work: who wrote it last knows what is in it.
fn queue_of_slice(change: &Change<EndpointSlice>, queue: &WorkQueue<Key>) {
    let keys = [Some(change.object()), change.old()].into_iter().flatten();
    keys.filter_map(|slice| service_of(slice)).for_each(|key| queue.add(key));
}

/// A zone that became known, or another one, is told by the endpoints on the node.
fn queue_of_node(change: &Change<Node>, services: &Informer<Service>, queue: &WorkQueue<Key>) {
    let zone = |node: &Arc<Node>| node.labels().get(ZONE).cloned();
    let changed = match change {
        Change::Updated { old, new } => zone(old) != zone(new),
        Change::Added(node) | Change::Deleted(node) => zone(node).is_some(),
    };
    if changed {
        services.list().iter().for_each(|service| queue.add(Key::of(service.as_ref())));
    }
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(service) = self.services.by_key(&key) else {
            // Its slices go with it: they name it as their owner.
            self.writes.forget(&key);
            return Ok(Outcome::Done);
        };
        let Some(selector) = backends::selector(&service) else { return Ok(Outcome::Done) };
        let selected = |pod: &Pod| has_all(pod.metadata.labels.as_ref(), selector);
        let pods = self.pods.select_in(&key.namespace, selected);
        let named: std::collections::BTreeSet<&str> = pods.iter().map(|pod| crate::common::pods::node(pod)).collect();
        let zone = |name: &str| self.nodes.get("", name).and_then(|node| node.labels().get(ZONE).cloned());
        let zones: HashMap<String, String> =
            named.into_iter().filter_map(|name| Some((name.to_owned(), zone(name)?))).collect();
        let term = key.to_string();
        let slices = self.writes.read(&key, &self.slices, || self.slices.indexed(BY_SERVICE, &term));
        let observed = Observed { service: service.clone(), pods, zones, slices };
        let actions = plan(&observed);
        let result = all_at_once(actions.iter().map(|action| slices::act(&self.ctx, &self.writes, &key, action))).await;
        if let Err(failure) = &result
            && !failure.is_conflict()
        {
            let message = format!("Error updating Endpoint Slices for Service {key}: {}", failure.message());
            self.events.event(service.as_ref(), EventType::Warning, "FailedToUpdateEndpointSlices", message);
        }
        result.map(|()| Outcome::Done)
    }
}
