//! A pod's phase, by Kubernetes' `getPhase`.

use crate::pod::{
    facts,
    view::{Phase, View},
};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

/// What a container's status amounts to.
enum Sort {
    Running,
    /// Ended, and whether it runs again.
    Stopped {
        code: i32,
        restarts: bool,
    },
    Waiting,
    Unknown,
}

fn sort(pod: &Pod, container: &Container, statuses: &[ContainerStatus]) -> Sort {
    let Some(status) = statuses.iter().find(|status| status.name == container.name) else { return Sort::Unknown };
    let state = status.state.clone().unwrap_or_default();
    let ended = |code: i32| Sort::Stopped { code, restarts: facts::restarts_after(pod, container, code) };
    if state.running.is_some() {
        return Sort::Running;
    }
    if let Some(terminated) = state.terminated {
        return ended(terminated.exit_code);
    }
    match status.last_state.as_ref().and_then(|last| last.terminated.as_ref()) {
        Some(last) if state.waiting.is_some() => ended(last.exit_code),
        _ if state.waiting.is_some() => Sort::Waiting,
        _ => Sort::Unknown,
    }
}

pub(super) fn phase(
    pod: &Pod,
    view: &View,
    regular: &[ContainerStatus],
    init: &[ContainerStatus],
    ended: bool,
) -> &'static str {
    let (mut pending_init, mut pending_sidecars, mut failed_for_good) = (0, 0, 0);
    let (mut unknown, mut running, mut waiting) = (0, 0, 0);
    for container in facts::init_containers(pod) {
        let sidecar = facts::is_sidecar(container);
        match (sidecar, sort(pod, container, init)) {
            (false, Sort::Running | Sort::Waiting | Sort::Unknown) => pending_init += 1,
            (false, Sort::Stopped { code: 0, .. }) => {
                let over = init.iter().find(|status| status.name == container.name);
                let over =
                    over.and_then(|status| status.state.as_ref()).is_some_and(|state| state.terminated.is_some());
                pending_init += usize::from(!over);
            }
            (false, Sort::Stopped { .. }) => {
                let again = match container.restart_policy.is_some() {
                    true => {
                        facts::restart_policy(pod) != "Never" || container.restart_policy.as_deref() != Some("Never")
                    }
                    false => facts::restart_policy(pod) != "Never",
                };
                failed_for_good += usize::from(!again);
                pending_init += usize::from(again);
            }
            (true, Sort::Running) => {
                let started = init.iter().any(|status| status.name == container.name && status.started == Some(true));
                pending_sidecars += usize::from(!started);
                running += 1;
            }
            (true, Sort::Stopped { .. }) => {}
            (true, Sort::Waiting) => {
                pending_sidecars += 1;
                waiting += 1;
            }
            (true, Sort::Unknown) => {
                pending_sidecars += 1;
                unknown += 1;
            }
        }
    }
    let (mut stopped, mut succeeded, mut restarting) = (0, 0, 0);
    for container in facts::containers(pod) {
        match sort(pod, container, regular) {
            Sort::Running => running += 1,
            Sort::Waiting => waiting += 1,
            Sort::Unknown => unknown += 1,
            Sort::Stopped { code, restarts } => {
                stopped += 1;
                succeeded += usize::from(code == 0);
                restarting += usize::from(restarts);
            }
        }
    }
    if failed_for_good > 0 {
        return "Failed";
    }
    let any_regular_active = facts::containers(pod).iter().any(|container| {
        view.find(&container.name).is_some_and(|seen| matches!(seen.phase, Phase::Running | Phase::Created))
    });
    let result = if stopped == succeeded { "Succeeded" } else { "Failed" };
    if pending_init + pending_sidecars > 0 && !any_regular_active && stopped == 0 {
        return "Pending";
    }
    if waiting > 0 {
        return "Pending";
    }
    if running > 0 && unknown == 0 {
        return "Running";
    }
    if running == 0 && stopped > 0 && unknown == 0 {
        return match () {
            () if ended && !facts::is_static(pod) => result,
            () if restarting > 0 => "Running",
            () => result,
        };
    }
    "Pending"
}
