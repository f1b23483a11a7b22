//! Each node gets a part of the cluster's range for its pods.

mod parts;
#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    queue_changes,
};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use mk8s_client::{
    Change, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        Api, ResourceExt,
        api::{Patch, PatchParams},
    },
};
use parking_lot::Mutex;
use parts::Parts;
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn run(ctx: Context) {
    let nodes: Informer<Node> = ctx.informers.all();
    nodes.synced().await;
    let parts = Arc::new(Mutex::new(Parts::new(ctx.options.cluster_cidr, ctx.options.node_cidr_mask)));
    // Before the queue hears of it: what a node has is taken when another one asks.
    nodes.handle({
        let parts = parts.clone();
        move |change| note(&mut parts.lock(), change)
    });
    let queue = WorkQueue::new("node-ipam");
    queue_changes(&nodes, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, nodes, parts) = (ctx.clone(), nodes.clone(), parts.clone());
            async move { assign(&ctx, &nodes, &parts, key).await }
        }
    };
    // One worker: two would find the same part free.
    ctx.serve(queue, 1, reconcile).await;
}

fn note(parts: &mut Parts, change: &Change<Node>) {
    let node = change.object();
    match change {
        Change::Deleted(_) => parts.release(&node.name_any()),
        Change::Added(_) | Change::Updated { .. } => {
            let ranges = ranges(node);
            // One that has none may have been given one that is not seen yet.
            if !ranges.is_empty() {
                parts.take(&node.name_any(), ranges);
            }
        }
    }
}

async fn assign(ctx: &Context, nodes: &Informer<Node>, parts: &Mutex<Parts>, key: Key) -> Result<Outcome> {
    let Some(node) = nodes.get("", &key.name) else {
        // It may have gone while it was given one.
        parts.lock().release(&key.name);
        return Ok(Outcome::Done);
    };
    if !ranges(&node).is_empty() {
        return Ok(Outcome::Done);
    }
    let Some(range) = parts.lock().give(&key.name) else {
        let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
        ctx.events.with_component("cidrAllocator").event(node.as_ref(), EventType::Normal, "CIDRNotAvailable", message);
        return Ok(Outcome::Again);
    };
    let patch = json!({
        "metadata": {"resourceVersion": node.resource_version()},
        "spec": {"podCIDR": range, "podCIDRs": [range]},
    });
    let api: Api<Node> = Api::all(ctx.client.clone());
    unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
        .doing(format_args!("giving node {} the pod range {range}", key.name))?;
    Ok(Outcome::Done)
}

fn ranges(node: &Node) -> Vec<Ipv4Net> {
    let Some(spec) = node.spec.as_ref() else { return Vec::new() };
    let listed = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    listed.filter_map(|range| range.parse().ok()).collect()
}
