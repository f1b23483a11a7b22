//! PodDisruptionBudgets: how many pods may be evicted now. The eviction itself asks the budget's status, in the server.
//!
//! ```text
//! pods selected ─▶ their controllers' scales ─▶ desired ─┐
//!       └─ ready, not about to go ─▶ healthy ────────────┴─▶ disruptionsAllowed = healthy - desired
//! eviction: disruptionsAllowed - 1, the pod's name in disruptedPods, until it is seen to go
//! ```

mod plan;
#[cfg(test)]
mod plays;
mod scale;
mod stale;
#[cfg(test)]
mod tests;

use crate::{
    common::{
        Context, Result,
        failure::{Doing, unless_gone},
        queue_changes, selectors,
    },
    inventory::Inventory,
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::ReplicationController,
    policy::v1::PodDisruptionBudget,
};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{ResourceExt, api::PostParams},
    pod::Pod,
};
use plan::{Expected, Observed, needs_scale, plan};
use std::sync::Arc;

const COMPONENT: &str = "controllermanager";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    inventory: Inventory,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    controllers: Informer<ReplicationController>,
    replica_sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
    sets: Informer<StatefulSet>,
}

pub(crate) async fn run(ctx: Context, inventory: Inventory) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        inventory,
        budgets: ctx.informers.all(),
        pods: ctx.informers.all(),
        controllers: ctx.informers.all(),
        replica_sets: ctx.informers.all(),
        deployments: ctx.informers.all(),
        sets: ctx.informers.all(),
        ctx: ctx.clone(),
    });
    controller.budgets.synced().await;
    controller.pods.synced().await;
    controller.controllers.synced().await;
    controller.replica_sets.synced().await;
    controller.deployments.synced().await;
    controller.sets.synced().await;
    let queue = WorkQueue::new("disruption-controller");
    queue_changes(&controller.budgets, &queue);
    controller.pods.handle({
        let (queue, controller) = (queue.clone(), controller.clone());
        move |change| controller.queue_budgets(change, &queue)
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    tokio::join!(ctx.serve(queue, 1, reconcile), stale::run(ctx.clone()));
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = selectors::compile(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
    selector.is_some_and(|selector| selector.matches(&pod.metadata.labels))
}

impl Controller {
    fn queue_budgets(&self, change: &Change<Pod>, queue: &WorkQueue<Key>) {
        let pod = change.object();
        let namespace = pod.namespace().unwrap_or_default();
        let budgets = self.budgets.list_in(&namespace);
        let covering: Vec<_> = budgets.iter().filter(|budget| covers(budget, pod)).collect();
        if let [chosen, _, ..] = covering.as_slice() {
            let message = format!(
                "Pod {namespace:?}/{:?} matches multiple PodDisruptionBudgets.  Chose {:?} arbitrarily.",
                pod.name_any(),
                chosen.name_any()
            );
            self.events.event(pod.as_ref(), EventType::Warning, "MultiplePodDisruptionBudgets", message);
        }
        let before = change.old().filter(|old| old.metadata.labels != pod.metadata.labels);
        let left = budgets.iter().filter(|budget| before.is_some_and(|old| covers(budget, old)));
        covering.into_iter().chain(left).for_each(|budget| queue.add(Key::of(budget.as_ref())));
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(budget) = self.budgets.by_key(&key) else { return Ok(Outcome::Done) };
        let pods = self.pods.select_in(&key.namespace, |pod| covers(&budget, pod));
        if pods.is_empty() {
            self.events.event(budget.as_ref(), EventType::Normal, "NoPods", "No matching pods found");
        }
        let expected = match needs_scale(&budget) {
            true => self.expected(&key.namespace, &pods).await,
            false => Ok(Expected { pods: pods.len() as i32, ..Expected::default() }),
        };
        self.tell(&budget, &expected);
        let unknown = expected.is_err();
        let observed = Observed { budget: budget.clone(), pods, expected };
        let plan = plan(Timestamp::now(), &observed);
        for pod in observed.pods.iter().filter(|pod| plan.not_deleted.contains(&pod.name_any())) {
            let message = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
            self.events.event(pod.as_ref(), EventType::Warning, "NotDeleted", message);
        }
        if let Some(status) = plan.status {
            let updated = PodDisruptionBudget { status: Some(status), ..budget.as_ref().clone() };
            let api = self.ctx.api::<PodDisruptionBudget>(&key.namespace);
            let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
            written.doing(format_args!("updating the status of {key}"))?;
        }
        // The controllers may only not be known yet.
        Ok(if unknown { Outcome::Again } else { plan.look_again.map_or(Outcome::Done, Outcome::After) })
    }

    fn tell(&self, budget: &PodDisruptionBudget, expected: &Result<Expected, String>) {
        match expected {
            Ok(expected) if expected.unmanaged.is_empty() => {}
            Ok(_) => {
                let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                let selector = serde_json::to_string(&selector).unwrap_or_default();
                let message = format!(
                    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of \
                     the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please \
                     set \".spec.minAvailable\" field of the PDB to an integer value."
                );
                self.events.event(budget, EventType::Warning, "UnmanagedPods", message);
            }
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.events.event(budget, EventType::Warning, "CalculateExpectedPodCountFailed", message);
            }
        }
    }
}
