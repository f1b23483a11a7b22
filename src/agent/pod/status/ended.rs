//! What is told of containers that left no trace when their pod has ended: that they failed, since nobody knows better.

use super::terminated_unknown;
use crate::pod::facts;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

const LOST: &str = "The container could not be located when the pod was terminated";

/// Containers of a pod that came as far as them; those it never came to stay waiting.
pub(super) fn settle(pod: &Pod, init: &mut [ContainerStatus], regular: &mut [ContainerStatus]) {
    if initialized(pod, init, regular) {
        regular.iter_mut().for_each(fail);
    }
    let reached = init.iter().rposition(has_begun).unwrap_or(0);
    init.iter_mut().take(reached + 1).for_each(fail);
}

fn fail(status: &mut ContainerStatus) {
    let has_ended = status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    if !has_ended {
        status.state = Some(terminated_unknown(LOST));
    }
}

fn has_begun(status: &ContainerStatus) -> bool {
    let waits = status.state.as_ref().is_none_or(|state| state.waiting.is_some());
    !waits || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn initialized(pod: &Pod, init: &[ContainerStatus], regular: &[ContainerStatus]) -> bool {
    let Some(last) = facts::init_containers(pod).last() else { return true };
    if regular.iter().any(has_begun) {
        return true;
    }
    let Some(status) = init.iter().find(|status| status.name == last.name) else { return false };
    let states = [status.state.as_ref(), status.last_state.as_ref()];
    match facts::is_sidecar(last) {
        true => status.state.as_ref().is_some_and(|state| state.running.is_some()) && status.started == Some(true),
        false => {
            states.iter().flatten().any(|state| state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0))
        }
    }
}
