//! Pods leave nodes whose NoExecute taints they do not tolerate, or no longer.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;
mod waiting;

pub(crate) use plan::Fate;
pub(crate) use waiting::Waiting;

use crate::{
    common::{
        Context, Result,
        failure::{Doing, unless_gone},
        pods,
        updates::whole_second,
    },
    node_lifecycle::{BY_NODE, index_by_node},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PodCondition, Taint};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        ResourceExt,
        api::{DeleteParams, Patch, PatchParams, Preconditions},
    },
    pod::Pod,
};
use plan::fate;
use serde_json::json;
use std::{sync::Arc, time::Duration};

const WORKERS: usize = 8;

struct Controller {
    ctx: Context,
    events: EventRecorder,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    waiting: Arc<Waiting>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component("taint-eviction-controller"),
        nodes: ctx.informers.all(),
        pods: ctx.informers.all(),
        waiting: Arc::default(),
        ctx: ctx.clone(),
    });
    index_by_node(&controller.pods);
    controller.nodes.synced().await;
    controller.pods.synced().await;
    let queue: WorkQueue<Key> = WorkQueue::new("taint-eviction-controller");
    controller.pods.handle({
        let (queue, nodes, waiting) = (queue.clone(), controller.nodes.clone(), controller.waiting.clone());
        move |change| {
            let pod = change.object();
            // Most pods are on nodes that evict no one.
            let evicts = |node: &Arc<Node>| evicting(node).next().is_some();
            if matches!(change, Change::Deleted(_)) {
                waiting.end(&Key::of(pod.as_ref()), pod.metadata.uid.as_deref());
            } else if nodes.get("", pods::node(pod)).as_ref().is_some_and(evicts) {
                queue.add(Key::of(pod.as_ref()));
            }
        }
    });
    controller.nodes.handle({
        let (queue, pods) = (queue.clone(), controller.pods.clone());
        move |change| {
            let node = change.object();
            let before: Vec<Taint> = change.old().map(|old| evicting(old).cloned().collect()).unwrap_or_default();
            let after: Vec<Taint> = evicting(node).cloned().collect();
            if before != after {
                let on_node = pods.indexed(BY_NODE, &node.name_any());
                on_node.iter().for_each(|pod| queue.add(Key::of(pod.as_ref())));
            }
        }
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints.filter(|taint| taint.effect == "NoExecute")
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(pod) = self.pods.by_key(&key) else { return Ok(Outcome::Done) };
        let Some(node) = self.nodes.get("", pods::node(&pod)) else { return Ok(Outcome::Done) };
        let (now, uid) = (Timestamp::now(), pod.metadata.uid.as_deref());
        let taints: Vec<&Taint> = evicting(&node).collect();
        let seen = self.waiting.since(&key, uid, now);
        match fate(&pod, &taints, seen, now) {
            Fate::LeaveIn(wait) => {
                self.waiting.begin(&key, uid, seen);
                return Ok(Outcome::After(wait.max(Duration::from_millis(10))));
            }
            Fate::Stay => {
                if self.waiting.end(&key, uid) && pods::is_active(&pod) {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.events.event(pod.as_ref(), EventType::Normal, "TaintManagerEviction", message);
                }
            }
            Fate::Leave => {
                let message = format!("Marking for deletion Pod {key}");
                self.events.event(pod.as_ref(), EventType::Normal, "TaintManagerEviction", message);
                let why = "Taint manager: deleting due to NoExecute taint";
                evict(&self.ctx, &pod, "DeletionByTaintManager", why, now).await?;
                self.waiting.end(&key, uid);
            }
        }
        Ok(Outcome::Done)
    }
}

/// Ends a pod, with a condition that says why.
pub(crate) async fn evict(ctx: &Context, pod: &Pod, reason: &str, why: &str, now: Timestamp) -> Result<()> {
    let key = Key::of(pod);
    let api = ctx.api::<Pod>(&key.namespace);
    let conditions = disrupted(pod, reason, why, now);
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": conditions}});
    unless_gone(api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
        .doing(format_args!("marking pod {key} for eviction"))?;
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    unless_gone(api.delete(&key.name, &params).await).doing(format_args!("evicting pod {key}"))?;
    Ok(())
}

/// A pod's conditions with the one that says who ends it.
pub(crate) fn disrupted(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Vec<PodCondition> {
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let since = conditions.iter().find(|known| known.type_ == "DisruptionTarget" && known.status == "True");
    let since = since.and_then(|known| known.last_transition_time.clone());
    conditions.retain(|known| known.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or_else(|| whole_second(now))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    });
    conditions
}
