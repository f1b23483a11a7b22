//! Each node gets a part of the cluster's range for its pods.

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
    Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        Api, ResourceExt,
        api::{Patch, PatchParams},
    },
};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Given and perhaps not seen in the informer yet, by node.
type Given = Arc<Mutex<HashMap<String, Ipv4Net>>>;

pub(crate) async fn run(ctx: Context) {
    let nodes: Informer<Node> = ctx.informers.all();
    nodes.synced().await;
    let queue = WorkQueue::new("node-ipam");
    queue_changes(&nodes, &queue);
    let given = Given::default();
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, nodes, given) = (ctx.clone(), nodes.clone(), given.clone());
            async move { assign(&ctx, &nodes, &given, key).await }
        }
    };
    // One worker: two would find the same part free.
    ctx.serve(queue, 1, reconcile).await;
}

async fn assign(ctx: &Context, nodes: &Informer<Node>, given: &Given, key: Key) -> Result<Outcome> {
    let Some(node) = nodes.get("", &key.name) else {
        given.lock().remove(&key.name);
        return Ok(Outcome::Done);
    };
    if !ranges(&node).is_empty() {
        given.lock().remove(&key.name);
        return Ok(Outcome::Done);
    }
    let mut taken: HashSet<Ipv4Net> = nodes.list().iter().flat_map(|node| ranges(node)).collect();
    taken.extend(given.lock().values());
    let known = given.lock().get(&key.name).copied();
    let Some(range) = known.or_else(|| free(ctx.options.cluster_cidr, ctx.options.node_cidr_mask, &taken)) else {
        let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
        ctx.events.with_component("cidrAllocator").event(node.as_ref(), EventType::Normal, "CIDRNotAvailable", message);
        return Ok(Outcome::Again);
    };
    given.lock().insert(key.name.clone(), range);
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

/// The lowest part that overlaps nothing that is taken.
fn free(cluster: Ipv4Net, mask: u8, taken: &HashSet<Ipv4Net>) -> Option<Ipv4Net> {
    // A mask that does not fit yields nothing.
    let mut parts = cluster.subnets(mask).ok()?;
    let overlaps = |part: &Ipv4Net, range: &Ipv4Net| part.contains(range) || range.contains(part);
    parts.find(|part| !taken.contains(part) && !taken.iter().any(|range| overlaps(part, range)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> HashSet<Ipv4Net> {
        list.iter().map(|net| net.parse().expect("a network")).collect()
    }

    #[test]
    fn the_lowest_free_part_is_given() {
        let cluster: Ipv4Net = "10.42.0.0/16".parse().expect("a network");
        let table: &[(&[&str], u8, Option<&str>)] = &[
            (&[], 24, Some("10.42.0.0/24")),
            (&["10.42.0.0/24", "10.42.2.0/24"], 24, Some("10.42.1.0/24")),
            (&["10.42.0.0/23"], 24, Some("10.42.2.0/24")),
            (&["10.42.0.128/25"], 24, Some("10.42.1.0/24")),
            (&["10.42.0.0/16"], 24, None),
            (&[], 8, None),
        ];
        for (taken, mask, expected) in table {
            let expected = expected.map(|net| net.parse().expect("a network"));
            assert_eq!(free(cluster, *mask, &nets(taken)), expected, "{taken:?}");
        }
    }
}
