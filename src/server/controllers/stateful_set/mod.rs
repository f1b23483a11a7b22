//! StatefulSets: pods with names, claims and an order of their own.
//!
//! ```text
//! template ─▶ ControllerRevision (update) ┐
//! status.currentRevision ─▶ (current)     ├─▶ plan ─▶ claims, pods, owners of claims ─▶ status
//! pods by ordinal, claims by name         ┘
//! ```
//!
//! Invariant: under OrderedReady no pod is started or ended while another one that comes before it is not available.

mod act;
mod identity;
mod plan;
#[cfg(test)]
mod plays;
mod retention;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Failure, Result,
    claims::{self, Claim, claim, controller_of},
    failure::{Doing, unless_gone},
    history::{self, HASH, POD_HASH, Written},
    own_writes::OwnWrites,
    owners, queue_changes, selectors,
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::{PersistentVolumeClaim, PodTemplateSpec},
};
use mk8s_api::decode;
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{ResourceExt, api::PostParams},
    pod::Pod,
};
use plan::{Observed, plan};
use std::sync::Arc;

const COMPONENT: &str = "statefulset-controller";
const WORKERS: usize = 5;

struct Controller {
    ctx: Context,
    events: EventRecorder,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    own_sets: OwnWrites<StatefulSet>,
    own_pods: OwnWrites<Pod>,
    own_claims: OwnWrites<PersistentVolumeClaim>,
    own_revisions: OwnWrites<ControllerRevision>,
}

/// The two revisions of a round, with their templates.
struct Revisions {
    known: Vec<Arc<ControllerRevision>>,
    current: (String, PodTemplateSpec),
    update: (String, PodTemplateSpec),
    collisions: i32,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        sets: ctx.informers.all(),
        pods: ctx.informers.all(),
        claims: ctx.informers.all(),
        revisions: ctx.informers.all(),
        own_sets: OwnWrites::default(),
        own_pods: OwnWrites::default(),
        own_claims: OwnWrites::default(),
        own_revisions: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    controller.sets.synced().await;
    controller.pods.synced().await;
    controller.claims.synced().await;
    controller.revisions.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    queue_changes(&controller.sets, &queue);
    controller.pods.handle({
        let (queue, sets) = (queue.clone(), controller.sets.clone());
        move |change| {
            owners::queue(change, "StatefulSet", &queue);
            let selects =
                |set: &StatefulSet, labels: &_| owners::matches(set.spec.as_ref().map(|spec| &spec.selector), labels);
            owners::queue_adopters(change, &sets, selects, &queue);
        }
    });
    controller.claims.handle({
        let (queue, sets) = (queue.clone(), controller.sets.clone());
        move |change| queue_claimants(change, &sets, &queue)
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

/// A claim that is gone may be one that a pod waits for.
fn queue_claimants(change: &Change<PersistentVolumeClaim>, sets: &Informer<StatefulSet>, queue: &WorkQueue<Key>) {
    let Change::Deleted(claim) = change else { return };
    let name = claim.name_any();
    for set in sets.list_in(&claim.namespace().unwrap_or_default()) {
        let names = |template: &PersistentVolumeClaim| {
            let own = name.strip_prefix(&template.name_any()).and_then(|rest| rest.strip_prefix('-'));
            own.and_then(|own| own.strip_prefix(&set.name_any())).is_some_and(|ordinal| ordinal.starts_with('-'))
        };
        if identity::templates(&set).iter().any(names) {
            queue.add(Key::of(set.as_ref()));
        }
    }
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let live = self.sets.by_key(&key);
        let Some(set) = live.and_then(|_| self.own_sets.one(&key, &self.sets)) else {
            self.own_sets.forget(&key);
            self.own_pods.forget(&key);
            self.own_claims.forget(&key);
            self.own_revisions.forget(&key);
            return Ok(Outcome::Done);
        };
        let Some(revisions) = self.revisions(&key, &set).await? else { return Ok(Outcome::Again) };
        let observed = self.observe(&key, &set, &revisions);
        let plan = plan(Timestamp::now(), &observed);
        for claim in &plan.conflicts {
            let message = format!(
                "PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a managing controller, \
                 the retention policy is ignored for this claim"
            );
            self.events.event(set.as_ref(), EventType::Warning, "ConflictingController", message);
        }
        let result = self.act_all(&key, &observed, &revisions, &plan.actions).await;
        if let Some(status) = plan.status {
            let written = self.write_status(&key, &set, status).await;
            if let Err(failure) = written {
                return Err(result.err().unwrap_or(failure));
            }
        }
        result?;
        self.forget_history(&key, &set, &observed, &revisions).await?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    /// The revisions of the template and of the status, written where they are new. `None` after a collision of hashes.
    async fn revisions(&self, key: &Key, set: &StatefulSet) -> Result<Option<Revisions>> {
        let Some(spec) = set.spec.as_ref() else { return Err(Failure::Other(format!("{key} has no spec"))) };
        let selector = selectors::compile(Some(&spec.selector));
        let mut known = self.own_revisions.read(key, &self.revisions, || {
            self.revisions.select_in(&key.namespace, |revision| {
                let selected = selector.as_ref().is_some_and(|selector| selector.matches(&revision.metadata.labels));
                matches!(claim(&set.metadata, &revision.metadata, selected), Claim::Own | Claim::Adopt)
            })
        });
        for revision in &mut known {
            if controller_of(&revision.metadata).is_none()
                && let Some(adopted) = claims::adopt(&self.ctx, set, revision.as_ref()).await?
            {
                self.own_revisions.wrote(key, adopted.clone());
                *revision = Arc::new(adopted);
            }
        }
        let before = set.status.as_ref().and_then(|status| status.collision_count);
        let collisions = before.unwrap_or_default();
        let update = history::update(set, &spec.template, &known, HASH, Some(collisions));
        let mut name = update.revision().name_any();
        if set.metadata.deletion_timestamp.is_none() {
            match history::write(&self.ctx, set, &update).await? {
                Some(Written::Done(revision)) => {
                    name = revision.name_any();
                    self.own_revisions.wrote(key, *revision);
                }
                Some(Written::Collision) => {
                    let mut status = set.status.clone().unwrap_or_default();
                    status.collision_count = Some(collisions + 1);
                    self.write_status(key, set, status).await?;
                    return Ok(None);
                }
                None => {}
            }
        }
        let recorded = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let recorded = recorded.and_then(|recorded| known.iter().find(|revision| revision.name_any() == recorded));
        let template = recorded.and_then(|revision| template_of(revision));
        let current = match (recorded, template) {
            (Some(revision), Some(template)) => (revision.name_any(), template),
            _ => (name.clone(), spec.template.clone()),
        };
        Ok(Some(Revisions { known, current, update: (name, spec.template.clone()), collisions }))
    }

    fn observe(&self, key: &Key, set: &Arc<StatefulSet>, revisions: &Revisions) -> Observed {
        let uid = set.uid().unwrap_or_default();
        let pods = self.own_pods.read(key, &self.pods, || {
            self.pods.select_in(&key.namespace, |pod| match controller_of(&pod.metadata) {
                Some(owner) => owner.uid == uid,
                None => true,
            })
        });
        let claims = match identity::templates(set) {
            [] => Vec::new(),
            _ => self.own_claims.read(key, &self.claims, || self.claims.list_in(&key.namespace)),
        };
        Observed {
            set: set.clone(),
            pods,
            claims: claims.into_iter().map(|claim| (claim.name_any(), claim)).collect(),
            current: revisions.current.0.clone(),
            update: revisions.update.0.clone(),
            collisions: revisions.collisions,
        }
    }

    async fn write_status(&self, key: &Key, set: &StatefulSet, status: StatefulSetStatus) -> Result<()> {
        let updated = StatefulSet { status: Some(status), ..set.clone() };
        let api = self.ctx.api::<StatefulSet>(&key.namespace);
        let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await)
            .doing(format_args!("updating the status of {key}"))?;
        written.into_iter().for_each(|written| self.own_sets.wrote(key, written));
        Ok(())
    }

    async fn forget_history(
        &self,
        key: &Key,
        set: &StatefulSet,
        observed: &Observed,
        revisions: &Revisions,
    ) -> Result<()> {
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
        let of_pods = observed.pods.iter().filter_map(|pod| pod.labels().get(POD_HASH).map(String::as_str));
        let in_use: Vec<&str> = of_pods.chain([observed.current.as_str(), observed.update.as_str()]).collect();
        history::delete(&self.ctx, &key.namespace, &history::surplus(&revisions.known, &in_use, limit)).await
    }
}

/// The template that a revision holds.
fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    decode::typed(revision.data.as_ref()?.0.get("spec")?.get("template")?).ok()
}
