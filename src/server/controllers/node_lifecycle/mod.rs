//! Nodes: one that is silent is Unknown, and every node's conditions show as taints; those that send pods away come to one
//! node of a zone after the other ([`zones`]).
//!
//! A node lives while its Lease (or its status) is renewed. Only this machine's clock counts: what matters is when a renewal
//! was seen here, not what the node says the time is.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;
mod zones;

use crate::common::{
    Context, Result,
    batch::all_at_once,
    failure::{Doing, unless_gone},
    pods,
    updates::whole_second,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Node},
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, Selection, WorkQueue,
    events::EventType,
    kube::{
        Api, ResourceExt,
        api::{Patch, PatchParams, PostParams},
    },
    pod::Pod,
};
use parking_lot::Mutex;
pub(crate) use plan::is_ready;
use plan::{Observed, ready_condition};
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use zones::{Turn, Zones};

const COMPONENT: &str = "node-controller";
const LEASES: &str = "kube-node-lease";
const WORKERS: usize = 4;

/// When a node last gave a sign of life, and which.
#[derive(Clone)]
struct Sign {
    renewed: Option<MicroTime>,
    heartbeat: Option<Time>,
    seen: Timestamp,
    was_ready: bool,
    /// Whether the pods of the node, which is not ready, have been told so.
    told_pods: bool,
}

struct Controller {
    ctx: Context,
    events: EventRecorder,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    leases: Informer<Lease>,
    signs: Mutex<HashMap<String, Sign>>,
    /// The nodes that are ready.
    ready: Mutex<HashSet<String>>,
    zones: Mutex<Zones>,
    queue: WorkQueue<Key>,
}

pub(crate) async fn run(ctx: Context) {
    let queue = WorkQueue::new(COMPONENT);
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        nodes: ctx.informers.all(),
        pods: ctx.informers.all(),
        leases: ctx.informers.select_in(LEASES, Selection::default()),
        signs: Mutex::default(),
        ready: Mutex::default(),
        zones: Mutex::default(),
        queue: queue.clone(),
        ctx: ctx.clone(),
    });
    index_by_node(&controller.pods);
    controller.nodes.synced().await;
    controller.leases.synced().await;
    controller.pods.synced().await;
    controller.nodes.handle({
        let controller = controller.clone();
        move |change| controller.node_changed(change)
    });
    controller.leases.handle({
        let queue = queue.clone();
        move |change| queue.add(Key::new("", change.object().name_any()))
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

/// An index of pods by the node they are bound to.
pub(crate) const BY_NODE: &str = "node";

pub(crate) fn index_by_node(pods: &Informer<Pod>) {
    pods.index(BY_NODE, |pod| Some(pods::node(pod).to_owned()).filter(|node| !node.is_empty()).into_iter().collect());
}

impl Controller {
    fn node_changed(&self, change: &Change<Node>) {
        let node = change.object();
        self.queue.add(Key::new("", node.name_any()));
        match change {
            Change::Added(_) => {
                let message = format!("Registered Node {} in Controller", node.name_any());
                self.events.event(node.as_ref(), EventType::Normal, "RegisteredNode", message);
            }
            Change::Deleted(_) => {
                let message = format!("Removing Node {} from Controller", node.name_any());
                self.events.event(node.as_ref(), EventType::Normal, "RemovingNode", message);
                self.signs.lock().remove(&node.name_any());
            }
            Change::Updated { .. } => {}
        }
        // Whether any node is ready decides for all of them.
        let gone = matches!(change, Change::Deleted(_));
        if self.turns_any_ready(node.name_any(), !gone && is_ready(node)) {
            self.nodes.list().iter().for_each(|node| self.queue.add(Key::of(node.as_ref())));
        }
    }

    /// Notes whether a node is ready; true when with it some node is, or no node any more.
    fn turns_any_ready(&self, name: String, is_ready: bool) -> bool {
        let mut ready = self.ready.lock();
        let none_before = ready.is_empty();
        if is_ready {
            ready.insert(name);
        } else {
            ready.remove(&name);
        }
        none_before != ready.is_empty()
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(node) = self.nodes.get("", &key.name) else { return Ok(Outcome::Done) };
        let now = Timestamp::now();
        let sign = self.sign_of_life(&node, now);
        let any_ready = is_ready(&node) || !self.ready.lock().is_empty();
        let mut observed = Observed {
            node: node.clone(),
            last_sign: sign.seen,
            any_ready,
            has_turn: false,
            grace: self.ctx.options.node_monitor_grace_period,
        };
        let mut plan = plan::plan(now, &observed);
        if plan.waits_for_turn {
            match self.zones.lock().turn(&node, || self.nodes.list(), now) {
                Turn::Now => {
                    observed.has_turn = true;
                    plan = plan::plan(now, &observed);
                }
                Turn::AskIn(wait) => plan.look_again = Some(plan.look_again.map_or(wait, |known| known.min(wait))),
            }
        }
        let api: Api<Node> = Api::all(self.ctx.client.clone());
        let mut latest = node.as_ref().clone();
        if let Some(status) = plan.status {
            let updated = Node { status: Some(status), ..latest.clone() };
            let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
            let Some(written) = written.doing(format_args!("reporting silent node {key}"))? else {
                return Ok(Outcome::Done);
            };
            latest = written;
        }
        if let Some(taints) = plan.taints {
            let patch = json!({
                "metadata": {"resourceVersion": latest.resource_version()},
                "spec": {"taints": taints},
            });
            unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
                .doing(format_args!("tainting node {key}"))?;
        }
        let ready = is_ready(&latest);
        if sign.was_ready && !ready {
            let message = format!("Node {} status is now: NodeNotReady", key.name);
            self.events.event(&latest, EventType::Normal, "NodeNotReady", message);
        }
        self.note(&key.name, |sign| sign.was_ready = ready);
        // Whoever led before may have died before it told them.
        if !ready && !sign.told_pods && ready_condition(&latest).is_some() {
            self.mark_pods(&key.name, now).await?;
        }
        self.note(&key.name, |sign| sign.told_pods = !ready);
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    fn sign_of_life(&self, node: &Node, now: Timestamp) -> Sign {
        let name = node.name_any();
        let lease = self.leases.get(LEASES, &name);
        let renewed = lease.and_then(|lease| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone()));
        let ready = ready_condition(node);
        let heartbeat = ready.and_then(|ready| ready.last_heartbeat_time.clone());
        let mut signs = self.signs.lock();
        let sign = signs.entry(name).or_insert_with(|| Sign {
            renewed: renewed.clone(),
            heartbeat: heartbeat.clone(),
            // A node that never reported is silent since it was made; one that did gets its time again after a restart.
            seen: match (ready, &node.metadata.creation_timestamp) {
                (None, Some(created)) => created.0,
                _ => now,
            },
            was_ready: is_ready(node),
            told_pods: false,
        });
        if sign.renewed != renewed || sign.heartbeat != heartbeat {
            let (was_ready, told_pods) = (sign.was_ready || is_ready(node), sign.told_pods);
            *sign = Sign { renewed, heartbeat, seen: now, was_ready, told_pods };
        }
        sign.clone()
    }

    fn note(&self, node: &str, change: impl FnOnce(&mut Sign)) {
        if let Some(sign) = self.signs.lock().get_mut(node) {
            change(sign);
        }
    }

    /// Pods on a node that is not ready are not ready: Services must not send them traffic.
    async fn mark_pods(&self, node: &str, now: Timestamp) -> Result<()> {
        let ready: Vec<Arc<Pod>> =
            self.pods.indexed(BY_NODE, node).into_iter().filter(|pod| pods::is_ready(pod)).collect();
        all_at_once(ready.iter().map(|pod| self.mark_pod(pod, now))).await
    }

    async fn mark_pod(&self, pod: &Pod, now: Timestamp) -> Result<()> {
        let mut conditions = pod.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        for condition in conditions.iter_mut().filter(|condition| condition.type_ == "Ready") {
            condition.status = "False".to_owned();
            condition.last_transition_time = Some(whole_second(now));
        }
        let api = self.ctx.api::<Pod>(&pod.namespace().unwrap_or_default());
        let patch = json!({
            "metadata": {"resourceVersion": pod.resource_version()},
            "status": {"conditions": conditions},
        });
        unless_gone(api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("marking pod {} not ready", Key::of(pod)))?;
        self.events.event(pod, EventType::Warning, "NodeNotReady", "Node is not ready");
        Ok(())
    }
}
