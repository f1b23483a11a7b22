//! Nodes are told how long a kubelet may take what it knows of Secrets and ConfigMaps for true: the longer, the more nodes
//! there are to ask.
//!
//! What Kubernetes' `pkg/controller/ttl` does. A node hears of another time when it is next looked at for a change of its
//! own.

#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    queue_changes,
};
use k8s_openapi::api::core::v1::Node;
use mk8s_client::{
    Change, Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{Patch, PatchParams},
    },
};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

pub(crate) async fn run(ctx: Context) {
    let nodes: Informer<Node> = ctx.informers.all();
    nodes.synced().await;
    let size = Arc::new(Mutex::new(Size::default()));
    nodes.handle({
        let size = size.clone();
        move |change| match change {
            Change::Added(_) => size.lock().grow(),
            Change::Deleted(_) => size.lock().shrink(),
            Change::Updated { .. } => {}
        }
    });
    let queue = WorkQueue::new("ttlcontroller");
    queue_changes(&nodes, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, nodes, size) = (ctx.clone(), nodes.clone(), size.clone());
            async move { tell(&ctx, &nodes, &size, key).await }
        }
    };
    ctx.serve(queue, 5, reconcile).await;
}

async fn tell(ctx: &Context, nodes: &Informer<Node>, size: &Mutex<Size>, key: Key) -> Result<Outcome> {
    let Some(node) = nodes.by_key(&key) else { return Ok(Outcome::Done) };
    let seconds = size.lock().ttl_seconds();
    let told = node.annotations().get(ANNOTATION).and_then(|told| told.parse::<u32>().ok());
    if told == Some(seconds) {
        return Ok(Outcome::Done);
    }
    let change = json!({"metadata": {"annotations": {ANNOTATION: seconds.to_string()}}});
    let api: Api<Node> = Api::all(ctx.client.clone());
    unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(change)).await)
        .doing(format_args!("telling node {} how long it may keep what it knows", key.name))?;
    Ok(Outcome::Done)
}

/// From and up to how many nodes a time is told. They overlap, so that a node that comes and goes changes nothing.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// How many nodes there are, and what that means for each.
#[derive(Debug, Default)]
struct Size {
    nodes: usize,
    step: usize,
}

impl Size {
    fn grow(&mut self) {
        self.nodes += 1;
        if self.nodes > STEPS[self.step].1 {
            self.step += 1;
        }
    }

    fn shrink(&mut self) {
        self.nodes = self.nodes.saturating_sub(1);
        if self.nodes < STEPS[self.step].0 {
            self.step -= 1;
        }
    }

    fn ttl_seconds(&self) -> u32 {
        STEPS[self.step].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_follows_the_size_late() {
        let mut size = Size::default();
        let told = |size: &mut Size, nodes: usize| {
            while size.nodes != nodes {
                if size.nodes < nodes { size.grow() } else { size.shrink() }
            }
            size.ttl_seconds()
        };
        for (nodes, expected) in [
            (100, 0),
            (101, 15),
            (90, 15),
            (89, 0),
            (500, 15),
            (501, 30),
            (2001, 300),
            (1800, 300),
            (1799, 60),
            (5000, 300),
            (0, 0),
        ] {
            assert_eq!(told(&mut size, nodes), expected, "{nodes} nodes");
        }
    }
}
