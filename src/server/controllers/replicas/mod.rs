//! ReplicaSets and ReplicationControllers: as many pods of a template as asked for.
//!
//! One controller over both kinds; they differ in their types and in nothing else.

mod kinds;
mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
pub(crate) mod rounds;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Failure, Result,
    batch::{all_at_once, slow_start},
    claims::{self, controller_of},
    failure::{Doing, unless_gone},
    own_writes::OwnWrites,
    owners,
    pods::{self, PodWriter},
    queue_changes,
};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ReplicationController};
use kinds::ReplicaKind;
use mk8s_client::{
    EventRecorder, Informer, Key, Outcome, WorkQueue,
    kube::{ResourceExt, api::PostParams},
    pod::Pod,
};
use plan::{Action, Observed, plan};
use std::{collections::HashMap, sync::Arc};

const WORKERS: usize = 5;

pub(crate) async fn run_replica_sets(ctx: Context) {
    run::<ReplicaSet>(ctx).await;
}

pub(crate) async fn run_replication_controllers(ctx: Context) {
    run::<ReplicationController>(ctx).await;
}

struct Controller<K> {
    ctx: Context,
    events: EventRecorder,
    sets: Informer<K>,
    pods: Informer<Pod>,
    writes: OwnWrites<Pod>,
}

async fn run<K: ReplicaKind>(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(K::COMPONENT),
        sets: ctx.informers.all::<K>(),
        pods: ctx.informers.all::<Pod>(),
        writes: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    let queue = WorkQueue::new(K::COMPONENT);
    controller.sets.synced().await;
    controller.pods.synced().await;
    queue_changes(&controller.sets, &queue);
    controller.pods.handle({
        let (queue, sets) = (queue.clone(), controller.sets.clone());
        move |change| {
            owners::queue(change, &K::kind(&()), &queue);
            let selects = |set: &K, labels: &_| set.selector().is_some_and(|selector| selector.matches(labels));
            owners::queue_adopters(change, &sets, selects, &queue);
        }
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

impl<K: ReplicaKind> Controller<K> {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(set) = self.sets.by_key(&key) else {
            self.writes.forget(&key);
            return Ok(Outcome::Done);
        };
        let now = Timestamp::now();
        let observed = self.observe(&key, &set);
        let plan = plan(now, &observed);
        let mut counts = plan.counts;
        let result = self.act(&key, &set, &observed, &plan.actions).await;
        if let Err(failure) = &result
            && !failure.is_conflict()
        {
            counts.fail(observed.active_surplus(), failure.message());
        }
        let updated = set.with_counts(&counts, now);
        if let Some(updated) = updated {
            let api = self.ctx.api::<K>(&key.namespace);
            let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
            // What failed before is the better story to tell.
            if let Err(failure) = written.doing(format_args!("updating the status of {key}")) {
                return Err(result.err().unwrap_or(failure));
            }
        }
        result?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    fn observe(&self, key: &Key, set: &Arc<K>) -> Observed<K> {
        let uid = set.uid().unwrap_or_default();
        let pods = self.writes.read(key, &self.pods, || {
            self.pods.select_in(&key.namespace, |pod| match controller_of(&pod.metadata) {
                Some(owner) => owner.uid == uid,
                None => true,
            })
        });
        Observed { set: set.clone(), pods, on_node: self.pods_of_siblings(key, set) }
    }

    /// Per node the active pods of all sets that have the same owner: a crowded node loses pods first.
    fn pods_of_siblings(&self, key: &Key, set: &K) -> HashMap<String, usize> {
        let mut on_node = HashMap::new();
        let uids: Vec<String> = match controller_of(set.meta()) {
            Some(owner) => self.sets.owned_by(&owner.uid).iter().filter_map(|sibling| sibling.uid()).collect(),
            None => set.uid().into_iter().collect(),
        };
        for pod in uids.iter().flat_map(|uid| self.pods.owned_by(uid)) {
            if pods::is_active(&pod) && pod.metadata.namespace.as_deref() == Some(&key.namespace) {
                *on_node.entry(pods::node(&pod).to_owned()).or_default() += 1;
            }
        }
        on_node
    }

    async fn act(&self, key: &Key, set: &K, observed: &Observed<K>, actions: &[Action]) -> Result<()> {
        let writer = PodWriter { ctx: &self.ctx, events: &self.events, writes: &self.writes, owner: set, key };
        let named = |name: &String| observed.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        for action in actions {
            match action {
                Action::Release { pod } => {
                    if let Some(pod) = named(pod) {
                        claims::release(&self.ctx, set, pod.as_ref()).await?;
                    }
                }
                Action::Adopt { pod } => {
                    if let Some(pod) = named(pod)
                        && let Some(adopted) = claims::adopt(&self.ctx, set, pod.as_ref()).await?
                    {
                        self.writes.wrote(key, adopted);
                    }
                }
                Action::Create { count } => {
                    let Some(template) = set.template() else {
                        return Err(Failure::Other(format!("{key} has no pod template")));
                    };
                    let pod = pods::from_template(template, &key.name, claims::controller_ref(set));
                    let batched = slow_start(*count, |_| writer.create(&pod)).await;
                    if let Some(failure) = batched.error {
                        return Err(failure);
                    }
                }
                Action::Delete { pods } => {
                    all_at_once(pods.iter().filter_map(named).map(|pod| writer.delete(pod))).await?;
                }
            }
        }
        Ok(())
    }
}
