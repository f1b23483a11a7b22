//! CronJobs: Jobs at the times of a schedule.
//!
//! ```text
//! last start (or creation) ─▶ times that have come since ─▶ the last of them ─▶ one Job, named after that time
//! ```
//!
//! Invariant: a time gets one Job, whatever fails in between: its name follows from the time.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Result,
    claims::is_controlled_by,
    failure::{Doing, already_exists, not_found, said, unless_gone},
    own_writes::OwnWrites,
    owners,
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        ResourceExt,
        api::{DeleteParams, PostParams, Preconditions},
    },
};
use plan::{Observed, plan};
use std::sync::Arc;

const COMPONENT: &str = "cronjob-controller";
const WORKERS: usize = 5;

struct Controller {
    ctx: Context,
    events: EventRecorder,
    crons: Informer<CronJob>,
    jobs: Informer<Job>,
    own_crons: OwnWrites<CronJob>,
    own_jobs: OwnWrites<Job>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        crons: ctx.informers.all(),
        jobs: ctx.informers.all(),
        own_crons: OwnWrites::default(),
        own_jobs: OwnWrites::default(),
        ctx: ctx.clone(),
    });
    controller.crons.synced().await;
    controller.jobs.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    controller.crons.handle({
        let (queue, events) = (queue.clone(), controller.events.clone());
        move |change| queue_change(change, &queue, &events)
    });
    controller.jobs.handle({
        let queue = queue.clone();
        move |change| owners::queue(change, "CronJob", &queue)
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

/// A new schedule counts from its first time on.
fn queue_change(change: &Change<CronJob>, queue: &WorkQueue<Key>, events: &EventRecorder) {
    let key = Key::of(change.object().as_ref());
    let times = |cron: &CronJob| (cron.spec.schedule.clone(), cron.spec.time_zone.clone());
    match change {
        Change::Updated { old, new } if times(old) != times(new) => match plan::first_look(Timestamp::now(), new) {
            Ok(wait) => wait.into_iter().for_each(|wait| queue.add_after(key.clone(), wait)),
            Err(_) => {
                let message = format!("unparseable schedule for cronjob: {}", new.spec.schedule);
                events.event(new.as_ref(), EventType::Warning, "UnParseableCronJobSchedule", message);
            }
        },
        _ => queue.add(key),
    }
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let live = self.crons.by_key(&key);
        let Some(cron) = live.and_then(|_| self.own_crons.one(&key, &self.crons)) else {
            self.own_crons.forget(&key);
            self.own_jobs.forget(&key);
            return Ok(Outcome::Done);
        };
        let uid = cron.metadata.uid.as_deref();
        let jobs = self
            .own_jobs
            .read(&key, &self.jobs, || self.jobs.select_in(&key.namespace, |job| is_controlled_by(&job.metadata, uid)));
        let observed = Observed { cron: cron.clone(), jobs };
        let plan = plan(Timestamp::now(), &observed);
        for (kind, reason, message) in plan.events {
            self.events.event(cron.as_ref(), kind, reason, message);
        }
        let mut status = plan.status;
        for job in &plan.expire {
            // What cannot be deleted now will be surplus again.
            if self.delete(&key, &observed, job).await.is_ok() {
                forget(&mut status, &observed, job);
            }
        }
        let mut result = Ok(());
        for job in &plan.replace {
            result = self.delete(&key, &observed, job).await;
            if result.is_err() {
                break;
            }
            forget(&mut status, &observed, job);
        }
        if result.is_ok()
            && let Some(at) = plan.start
        {
            match self.start(&key, &cron, at).await {
                Ok(Some(job)) => status = plan::started(status, &job, at),
                Ok(None) => {}
                Err(failure) => result = Err(failure),
            }
        }
        if cron.status.as_ref() != Some(&status) {
            self.write_status(&key, &cron, status).await?;
        }
        result?;
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    /// The Job of a time, made now or by an attempt before; `None` when the name is another's.
    async fn start(&self, key: &Key, cron: &CronJob, at: Timestamp) -> Result<Option<Job>> {
        let job = plan::new_job(cron, at);
        let name = job.name_any();
        let api = self.ctx.api::<Job>(&key.namespace);
        match api.create(&PostParams::default(), &job).await {
            Ok(created) => {
                self.events.event(cron, EventType::Normal, "SuccessfulCreate", format!("Created job {name}"));
                self.own_jobs.wrote(key, created.clone());
                Ok(Some(created))
            }
            Err(error) if already_exists(&error) => {
                let existing = api.get_opt(&name).await.doing(format_args!("reading Job {name}"))?;
                Ok(existing.filter(|job| is_controlled_by(&job.metadata, cron.metadata.uid.as_deref())))
            }
            Err(error) if crate::common::failure::namespace_terminating(&error) => Ok(None),
            Err(error) => {
                let message = format!("Error creating job: {}", said(&error));
                self.events.event(cron, EventType::Warning, "FailedCreate", message);
                Err(error).doing(format_args!("creating Job {name}"))
            }
        }
    }

    async fn delete(&self, key: &Key, observed: &Observed, name: &str) -> Result<()> {
        let known = observed.jobs.iter().find(|job| job.name_any() == name);
        let uid = known.and_then(|job| job.uid());
        let preconditions = Some(Preconditions { uid: uid.clone(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        let cron = observed.cron.as_ref();
        match self.ctx.api::<Job>(&key.namespace).delete(name, &params).await {
            Ok(_) => {}
            Err(error) if not_found(&error) => {}
            Err(error) => {
                self.events.event(cron, EventType::Warning, "FailedDelete", format!("Deleted job: {}", said(&error)));
                return Err(error).doing(format_args!("deleting Job {name}"));
            }
        }
        self.own_jobs.deleted(key, uid);
        self.events.event(cron, EventType::Normal, "SuccessfulDelete", format!("Deleted job {name}"));
        Ok(())
    }

    async fn write_status(&self, key: &Key, cron: &CronJob, status: CronJobStatus) -> Result<()> {
        let updated = CronJob { status: Some(status), ..cron.clone() };
        let api = self.ctx.api::<CronJob>(&key.namespace);
        let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await)
            .doing(format_args!("updating the status of {key}"))?;
        written.into_iter().for_each(|written| self.own_crons.wrote(key, written));
        Ok(())
    }
}

fn forget(status: &mut CronJobStatus, observed: &Observed, name: &str) {
    let uid = observed.jobs.iter().find(|job| job.name_any() == name).and_then(|job| job.metadata.uid.as_ref());
    let active = status.active.take().unwrap_or_default();
    let left: Vec<_> = active.into_iter().filter(|known| known.uid.as_ref() != uid).collect();
    status.active = Some(left).filter(|left| !left.is_empty());
}
