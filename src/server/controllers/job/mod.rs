//! Jobs: pods that run to their end, as often as asked for.
//!
//! ```text
//! pod ends ──▶ its uid in status.uncountedTerminatedPods ──▶ its finalizer goes ──▶ counted ──▶ all counted: Complete | Failed
//! ```
//!
//! The finalizer keeps an ended pod until the status has it on record: a pod counts once, whatever is deleted or crashes.
//!
//! Reading order: `spec` (what is asked for), `tally` (what has ended), `outcome` (whether that is the end), `manage` (which
//! pods come and go), `plan` (all of it).

mod indexes;
mod manage;
mod outcome;
mod plan;
#[cfg(test)]
mod plays;
mod pod;
mod policy;
mod spec;
mod tally;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Result,
    batch::{all_at_once, slow_start},
    claims::{self, controller_of, is_controlled_by},
    failure::{Doing, unless_gone},
    own_writes::OwnWrites,
    owners,
    pods::PodWriter,
    queue_changes, selectors,
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use mk8s_client::{
    EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        ResourceExt,
        api::{Patch, PatchParams, PostParams},
    },
    pod::Pod,
};
use plan::{Action, Observed, plan};
use serde_json::json;
use spec::TRACKING;
use std::sync::Arc;

const COMPONENT: &str = "job-controller";
const WORKERS: usize = 5;

struct Controller {
    ctx: Context,
    events: EventRecorder,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    own_jobs: OwnWrites<Job>,
    own_pods: OwnWrites<Pod>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        jobs: ctx.informers.all(),
        pods: ctx.informers.all(),
        own_jobs: OwnWrites::default(),
        own_pods: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    controller.jobs.synced().await;
    controller.pods.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    queue_changes(&controller.jobs, &queue);
    let strays = WorkQueue::new("job-orphan-pods");
    controller.pods.handle({
        let (queue, strays, jobs) = (queue.clone(), strays.clone(), controller.jobs.clone());
        move |change| {
            owners::queue(change, "Job", &queue);
            let selects = |job: &Job, labels: &_| {
                owners::matches(job.spec.as_ref().and_then(|spec| spec.selector.as_ref()), labels)
            };
            owners::queue_adopters(change, &jobs, selects, &queue);
            let pod = change.object();
            if spec::is_tracked(pod) && controller_of(&pod.metadata).is_none() {
                strays.add(Key::of(pod.as_ref()));
            }
        }
    });
    let free = {
        let controller = controller.clone();
        move |key| {
            let controller = controller.clone();
            async move { controller.free(key).await }
        }
    };
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    tokio::join!(ctx.serve(queue, WORKERS, reconcile), ctx.serve(strays, 1, free));
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let live = self.jobs.by_key(&key);
        let Some(job) = live.and_then(|_| self.own_jobs.one(&key, &self.jobs)) else {
            self.own_jobs.forget(&key);
            self.own_pods.forget(&key);
            return self.let_go(&key, None).await;
        };
        // Pods of a Job that had this name before hold on to their finalizer, too.
        self.let_go(&key, job.metadata.uid.as_deref()).await?;
        let managed = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
        if managed.is_some_and(|manager| manager != "kubernetes.io/job-controller") {
            return Ok(Outcome::Done);
        }
        let mode = job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref());
        if mode.is_some_and(|mode| !["Indexed", "NonIndexed"].contains(&mode)) {
            let message = "Skipped Job sync because completion mode is unknown";
            self.events.event(job.as_ref(), EventType::Warning, "UnknownCompletionMode", message);
            return Ok(Outcome::Done);
        }
        let uid = job.uid().unwrap_or_default();
        let pods = self.own_pods.read(&key, &self.pods, || {
            self.pods.select_in(&key.namespace, |pod| match controller_of(&pod.metadata) {
                Some(owner) => owner.uid == uid,
                None => true,
            })
        });
        let observed = Observed { job: job.clone(), pods };
        let plan = plan(Timestamp::now(), &observed);
        let (before, after): (Vec<_>, Vec<_>) =
            plan.actions.iter().partition(|action| !matches!(action, Action::Strip { .. }));
        let mut result = Ok(());
        for action in before {
            result = self.act(&key, &observed, action).await;
            if result.is_err() {
                break;
            }
        }
        if let Some(status) = plan.status {
            let updated = Job { status: Some(status), ..job.as_ref().clone() };
            let api = self.ctx.api::<Job>(&key.namespace);
            let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
            match written.doing(format_args!("updating the status of {key}"))? {
                Some(written) => self.own_jobs.wrote(&key, written),
                None => return Ok(Outcome::Done),
            }
            for (kind, reason, message) in &plan.events {
                self.events.event(job.as_ref(), *kind, reason, message.clone());
            }
        }
        // Only what is on record may go.
        all_at_once(after.into_iter().map(|action| self.act(&key, &observed, action))).await?;
        result?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    async fn act(&self, key: &Key, observed: &Observed, action: &Action) -> Result<()> {
        let job = observed.job.as_ref();
        let writer = PodWriter { ctx: &self.ctx, events: &self.events, writes: &self.own_pods, owner: job, key };
        let named = |name: &String| observed.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        match action {
            Action::Release { pod } => match named(pod) {
                Some(pod) => claims::release_with(&self.ctx, job, pod.as_ref(), Some(TRACKING)).await,
                None => Ok(()),
            },
            Action::Adopt { pod } => {
                if let Some(pod) = named(pod)
                    && let Some(adopted) = claims::adopt_with(&self.ctx, job, pod.as_ref(), Some(TRACKING)).await?
                {
                    self.own_pods.wrote(key, adopted);
                }
                Ok(())
            }
            Action::Delete { pods } => all_at_once(pods.iter().filter_map(named).map(|pod| writer.delete(pod))).await,
            Action::Create { count, indexes } => {
                let make = |n: usize| pod::new_pod(job, indexes.get(n));
                let batched = slow_start(*count, |n| {
                    let (pod, writer) = (make(n), &writer);
                    async move { writer.create(&pod).await }
                })
                .await;
                batched.error.map_or(Ok(()), Err)
            }
            Action::Discard { pods } => {
                let discard = |pod: &Arc<Pod>| {
                    let (pod, writer) = (pod.clone(), &writer);
                    async move {
                        self.strip(Some(key), &pod).await?;
                        writer.delete(&pod).await
                    }
                };
                all_at_once(pods.iter().filter_map(named).map(discard)).await
            }
            Action::Strip { pods } => {
                let stripped = pods.iter().filter_map(named).map(|pod| self.strip(Some(key), pod));
                all_at_once(stripped).await
            }
        }
    }

    /// Takes the tracking finalizer from a pod.
    async fn strip(&self, key: Option<&Key>, pod: &Pod) -> Result<()> {
        let kept: Vec<&String> = pod.finalizers().iter().filter(|finalizer| *finalizer != TRACKING).collect();
        if kept.len() == pod.finalizers().len() {
            return Ok(());
        }
        let patch = json!({"metadata": {
            "uid": pod.uid(), "resourceVersion": pod.resource_version(), "finalizers": kept}});
        let api = self.ctx.api::<Pod>(&pod.namespace().unwrap_or_default());
        let patched = unless_gone(api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("letting go of pod {}", Key::of(pod)))?;
        if let (Some(key), Some(patched)) = (key, patched)
            && patched.metadata.deletion_timestamp.is_none()
        {
            self.own_pods.wrote(key, patched);
        }
        Ok(())
    }

    /// Frees a pod that no one controls and that no Job will adopt.
    async fn free(&self, key: Key) -> Result<Outcome> {
        let Some(pod) = self.pods.by_key(&key).filter(|pod| controller_of(&pod.metadata).is_none()) else {
            return Ok(Outcome::Done);
        };
        let adopts = |job: &Job| {
            let selector = selectors::compile(job.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
            let alive = pod.metadata.deletion_timestamp.is_none() && finished(job).is_none();
            alive && selector.is_some_and(|selector| selector.matches(&pod.metadata.labels))
        };
        if self.jobs.select_in(&key.namespace, adopts).is_empty() {
            self.strip(None, &pod).await?;
        }
        Ok(Outcome::Done)
    }

    /// Frees pods whose Job is gone: no one will count them.
    async fn let_go(&self, key: &Key, except: Option<&str>) -> Result<Outcome> {
        let of_this_name = |pod: &Pod| {
            pod.finalizers().iter().any(|finalizer| finalizer == TRACKING)
                && !(except.is_some() && is_controlled_by(&pod.metadata, except))
                && controller_of(&pod.metadata).is_some_and(|owner| owner.kind == "Job" && owner.name == key.name)
        };
        let orphans = self.pods.select_in(&key.namespace, of_this_name);
        all_at_once(orphans.iter().map(|pod| self.strip(None, pod))).await?;
        Ok(Outcome::Done)
    }
}

/// Events are reported with their type.
type Report = (EventType, String, String);

/// Whether a Job has come to its end, and how it says so.
pub(crate) fn finished(job: &Job) -> Option<&k8s_openapi::api::batch::v1::JobCondition> {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions
        .into_iter()
        .find(|known| ["Complete", "Failed"].contains(&known.type_.as_str()) && known.status == "True")
}
