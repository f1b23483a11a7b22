//! EndpointSlices: where the traffic of a Service may go, in portions of at most a hundred.
//!
//! The hot path of a new Service: nothing here waits for more changes to come. A slice is changed as little as possible,
//! because every node reads each change.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;
mod topology;
#[cfg(test)]
mod topology_tests;

use crate::{
    common::{
        Context, Result,
        backends::{self, Family, queue_services},
        batch::all_at_once,
        own_writes::OwnWrites,
        pods, queue_changes,
        selectors::has_all,
        slices::{self, service_of_slice},
    },
    node_lifecycle::{BY_NODE, index_by_node},
};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue, events::EventType, kube::ResourceExt, pod::Pod,
};
use parking_lot::Mutex;
use plan::{MANAGER, Observed, plan};
use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use topology::ZONE;

const WORKERS: usize = 5;
const BY_SERVICE: &str = "service";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    writes: OwnWrites<EndpointSlice>,
    /// Services whose endpoints have hints because an annotation asks for them: for what is told of it.
    hinted: Mutex<HashSet<Key>>,
    /// All Services were queued once.
    started: AtomicBool,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component("endpoint-slice-controller"),
        services: ctx.informers.all(),
        pods: ctx.informers.all(),
        nodes: ctx.informers.all(),
        slices: ctx.informers.all(),
        writes: OwnWrites::default(),
        hinted: Mutex::default(),
        started: AtomicBool::new(false),
        ctx: ctx.clone(),
    });
    backends::index_by_selector(&controller.services);
    index_by_node(&controller.pods);
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
        let (queue, controller) = (queue.clone(), controller.clone());
        move |change| controller.node_changed(change, &queue)
    });
    controller.started.store(true, Ordering::Release);
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

impl Controller {
    /// A node that came or went, or its zone, is told by the endpoints on it; what it adds to its zone, by all Services that
    /// are to stay in their zone.
    fn node_changed(&self, change: &Change<Node>, queue: &WorkQueue<Key>) {
        if !self.started.load(Ordering::Acquire) {
            return;
        }
        let before = match change {
            Change::Updated { old, .. } => Some(old),
            Change::Added(_) | Change::Deleted(_) => None,
        };
        let node = change.object();
        let zone = |node: &Node| node.labels().get(ZONE).cloned();
        if before.is_none_or(|old| zone(old) != zone(node)) {
            for pod in self.pods.indexed(BY_NODE, &node.name_any()) {
                backends::services_of(&self.services, &pod).into_iter().for_each(|key| queue.add(key));
            }
        }
        if before.is_none_or(|old| topology::capacity(old) != topology::capacity(node)) {
            let staying = self.services.list().into_iter().filter(|service| topology::is_asked_for(service));
            staying.for_each(|service| queue.add(Key::of(service.as_ref())));
        }
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(service) = self.services.by_key(&key) else {
            // Its slices go with it: they name it as their owner.
            self.writes.forget(&key);
            self.hinted.lock().remove(&key);
            return Ok(Outcome::Done);
        };
        let Some(selector) = backends::selector(&service) else { return Ok(Outcome::Done) };
        let selected = |pod: &Pod| has_all(pod.metadata.labels.as_ref(), selector);
        let pods = self.pods.select_in(&key.namespace, selected);
        let named: BTreeSet<&str> = pods.iter().map(|pod| pods::node(pod)).collect();
        let known = |name: &str| {
            let node = self.nodes.get("", name)?;
            Some((name.to_owned(), node.labels().get(ZONE).cloned()))
        };
        let nodes = named.into_iter().filter_map(known).collect();
        let term = key.to_string();
        let slices = self.writes.read(&key, &self.slices, || self.slices.indexed(BY_SERVICE, &term));
        let by_topology = topology::is_asked_for(&service);
        let shares = if by_topology { topology::shares(&self.nodes.list()) } else { None };
        let had_hints = by_topology && slices.iter().any(|slice| topology::has_hints(slice));
        let observed = Observed { service: service.clone(), pods, nodes, slices, shares };
        let plan = plan(&observed);
        let actions = plan.actions.iter().map(|action| slices::act(&self.ctx, &self.writes, &key, action));
        let result = all_at_once(actions).await;
        self.tell_of_hints(&key, &service, had_hints, &plan.hinted);
        if let Err(failure) = &result
            && !failure.is_conflict()
        {
            let message = format!("Error updating Endpoint Slices for Service {key}: {}", failure.message());
            self.events.event(service.as_ref(), EventType::Warning, "FailedToUpdateEndpointSlices", message);
        }
        result.map(|()| Outcome::Done)
    }

    /// Says when traffic begins to stay in its zone, when it ends, and why it cannot.
    fn tell_of_hints(&self, key: &Key, service: &Service, had_hints: bool, hinted: &[(Family, Result<(), String>)]) {
        let disabled = |why: &str, family: Family| {
            let message = format!("{why}, addressType: {}", family.name());
            self.events.event(service, EventType::Warning, "TopologyAwareHintsDisabled", message);
        };
        let mut known = self.hinted.lock();
        if hinted.is_empty() && known.remove(key) {
            backends::families(service).into_iter().for_each(|family| disabled(topology::DISABLED, family));
        }
        for (family, outcome) in hinted {
            match outcome {
                Err(why) => {
                    known.remove(key);
                    disabled(why, *family);
                }
                Ok(()) => {
                    // A leader that came to hints finds them working, and has nothing to tell.
                    if known.insert(key.clone()) && !had_hints {
                        let message = format!("{}, addressType: {}", topology::ENABLED, family.name());
                        self.events.event(service, EventType::Normal, "TopologyAwareHintsEnabled", message);
                    }
                }
            }
        }
    }
}
