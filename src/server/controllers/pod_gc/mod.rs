//! Pods that no node will ever finish: bound to a node that is gone, or deleted before they were bound; and the oldest of
//! too many that have ended.

use crate::{
    common::{
        Context, Result,
        failure::{Doing, unless_gone},
        pods::{self, is_finished},
    },
    node_lifecycle::{BY_NODE, index_by_node},
    taint_eviction::disrupted,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use mk8s_client::{
    Change, Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{DeleteParams, Patch, PatchParams, Preconditions},
    },
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

const FINISHED: &str = "finished";

/// A node that is missing may be about to register.
const NODE_QUARANTINE: Duration = Duration::from_secs(40);

struct Controller {
    ctx: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller { nodes: ctx.informers.all(), pods: ctx.informers.all(), ctx: ctx.clone() });
    index_by_node(&controller.pods);
    controller.pods.index(FINISHED, |pod| is_finished(pod).then(String::new).into_iter().collect());
    controller.nodes.synced().await;
    controller.pods.synced().await;
    let queue: WorkQueue<Key> = WorkQueue::new("pod-garbage-collector");
    controller.pods.handle({
        let (queue, nodes) = (queue.clone(), controller.nodes.clone());
        move |change| {
            let pod = change.object();
            let key = Key::of(pod.as_ref());
            match pods::node(pod) {
                _ if matches!(change, Change::Deleted(_)) => {}
                "" if pod.metadata.deletion_timestamp.is_some() => queue.add(key),
                "" => {}
                node if nodes.get("", node).is_none() => queue.add_after(key, NODE_QUARANTINE),
                _ if is_finished(pod) => queue.add(key),
                _ => {}
            }
        }
    });
    controller.nodes.handle({
        let (queue, pods) = (queue.clone(), controller.pods.clone());
        move |change| {
            if let Change::Deleted(node) = change {
                let on_node = pods.indexed(BY_NODE, &node.name_any());
                on_node.iter().for_each(|pod| queue.add_after(Key::of(pod.as_ref()), NODE_QUARANTINE));
            }
        }
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, 4, reconcile).await;
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(pod) = self.pods.by_key(&key) else { return Ok(Outcome::Done) };
        let node = pods::node(&pod);
        if node.is_empty() && pod.metadata.deletion_timestamp.is_some() {
            self.end(&pod, None).await?;
        } else if !node.is_empty() && self.nodes.get("", node).is_none() {
            let nodes: Api<Node> = Api::all(self.ctx.client.clone());
            let live = nodes.get_opt(node).await.doing(format_args!("looking for node {node}"))?;
            if live.is_none() {
                self.end(&pod, Some("PodGC: node no longer exists")).await?;
            }
        } else if is_finished(&pod) {
            self.cut_finished().await?;
        }
        Ok(Outcome::Done)
    }

    /// Deletes the oldest ended pods beyond the threshold.
    async fn cut_finished(&self) -> Result<()> {
        let threshold = self.ctx.options.terminated_pod_gc_threshold;
        let mut finished = self.pods.indexed(FINISHED, "");
        if threshold == 0 || finished.len() <= threshold {
            return Ok(());
        }
        finished.sort_by_cached_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.name_any()));
        let surplus = finished.len() - threshold;
        for pod in finished.iter().take(surplus).filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            self.end(pod, None).await?;
        }
        Ok(())
    }

    /// Deletes a pod at once; `why` is told to who waits for its end.
    async fn end(&self, pod: &Pod, why: Option<&str>) -> Result<()> {
        let key = Key::of(pod);
        let api = self.ctx.api::<Pod>(&key.namespace);
        // A pod that ends without its node must say so, or its owner would never count it.
        if !is_finished(pod) && !pods::node(pod).is_empty() {
            let mut status = json!({"phase": "Failed"});
            if let Some(why) = why {
                status["conditions"] = json!(disrupted(pod, "DeletionByPodGC", why, Timestamp::now()));
            }
            let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
            unless_gone(api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
                .doing(format_args!("ending pod {key}"))?;
        }
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        unless_gone(api.delete(&key.name, &params).await).doing(format_args!("deleting pod {key}"))?;
        Ok(())
    }
}
