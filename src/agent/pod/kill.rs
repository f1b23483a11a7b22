//! Stopping containers: preStop, then the signal, then the end of the grace period.

use super::{
    facts::{self, Role},
    hooks,
    host::Host,
    view::{Container as Seen, View},
};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use mk8s_client::events::EventType;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Whoever has to go gets at least this long.
const GRACE_MIN: Duration = Duration::from_secs(2);

pub(super) struct Victim<'a> {
    pub id: &'a str,
    /// Its definition, where it is still known.
    pub container: Option<&'a Container>,
    pub role: Role,
    pub message: String,
}

/// The grace period of a pod: of its deletion, or of its spec.
pub(super) fn grace_of(pod: &Pod) -> Duration {
    let asked = pod.metadata.deletion_grace_period_seconds;
    let seconds = asked.or(facts::spec(pod).termination_grace_period_seconds).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

pub(super) async fn container(host: &Host, pod: &Pod, victim: &Victim<'_>, grace: Duration, address: Option<&str>) {
    let name = victim.container.map_or(victim.id, |container| container.name.as_str());
    host.recorder.record(
        facts::container_reference(pod, victim.role, name),
        EventType::Normal,
        "Killing",
        victim.message.clone(),
    );
    let begin = Instant::now();
    let hook = victim
        .container
        .and_then(|container| container.lifecycle.as_ref()?.pre_stop.as_ref().map(|hook| (container, hook)));
    if let Some((container, hook)) = hook
        && !grace.is_zero()
    {
        let run = hooks::run(host, container, victim.id, address, hook);
        match tokio::time::timeout(grace, run).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(pod = facts::format(pod), container = name, error, "preStop failed");
                let reference = facts::container_reference(pod, victim.role, name);
                host.recorder.record(reference, EventType::Warning, "FailedPreStopHook", "PreStopHook failed".into());
            }
            Err(_) => tracing::debug!(pod = facts::format(pod), container = name, "preStop did not end in time"),
        }
    }
    let left = grace.saturating_sub(begin.elapsed());
    // Zero asks for the kill at once, as a forced deletion does.
    let left = if grace.is_zero() { Duration::ZERO } else { left.max(GRACE_MIN) };
    if let Err(error) = host.runtime.stop_container(victim.id, left).await
        && !error.is_not_found()
    {
        tracing::warn!(pod = facts::format(pod), container = name, %error, "a container cannot be stopped");
    }
}

/// Stops everything that runs in a pod: sidecars after the others, from the last to the first.
pub(super) async fn all(host: Arc<Host>, pod: Arc<Pod>, view: View, grace: Duration) {
    let begin = Instant::now();
    let address = view.ips().first().cloned();
    let mut sidecars: Vec<(usize, Seen)> = Vec::new();
    let mut others: Vec<Seen> = Vec::new();
    for seen in view.alive() {
        let sidecar = facts::init_containers(&pod).iter().position(|c| facts::is_sidecar(c) && c.name == seen.name);
        match sidecar {
            Some(index) => sidecars.push((index, seen.clone())),
            None => others.push(seen.clone()),
        }
    }
    sidecars.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    let stop = async |seen: &Seen, grace: Duration| {
        let found = facts::container(&pod, &seen.name);
        let (role, definition) =
            found.as_ref().map_or((Role::Regular, None), |(role, container)| (*role, Some(container)));
        let message = format!("Stopping container {}", seen.name);
        container(
            &host,
            &pod,
            &Victim { id: &seen.id, container: definition, role, message },
            grace,
            address.as_deref(),
        )
        .await;
    };
    join_all(others.iter().map(|seen| stop(seen, grace))).await;
    for (_, seen) in &sidecars {
        let left = if grace.is_zero() { grace } else { grace.saturating_sub(begin.elapsed()).max(GRACE_MIN) };
        stop(seen, left).await;
    }
}
