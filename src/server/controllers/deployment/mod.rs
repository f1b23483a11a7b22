//! Deployments: a ReplicaSet per version of the pod template, and the way from one to the next.
//!
//! ```text
//! template changed ──▶ new set (pod-template-hash) ──grow──▶ ... ──▶ complete ──▶ old history is cut
//!                      old sets ─────────────────shrink──▶ 0
//! ```
//!
//! One reconcile takes one step; the sets' changes bring the next. Rolling back is the client's: it writes an old template,
//! and the set that has it becomes the new one again.

mod conditions;
mod plan;
#[cfg(test)]
mod plays;
mod revisions;
mod scaling;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Failure, Result,
    claims::{self, controller_of},
    failure::{Doing, already_exists, namespace_terminating, said, unless_gone},
    own_writes::OwnWrites,
    owners, queue_changes,
    updates::whole_second,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        ResourceExt,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    },
    pod::Pod,
};
use plan::{Action, Observed, plan};
use serde_json::json;
use std::sync::Arc;

const COMPONENT: &str = "deployment-controller";
const WORKERS: usize = 5;

struct Controller {
    ctx: Context,
    events: EventRecorder,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    own_deployments: OwnWrites<Deployment>,
    own_sets: OwnWrites<ReplicaSet>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        deployments: ctx.informers.all(),
        sets: ctx.informers.all(),
        pods: ctx.informers.all(),
        own_deployments: OwnWrites::default(),
        own_sets: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    controller.deployments.synced().await;
    controller.sets.synced().await;
    controller.pods.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    queue_changes(&controller.deployments, &queue);
    controller.sets.handle({
        let (queue, deployments) = (queue.clone(), controller.deployments.clone());
        move |change| {
            owners::queue(change, "Deployment", &queue);
            let selects = |deployment: &Deployment, labels: &_| {
                owners::matches(deployment.spec.as_ref().map(|spec| &spec.selector), labels)
            };
            owners::queue_adopters(change, &deployments, selects, &queue);
        }
    });
    controller.pods.handle({
        let (queue, sets, deployments) = (queue.clone(), controller.sets.clone(), controller.deployments.clone());
        move |change| queue_recreation(change, &sets, &deployments, &queue)
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

/// A Deployment that recreates waits for the last of its old pods to end.
fn queue_recreation(
    change: &Change<Pod>,
    sets: &Informer<ReplicaSet>,
    deployments: &Informer<Deployment>,
    queue: &WorkQueue<Key>,
) {
    let pod = change.object();
    let ended = matches!(change, Change::Deleted(_)) || crate::common::pods::is_finished(pod);
    let Some(owner) = controller_of(&pod.metadata).filter(|owner| ended && owner.kind == "ReplicaSet") else { return };
    let namespace = pod.namespace().unwrap_or_default();
    let Some(set) = sets.get(&namespace, &owner.name) else { return };
    let Some(owner) = controller_of(&set.metadata) else { return };
    let recreates = |deployment: &Deployment| plan::recreates(deployment);
    if deployments.get(&namespace, &owner.name).is_some_and(|deployment| recreates(&deployment)) {
        queue.add(Key::new(namespace, &owner.name));
    }
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(deployment) = self.own_deployments.one(&key, &self.deployments) else {
            self.own_deployments.forget(&key);
            self.own_sets.forget(&key);
            return Ok(Outcome::Done);
        };
        if self.deployments.by_key(&key).is_none() {
            return Ok(Outcome::Done);
        }
        let now = Timestamp::now();
        if deployment.spec.as_ref().is_some_and(|spec| spec.selector == Default::default()) {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.events.event(deployment.as_ref(), EventType::Warning, "SelectingAll", message);
            return Ok(Outcome::Done);
        }
        let observed = self.observe(&key, &deployment);
        let plan = plan(now, &observed);
        let mut latest = deployment.as_ref().clone();
        for action in &plan.actions {
            self.act(&key, &mut latest, action, now).await?;
        }
        if let Some(status) = plan.status {
            self.write_status(&key, &latest, status).await?;
        }
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    fn observe(&self, key: &Key, deployment: &Arc<Deployment>) -> Observed {
        let uid = deployment.uid().unwrap_or_default();
        let sets = self.own_sets.read(key, &self.sets, || {
            self.sets.select_in(&key.namespace, |set| match controller_of(&set.metadata) {
                Some(owner) => owner.uid == uid,
                None => true,
            })
        });
        let unfinished = |set: &Arc<ReplicaSet>| {
            let pods = set.metadata.uid.as_deref().map(|uid| self.pods.owned_by(uid)).unwrap_or_default();
            pods.iter().any(|pod| !crate::common::pods::is_finished(pod))
        };
        // Only who recreates asks, and looking costs.
        let with_pods = match plan::recreates(deployment) {
            true => sets.iter().filter(|set| unfinished(set)).filter_map(|set| set.uid()).collect(),
            false => Default::default(),
        };
        Observed { deployment: deployment.clone(), sets, with_pods }
    }

    async fn act(&self, key: &Key, latest: &mut Deployment, action: &Action, now: Timestamp) -> Result<()> {
        let sets = self.ctx.api::<ReplicaSet>(&key.namespace);
        match action {
            Action::Release(set) => claims::release(&self.ctx, latest, set.as_ref()).await?,
            Action::Adopt(set) => {
                if let Some(adopted) = claims::adopt(&self.ctx, latest, set.as_ref()).await? {
                    self.own_sets.wrote(key, adopted);
                }
            }
            Action::Create(set) => self.create(key, latest, set, now).await?,
            Action::Update { set, scaled } => {
                let name = set.name_any();
                let written = sets.replace(&name, &PostParams::default(), set).await;
                self.own_sets.wrote(key, written.doing(format_args!("updating ReplicaSet {name}"))?);
                if let Some((from, to)) = scaled {
                    let direction = if from < to { "up" } else { "down" };
                    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
                    self.events.event(latest, EventType::Normal, "ScalingReplicaSet", message);
                }
            }
            Action::Delete(name) => {
                unless_gone(sets.delete(name, &DeleteParams::default()).await)
                    .doing(format_args!("deleting old ReplicaSet {name}"))?;
            }
            Action::Revision(revision) => {
                let patch = json!({"metadata": {"annotations": {revisions::REVISION: revision}}});
                let deployments = self.ctx.api::<Deployment>(&key.namespace);
                let patched = deployments.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
                let patched = patched.doing(format_args!("writing the revision of {key}"))?;
                // The spec this plan is for may be older than what was patched; only the version is taken over.
                latest.metadata.resource_version = patched.metadata.resource_version.clone();
                latest.metadata.annotations = patched.metadata.annotations.clone();
                self.own_deployments.wrote(key, patched);
            }
        }
        Ok(())
    }

    async fn create(&self, key: &Key, latest: &Deployment, set: &ReplicaSet, now: Timestamp) -> Result<()> {
        let sets = self.ctx.api::<ReplicaSet>(&key.namespace);
        let name = set.name_any();
        let doing = || format!("creating ReplicaSet {name}");
        match sets.create(&PostParams::default(), set).await {
            Ok(created) => {
                let replicas = created.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
                if replicas > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.events.event(latest, EventType::Normal, "ScalingReplicaSet", message);
                }
                self.own_sets.wrote(key, created);
                Ok(())
            }
            Err(error) if already_exists(&error) => {
                let existing = sets.get_opt(&name).await.doing(doing())?;
                if let Some(existing) = existing
                    && claims::is_controlled_by(&existing.metadata, latest.metadata.uid.as_deref())
                    && revisions::same_template(latest, &existing)
                {
                    self.own_sets.wrote(key, existing);
                    return Ok(());
                }
                // Another template has the same hash: the next one is made with another salt.
                let mut status = latest.status.clone().unwrap_or_default();
                status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
                self.write_status(key, latest, status).await?;
                Err(Failure::Api { doing: doing(), source: error })
            }
            Err(error) if namespace_terminating(&error) => Err(Failure::Api { doing: doing(), source: error }),
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {}", said(&error));
                self.events.event(latest, EventType::Warning, conditions::CREATE_FAILED, message.clone());
                if conditions::has_deadline(latest) {
                    let mut status = latest.status.clone().unwrap_or_default();
                    let at = whole_second(now);
                    conditions::set(&mut status, "Progressing", "False", conditions::CREATE_FAILED, message, at);
                    // The failure to create is the one to report.
                    let _ = self.write_status(key, latest, status).await;
                }
                Err(Failure::Api { doing: doing(), source: error })
            }
        }
    }

    async fn write_status(&self, key: &Key, latest: &Deployment, status: DeploymentStatus) -> Result<()> {
        let updated = Deployment { status: Some(status), ..latest.clone() };
        let deployments = self.ctx.api::<Deployment>(&key.namespace);
        let written = unless_gone(deployments.replace_status(&key.name, &PostParams::default(), &updated).await)
            .doing(format_args!("updating the status of {key}"))?;
        if let Some(written) = written {
            self.own_deployments.wrote(key, written);
        }
        Ok(())
    }
}
