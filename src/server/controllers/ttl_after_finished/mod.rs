//! Finished Jobs that are to live only so long are deleted, with their pods.

#[cfg(test)]
mod plays;

use crate::{
    common::{
        Context, Result,
        failure::{Doing, unless_gone},
        queue_changes,
        updates::until,
    },
    job::finished,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        ResourceExt,
        api::{DeleteParams, Preconditions},
    },
};
use std::time::Duration;

pub(crate) async fn run(ctx: Context) {
    let jobs: Informer<Job> = ctx.informers.all();
    jobs.synced().await;
    let queue = WorkQueue::new("ttl-after-finished-controller");
    queue_changes(&jobs, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, jobs) = (ctx.clone(), jobs.clone());
            async move { expire(&ctx, &jobs, key).await }
        }
    };
    ctx.serve(queue, 2, reconcile).await;
}

async fn expire(ctx: &Context, jobs: &Informer<Job>, key: Key) -> Result<Outcome> {
    let Some(left) = jobs.by_key(&key).and_then(|job| expires_in(&job, Timestamp::now())) else {
        return Ok(Outcome::Done);
    };
    if !left.is_zero() {
        return Ok(Outcome::After(left));
    }
    let api = ctx.api::<Job>(&key.namespace);
    // Deleting is for ever: the server's own copy decides.
    let live = api.get_opt(&key.name).await.doing(format_args!("reading Job {key}"))?;
    let Some(live) = live.filter(|job| expires_in(job, Timestamp::now()).is_some_and(|left| left.is_zero())) else {
        return Ok(Outcome::Again);
    };
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: live.uid(), resource_version: live.resource_version() }),
        ..DeleteParams::foreground()
    };
    unless_gone(api.delete(&key.name, &params).await).doing(format_args!("deleting finished Job {key}"))?;
    Ok(Outcome::Done)
}

/// What is left of a finished Job's time; `None` while it runs, is being deleted, or may stay.
fn expires_in(job: &Job, now: Timestamp) -> Option<Duration> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let end = finished(job).filter(|_| job.metadata.deletion_timestamp.is_none())?;
    Some(until(end.last_transition_time.as_ref()?.0, SignedDuration::from_secs(seconds.into()), now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, one};

    #[test]
    fn time_runs_from_the_end() {
        let done = "conditions: [{type: Complete, status: \"True\", lastTransitionTime: \"2026-01-01T11:59:00Z\"}]";
        let table = [
            ("ttlSecondsAfterFinished: 100", done, Some(40)),
            ("ttlSecondsAfterFinished: 0", done, Some(0)),
            ("backoffLimit: 1", done, None),
            ("ttlSecondsAfterFinished: 0", "active: 1", None),
        ];
        for (spec, status, expected) in table {
            let job: Job = one(&format!(
                "kind: Job\nmetadata: {{name: j}}\nspec: {{template: {{}}, {spec}}}\nstatus: {{{status}}}"
            ));
            assert_eq!(expires_in(&job, noon()), expected.map(Duration::from_secs), "{spec} {status}");
        }
    }
}
