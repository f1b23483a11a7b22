//! DaemonSets: one pod on each node that fits.

mod failures;
mod fit;
mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

pub(crate) use fit::term_matches;

use crate::common::{
    Context, Result,
    batch::{all_at_once, slow_start},
    claims::{self, controller_of},
    failure::{Doing, unless_gone},
    history::{self, POD_HASH, Written},
    own_writes::OwnWrites,
    owners,
    pods::PodWriter,
    queue_changes,
};
use failures::Failures;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
    core::v1::Node,
};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{ResourceExt, api::PostParams},
    pod::Pod,
};
use parking_lot::Mutex;
use plan::{Action, Observed, plan};
use std::sync::Arc;

const COMPONENT: &str = "daemonset-controller";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    own_sets: OwnWrites<DaemonSet>,
    own_pods: OwnWrites<Pod>,
    own_revisions: OwnWrites<ControllerRevision>,
    failures: Mutex<Failures>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        sets: ctx.informers.all(),
        pods: ctx.informers.all(),
        nodes: ctx.informers.all(),
        revisions: ctx.informers.all(),
        own_sets: OwnWrites::default(),
        own_pods: OwnWrites::default(),
        own_revisions: OwnWrites::default(),
        failures: Mutex::default(),
        ctx: ctx.clone(),
    });
    controller.sets.synced().await;
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.revisions.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    queue_changes(&controller.sets, &queue);
    controller.pods.handle({
        let (queue, sets) = (queue.clone(), controller.sets.clone());
        move |change| {
            owners::queue(change, "DaemonSet", &queue);
            let selects =
                |set: &DaemonSet, labels: &_| owners::matches(set.spec.as_ref().map(|spec| &spec.selector), labels);
            owners::queue_adopters(change, &sets, selects, &queue);
        }
    });
    controller.nodes.handle({
        let (queue, sets) = (queue.clone(), controller.sets.clone());
        move |change| {
            if let Change::Updated { old, new } = change
                && fit::same_for_pods(old, new)
            {
                return;
            }
            sets.list().iter().for_each(|set| queue.add(Key::of(set.as_ref())));
        }
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, 2, reconcile).await;
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let live = self.sets.by_key(&key);
        let Some(set) = live.and_then(|_| self.own_sets.one(&key, &self.sets)) else {
            self.own_sets.forget(&key);
            self.own_pods.forget(&key);
            self.own_revisions.forget(&key);
            self.failures.lock().forget(&key);
            return Ok(Outcome::Done);
        };
        let Some(spec) = set.spec.as_ref() else { return Ok(Outcome::Done) };
        if spec.selector == Default::default() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.events.event(set.as_ref(), EventType::Warning, "SelectingAll", message);
            return Ok(Outcome::Done);
        }
        let uid = set.uid().unwrap_or_default();
        let revisions = self.own_revisions.read(&key, &self.revisions, || self.revisions.owned_by(&uid));
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let update = history::update(set.as_ref(), &spec.template, &revisions, POD_HASH, collisions);
        if set.metadata.deletion_timestamp.is_none() {
            match history::write(&self.ctx, set.as_ref(), &update).await? {
                Some(Written::Done(revision)) => self.own_revisions.wrote(&key, *revision),
                Some(Written::Collision) => {
                    let mut status = set.status.clone().unwrap_or_default();
                    status.collision_count = Some(collisions.unwrap_or_default() + 1);
                    self.write_status(&key, &set, status).await?;
                    return Ok(Outcome::Again);
                }
                None => {}
            }
        }
        let pods = self.own_pods.read(&key, &self.pods, || {
            self.pods.select_in(&key.namespace, |pod| match controller_of(&pod.metadata) {
                Some(owner) => owner.uid == uid,
                None => true,
            })
        });
        let hash = history::hash_of(update.revision());
        let now = Timestamp::now();
        let paused = self.failures.lock().paused(&key, now);
        let observed = Observed { set: set.clone(), pods, nodes: self.nodes.list(), hash, paused };
        let plan = plan(now, &observed);
        plan.failed_on.iter().for_each(|node| self.failures.lock().failed(&key, node, now));
        for (kind, reason, message) in &plan.events {
            self.events.event(set.as_ref(), *kind, reason, message.clone());
        }
        let mut result = Ok(());
        for action in &plan.actions {
            result = self.act(&key, &observed, action).await;
            if result.is_err() {
                break;
            }
        }
        if let Some(status) = plan.status {
            self.write_status(&key, &set, status).await?;
        }
        result?;
        let limit = spec.revision_history_limit.unwrap_or(10);
        let mut in_use: Vec<String> =
            observed.pods.iter().filter_map(|pod| pod.labels().get(POD_HASH).cloned()).collect();
        in_use.push(observed.hash.clone());
        let is_used = |revision: &&Arc<ControllerRevision>| in_use.contains(&history::hash_of(revision));
        let used: Vec<String> = revisions.iter().filter(is_used).map(|revision| revision.name_any()).collect();
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        history::delete(&self.ctx, &key.namespace, &history::surplus(&revisions, &used, limit)).await?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    async fn act(&self, key: &Key, observed: &Observed, action: &Action) -> Result<()> {
        let set = observed.set.as_ref();
        let writer = PodWriter { ctx: &self.ctx, events: &self.events, writes: &self.own_pods, owner: set, key };
        let named = |name: &String| observed.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        match action {
            Action::Release { pod } => match named(pod) {
                Some(pod) => claims::release(&self.ctx, set, pod.as_ref()).await,
                None => Ok(()),
            },
            Action::Adopt { pod } => {
                if let Some(pod) = named(pod)
                    && let Some(adopted) = claims::adopt(&self.ctx, set, pod.as_ref()).await?
                {
                    self.own_pods.wrote(key, adopted);
                }
                Ok(())
            }
            Action::Delete { pods } => all_at_once(pods.iter().filter_map(named).map(|pod| writer.delete(pod))).await,
            Action::Create { nodes } => {
                let batched = slow_start(nodes.len(), |n| {
                    let (pod, writer) = (plan::new_pod(set, &nodes[n], &observed.hash), &writer);
                    async move { writer.create(&pod).await }
                })
                .await;
                batched.error.map_or(Ok(()), Err)
            }
        }
    }

    async fn write_status(&self, key: &Key, set: &DaemonSet, status: DaemonSetStatus) -> Result<()> {
        let updated = DaemonSet { status: Some(status), ..set.clone() };
        let api = self.ctx.api::<DaemonSet>(&key.namespace);
        let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await)
            .doing(format_args!("updating the status of {key}"))?;
        written.into_iter().for_each(|written| self.own_sets.wrote(key, written));
        Ok(())
    }
}
