//! The scheduler's hands: brings it what changes in the cluster, and carries out what it decides. Everything that is
//! decided is in the pure modules.
//!
//! One task owns the scheduler. What takes time, writing bindings, events, conditions and evictions, is done by others,
//! which report back; so many bindings are under way at once and ride in one batch of the store.

mod act;
mod devices;
mod feeds;
mod input;
mod volumes;

use crate::{
    config::Configured,
    cycle::Chance,
    metrics::{Attempt, Metrics},
    scheduler::{Decision, Scheduler},
};
use act::Actor;
use input::Input;
use jiff::Timestamp;
use kube::Client;
use mk8s_client::{EventRecorder, Informers};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Cycles between two looks at the inputs, so that a long queue does not keep the picture stale.
const CYCLES_PER_TURN: usize = 64;

/// How often bound pods that were never seen on their node are looked for.
const EXPIRY_EVERY: Duration = Duration::from_secs(30);

pub(crate) async fn drive(
    client: Client,
    informers: &Informers,
    configured: Configured,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let (sender, mut inputs) = mpsc::unbounded_channel();
    let mut unsynced = feeds::follow_all(informers, &sender);
    let recorder = EventRecorder::new(client.clone(), "default-scheduler", None, stop.clone());
    let Configured { profiles, backoff, volume_timeout, binding_timeout } = configured;
    let metrics_of_actor = metrics.clone();
    let actor = Actor { client, recorder, inputs: sender, volume_timeout, binding_timeout, metrics: metrics_of_actor };
    let mut scheduler = Scheduler::counting(profiles, backoff, metrics.clone());
    let mut expiry = tokio::time::interval(EXPIRY_EVERY);
    loop {
        let release = scheduler.queue().next_release().map(tokio::time::Instant::from_std);
        let idle = !scheduler.queue().is_ready() || unsynced > 0;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            input = inputs.recv() => match input {
                Some(input) => unsynced -= take(&mut scheduler, input),
                None => return,
            },
            _ = expiry.tick() => for (pod, node) in scheduler.expire(Instant::now()) {
                tracing::warn!(pod, node, "the pod was bound and never seen on its node, its room is given up");
            },
            () = std::future::ready(()), if !idle => {}
            () = at(release), if idle => {}
        }
        while let Ok(input) = inputs.try_recv() {
            unsynced -= take(&mut scheduler, input);
        }
        if unsynced == 0 {
            for _ in 0..CYCLES_PER_TURN {
                let (tie_break, offset) = (rand::random(), usize::from(rand::random::<u16>()));
                let chance = Chance { time: Timestamp::now(), tie_break, offset };
                let begun = Instant::now();
                let Some(decision) = scheduler.next(begun, chance) else { break };
                match &decision {
                    Decision::Bind { .. } => metrics.decided(begun.elapsed()),
                    Decision::Fail { pod, .. } => {
                        metrics.attempted(pod.scheduler_name(), Attempt::Unschedulable, begun.elapsed());
                    }
                }
                actor.carry_out(decision, begun);
            }
        }
        metrics.are(scheduler.sizes());
        tokio::task::yield_now().await;
    }
}

async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Tells the scheduler; returns how many kinds have been listed with this.
fn take(scheduler: &mut Scheduler, input: Input) -> usize {
    let now = Instant::now();
    match input {
        Input::Synced => return 1,
        Input::Bound { uid, bound, claims } => {
            // Before the promises end: what was written is taken from now on.
            claims.iter().for_each(|claim| scheduler.claim_changed(claim, true, now));
            scheduler.bound(&uid, bound, now);
        }
        Input::Preempted { uid, failed } => scheduler.preempted(&uid, failed, now),
        Input::Observed(observed) => observed.tell(scheduler, now),
    }
    0
}
