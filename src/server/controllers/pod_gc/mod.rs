//! Pods that no node will ever finish: bound to a node that is gone or out of service, or deleted before they were bound;
//! and the oldest of too many that have ended.

#[cfg(test)]
mod plays;

use crate::{
    common::{
        Context, Result,
        failure::{Doing, unless_gone},
        pods::{self, is_finished},
    },
    node_lifecycle::{BY_NODE, index_by_node, is_ready},
    taint_eviction::disrupted,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use mk8s_client::{
    Change, Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{DeleteParams, Patch, PatchParams, Preconditions},
    },
    pod::Pod,
};
use serde_json::json;
use std::{fmt, sync::Arc, time::Duration};

const FINISHED: &str = "finished";

/// A node that is missing may be about to register.
const NODE_QUARANTINE: Duration = Duration::from_secs(40);

/// Pods that end together are counted together.
const GATHER: Duration = Duration::from_secs(1);

/// Who has switched a node off says so: its pods will never be ended by it.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Work {
    Pod(Key),
    /// Count those that have ended.
    Ended,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Pod(key) => write!(f, "pod {key}"),
            Work::Ended => f.write_str("pods that have ended"),
        }
    }
}

struct Controller {
    ctx: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    queue: WorkQueue<Work>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        nodes: ctx.informers.all(),
        pods: ctx.informers.all(),
        queue: WorkQueue::new("pod-garbage-collector"),
        ctx: ctx.clone(),
    });
    index_by_node(&controller.pods);
    controller.pods.index(FINISHED, |pod| is_finished(pod).then(String::new).into_iter().collect());
    controller.nodes.synced().await;
    controller.pods.synced().await;
    controller.pods.handle({
        let controller = controller.clone();
        move |change| {
            if !matches!(change, Change::Deleted(_)) {
                controller.pod_changed(change.object());
            }
        }
    });
    controller.nodes.handle({
        let controller = controller.clone();
        move |change| controller.node_changed(change)
    });
    let queue = controller.queue.clone();
    let reconcile = move |work| {
        let controller = controller.clone();
        async move {
            match work {
                Work::Pod(key) => controller.pod(&key).await?,
                Work::Ended => controller.cut_finished().await?,
            }
            Ok(Outcome::Done)
        }
    };
    ctx.serve(queue, 4, reconcile).await;
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether a node is off for good, and says so.
fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    !is_ready(node) && taints.into_iter().flatten().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Evicted pods before others, old ones before young ones.
fn sort_for_cutting(pods: &mut [Arc<Pod>]) {
    let is_evicted = |pod: &Pod| {
        let status = pod.status.as_ref();
        pods::phase(pod) == "Failed" && status.and_then(|status| status.reason.as_deref()) == Some("Evicted")
    };
    pods.sort_by_cached_key(|pod| (!is_evicted(pod), pod.metadata.creation_timestamp.clone(), pod.name_any()));
}

impl Controller {
    fn pod_changed(&self, pod: &Pod) {
        if is_finished(pod) {
            self.queue.add_after(Work::Ended, GATHER);
        }
        let work = Work::Pod(Key::of(pod));
        match pods::node(pod) {
            "" if is_going(pod) => self.queue.add(work),
            "" => {}
            node => match self.nodes.get("", node) {
                None => self.queue.add_after(work, NODE_QUARANTINE),
                Some(node) if is_going(pod) && is_out_of_service(&node) => self.queue.add(work),
                Some(_) => {}
            },
        }
    }

    fn node_changed(&self, change: &Change<Node>) {
        let node = change.object();
        let on_node = || self.pods.indexed(BY_NODE, &node.name_any()).into_iter();
        if matches!(change, Change::Deleted(_)) {
            on_node().for_each(|pod| self.queue.add_after(Work::Pod(Key::of(pod.as_ref())), NODE_QUARANTINE));
        } else if is_out_of_service(node) {
            on_node().filter(|pod| is_going(pod)).for_each(|pod| self.queue.add(Work::Pod(Key::of(pod.as_ref()))));
        }
    }

    async fn pod(&self, key: &Key) -> Result<()> {
        let Some(pod) = self.pods.by_key(key) else { return Ok(()) };
        let name = pods::node(&pod);
        if name.is_empty() {
            return if is_going(&pod) { self.end(&pod, None).await } else { Ok(()) };
        }
        if let Some(node) = self.nodes.get("", name) {
            let lost = is_going(&pod) && is_out_of_service(&node);
            return if lost { self.end(&pod, None).await } else { Ok(()) };
        }
        let nodes: Api<Node> = Api::all(self.ctx.client.clone());
        let live = nodes.get_opt(name).await.doing(format_args!("looking for node {name}"))?;
        match live {
            Some(_) => Ok(()),
            None => self.end(&pod, Some("PodGC: node no longer exists")).await,
        }
    }

    /// Deletes the oldest ended pods beyond the threshold.
    async fn cut_finished(&self) -> Result<()> {
        let threshold = self.ctx.options.terminated_pod_gc_threshold;
        let mut finished = self.pods.indexed(FINISHED, "");
        if threshold == 0 || finished.len() <= threshold {
            return Ok(());
        }
        sort_for_cutting(&mut finished);
        let surplus = finished.len() - threshold;
        for pod in finished.iter().take(surplus).filter(|pod| !is_going(pod)) {
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
