//! The probes of one container over time, from its start to its end.
//!
//! ```text
//! startup ──good──▶ liveness, readiness, each on its own clock
//!        └──bad───▶ verdict; the worker kills the container, which ends this
//! ```

use super::{
    attempt::attempt,
    state::{Counter, Outcome},
};
use crate::{
    pod::{
        facts::{self, Role},
        host::Host,
        verdicts::ProbeKind,
    },
    waker::Waker,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use mk8s_client::events::EventType;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};

/// An attempt that could not be carried out is repeated so often at once.
const TRIES: u32 = 3;

/// One running container that is probed.
#[derive(Clone)]
pub struct Probed {
    pub host: Arc<Host>,
    pub pod: Arc<Pod>,
    pub role: Role,
    pub container: Container,
    pub id: String,
    pub address: String,
    /// Nanoseconds since 1970.
    pub started_at: i64,
    pub waker: Waker,
}

/// Probes until the guard is dropped.
pub fn start(probed: Probed) -> DropGuard {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = run(probed) => {}
        }
    });
    stop.drop_guard()
}

async fn run(probed: Probed) {
    if let Some(probe) = &probed.container.startup_probe {
        // Its first verdict is its last: it has started, or it is killed.
        probed.follow(ProbeKind::Startup, probe, true).await;
        if probed.host.verdicts.get(&probed.id, ProbeKind::Startup) != Some(true) {
            return;
        }
    }
    let liveness = async {
        if let Some(probe) = &probed.container.liveness_probe {
            probed.follow(ProbeKind::Liveness, probe, false).await;
        }
    };
    let readiness = async {
        if let Some(probe) = &probed.container.readiness_probe {
            probed.follow(ProbeKind::Readiness, probe, false).await;
        }
    };
    tokio::join!(liveness, readiness);
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}

impl Probed {
    /// Returns after the first verdict when there is only `one`, and when the container has to die.
    async fn follow(&self, kind: ProbeKind, probe: &Probe, one: bool) {
        let positive =
            |value: Option<i32>, default: u32| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
        let mut counter = Counter::new(positive(probe.success_threshold, 1), positive(probe.failure_threshold, 3));
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        self.initial_delay(seconds(probe.initial_delay_seconds, 0)).await;
        let mut clock = tokio::time::interval(period);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let Some(verdict) = counter.step(self.attempt(kind, probe).await) else { continue };
            if self.host.verdicts.set(&self.id, kind, verdict) {
                self.waker.wake();
            }
            let deadly = !verdict && kind != ProbeKind::Readiness;
            if one || deadly {
                return;
            }
        }
    }

    async fn initial_delay(&self, delay: Duration) {
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
        let since = Duration::from_nanos(u64::try_from(now - self.started_at).unwrap_or_default());
        tokio::time::sleep(delay.saturating_sub(since)).await;
    }

    async fn attempt(&self, kind: ProbeKind, probe: &Probe) -> Outcome {
        let mut error = String::new();
        for _ in 0..TRIES {
            match attempt(&self.host, &self.container, &self.id, &self.address, probe).await {
                Ok((outcome, output)) => {
                    if outcome == Outcome::Failure {
                        self.tell("Unhealthy", format!("{} probe failed: {output}", kind.name()));
                    }
                    return outcome;
                }
                Err(why) => error = why,
            }
        }
        self.tell("Unhealthy", format!("{} probe errored and resulted in unknown state: {error}", kind.name()));
        Outcome::Unknown
    }

    fn tell(&self, reason: &str, message: String) {
        let reference = facts::container_reference(&self.pod, self.role, &self.container.name);
        self.host.recorder.record(reference, EventType::Warning, reason, message);
    }
}
