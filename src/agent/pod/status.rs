//! A pod's status as Kubernetes reports it: from the pod, what the runtime has, and what its worker knows. Pure.

mod conditions;
mod ended;
mod phase;

use super::{
    facts::{self, Role},
    plan, resources,
    verdicts::{ProbeKind, Verdicts},
    view::{Container as Seen, Phase, View},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, ContainerUser, HostIP, LinuxContainerUser, Pod, PodIP, PodStatus, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use std::{collections::HashMap, net::IpAddr};

/// Why a container that should run does not, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

/// What the status is made from besides the pod.
pub struct Inputs<'a> {
    pub view: &'a View,
    pub verdicts: &'a Verdicts,
    /// By container; only for those that should run.
    pub waiting: &'a HashMap<String, Waiting>,
    /// The last status that was made, or the server's.
    pub old: &'a PodStatus,
    pub node_ip: IpAddr,
    pub now: Timestamp,
    /// When the agent first saw the pod.
    pub start_time: Timestamp,
    /// Nothing will run any more, whatever the restart policy says.
    pub ended: bool,
    /// Why the pod as a whole failed, when something other than its containers decided it.
    pub verdict: Option<&'a Waiting>,
}

pub fn generate(pod: &Pod, inputs: &Inputs<'_>) -> PodStatus {
    let has_init = !facts::init_containers(pod).is_empty();
    let mut init = statuses(
        pod,
        inputs,
        facts::init_containers(pod),
        Role::Init,
        inputs.old.init_container_statuses.as_ref(),
        has_init,
    );
    let mut regular =
        statuses(pod, inputs, facts::containers(pod), Role::Regular, inputs.old.container_statuses.as_ref(), has_init);
    let ephemeral_containers = facts::ephemeral_containers(pod);
    let ephemeral = statuses(
        pod,
        inputs,
        &ephemeral_containers,
        Role::Ephemeral,
        inputs.old.ephemeral_container_statuses.as_ref(),
        has_init,
    );
    // A pod that was turned away has no containers to tell of.
    let rejected = inputs.verdict.is_some() && inputs.view.sandboxes.is_empty();
    if inputs.ended && !rejected {
        ended::settle(pod, &mut init, &mut regular);
    }
    let decided = inputs.verdict.map(|_| "Failed".to_owned());
    let settled = [inputs.old.phase.as_deref(), pod.status.as_ref().and_then(|status| status.phase.as_deref())];
    let settled =
        settled.into_iter().flatten().find(|phase| matches!(*phase, "Succeeded" | "Failed")).map(str::to_owned);
    let phase =
        decided.or(settled).unwrap_or_else(|| phase::phase(pod, inputs.view, &regular, &init, inputs.ended).to_owned());
    let unfinished = !matches!(phase.as_str(), "Succeeded" | "Failed");
    let phase = if inputs.ended && unfinished && !facts::is_static(pod) { "Failed".to_owned() } else { phase };
    let api = pod.status.clone().unwrap_or_default();
    let same_phase = inputs.old.phase.as_deref() == Some(&phase);
    let (mut reason, mut message) = match same_phase {
        true => (inputs.old.reason.clone().or(api.reason), inputs.old.message.clone().or(api.message)),
        false => (None, None),
    };
    if let Some(verdict) = inputs.verdict {
        (reason, message) = (Some(verdict.reason.clone()), Some(verdict.message.clone()));
    }
    let all: Vec<&ContainerStatus> = init.iter().chain(&regular).collect();
    let conditions = conditions::conditions(pod, inputs, &all, &phase);
    let host_ip = inputs.node_ip.to_string();
    let mut ips = match facts::host_network(pod) {
        true => vec![host_ip.clone()],
        false => inputs.view.ips(),
    };
    if ips.is_empty() {
        // The address stays known after the sandbox is gone.
        ips = inputs.old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    }
    PodStatus {
        phase: Some(phase),
        reason,
        message,
        conditions: Some(conditions),
        host_ip: Some(host_ip.clone()),
        host_ips: Some(vec![HostIP { ip: host_ip }]),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        start_time: Some(Time(inputs.start_time)),
        qos_class: Some(resources::qos_class(pod).name().to_owned()),
        observed_generation: pod.metadata.generation,
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: (!regular.is_empty()).then_some(regular),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        ..PodStatus::default()
    }
}

fn waiting(reason: &str, message: Option<&str>) -> ContainerState {
    let message = message.filter(|message| !message.is_empty()).map(str::to_owned);
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    }
}

fn terminated_unknown(message: &str) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some(message.to_owned()),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

fn statuses(
    pod: &Pod,
    inputs: &Inputs<'_>,
    containers: &[Container],
    role: Role,
    old: Option<&Vec<ContainerStatus>>,
    has_init: bool,
) -> Vec<ContainerStatus> {
    let one = |container: &Container| {
        let old = old.into_iter().flatten().find(|status| status.name == container.name);
        status(pod, inputs, container, role, old, has_init)
    };
    let mut all: Vec<ContainerStatus> = containers.iter().map(one).collect();
    if role != Role::Init {
        all.sort_by(|a, b| a.name.cmp(&b.name));
    }
    all
}

fn status(
    pod: &Pod,
    inputs: &Inputs<'_>,
    container: &Container,
    role: Role,
    old: Option<&ContainerStatus>,
    has_init: bool,
) -> ContainerStatus {
    let mut seen = inputs.view.containers.iter().filter(|seen| seen.name == container.name);
    let mut out = match seen.next() {
        Some(newest) => of_seen(pod, container, newest, old),
        None => of_absent(pod, container, old, if has_init { "PodInitializing" } else { "ContainerCreating" }),
    };
    if let Some(previous) = seen.next() {
        out.last_state = Some(state_of(previous, None));
    }
    let done = role == Role::Init
        && inputs.view.find(&container.name).is_some_and(|seen| seen.phase == Phase::Exited && seen.exit_code == 0)
        && !facts::is_sidecar(container);
    if !done
        && plan::should_run(pod, container, inputs.view)
        && let Some(why) = inputs.waiting.get(&container.name)
    {
        if out.state.as_ref().is_some_and(|state| state.terminated.is_some()) {
            out.last_state = out.state.take();
        }
        out.state = Some(waiting(&why.reason, Some(&why.message)));
    }
    out.volume_mounts = volume_mounts(container);
    judge(inputs, container, role, &mut out);
    out
}

/// Ready and started, by the probes.
fn judge(inputs: &Inputs<'_>, container: &Container, role: Role, out: &mut ContainerStatus) {
    let running = out.state.as_ref().is_some_and(|state| state.running.is_some());
    let id = out.container_id.as_deref().and_then(|id| id.rsplit("//").next()).unwrap_or_default();
    let verdict = |kind| inputs.verdicts.get(id, kind);
    let plain_init = role == Role::Init && !facts::is_sidecar(container);
    if role == Role::Ephemeral {
        out.ready = false;
        return;
    }
    if plain_init {
        let terminated = out.state.as_ref().and_then(|state| state.terminated.as_ref());
        out.ready = terminated.is_some_and(|terminated| terminated.exit_code == 0);
        out.started = Some(false);
        return;
    }
    let started = running && (container.startup_probe.is_none() || verdict(ProbeKind::Startup) == Some(true));
    out.started = Some(started);
    out.ready = started && (container.readiness_probe.is_none() || verdict(ProbeKind::Readiness) == Some(true));
}

fn of_absent(pod: &Pod, container: &Container, old: Option<&ContainerStatus>, default: &str) -> ContainerStatus {
    let mut out = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waiting(default, None)),
        last_state: Some(ContainerState::default()),
        ..ContainerStatus::default()
    };
    let Some(old) = old else { return out };
    let state = old.state.clone().unwrap_or_default();
    if state.terminated.is_some() {
        return old.clone();
    }
    out.restart_count = old.restart_count;
    out.last_state = old.last_state.clone().or(Some(ContainerState::default()));
    let known_end = out.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    if state.running.is_some() && !known_end {
        out.last_state = Some(terminated_unknown(
            "The container could not be located when the pod was deleted.  The container used to be Running",
        ));
        if !facts::is_deleting(pod) {
            out.restart_count += 1;
        }
    }
    out
}

fn of_seen(pod: &Pod, container: &Container, seen: &Seen, old: Option<&ContainerStatus>) -> ContainerStatus {
    let old_last = old.and_then(|old| {
        let same = old.container_id.as_deref() == Some(&full_id(&seen.id));
        let ended = old.state.clone().filter(|state| state.terminated.is_some());
        if same { old.last_state.clone() } else { ended.or(old.last_state.clone()) }
    });
    let user = seen.user.as_ref().map(|user| ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: user.uid,
            gid: user.gid,
            supplemental_groups: (!user.supplemental_groups.is_empty()).then(|| user.supplemental_groups.clone()),
        }),
    });
    let resources = container.resources.clone().or_else(|| Some(Default::default()));
    ContainerStatus {
        name: container.name.clone(),
        image: if seen.image.is_empty() { container.image.clone().unwrap_or_default() } else { seen.image.clone() },
        image_id: seen.image_ref.clone(),
        container_id: Some(full_id(&seen.id)),
        restart_count: seen.restart_count.max(old.map_or(0, |old| match facts::is_deleting(pod) {
            true => 0,
            false => old.restart_count,
        })),
        state: Some(state_of(seen, old)),
        last_state: old_last.or(Some(ContainerState::default())),
        allocated_resources: container.resources.as_ref().and_then(|resources| resources.requests.clone()),
        resources,
        user,
        ..ContainerStatus::default()
    }
}

pub fn full_id(id: &str) -> String {
    format!("containerd://{id}")
}

fn time(nanoseconds: i64) -> Option<Time> {
    if nanoseconds <= 0 {
        // Kubernetes shows the beginning of time for what never happened.
        return Some(Time(Timestamp::UNIX_EPOCH));
    }
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok().map(Time)
}

fn state_of(seen: &Seen, old: Option<&ContainerStatus>) -> ContainerState {
    match seen.phase {
        Phase::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(seen.started_at) }),
            ..ContainerState::default()
        },
        Phase::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                container_id: Some(full_id(&seen.id)),
                exit_code: seen.exit_code,
                reason: Some(seen.reason.clone()).filter(|reason| !reason.is_empty()),
                message: Some(seen.message.clone()).filter(|message| !message.is_empty()),
                started_at: time(seen.started_at),
                finished_at: time(seen.finished_at),
                signal: None,
            }),
            ..ContainerState::default()
        },
        Phase::Unknown if old.and_then(|old| old.state.as_ref()).is_some_and(|state| state.running.is_some()) => {
            terminated_unknown("The container could not be located when the pod was terminated")
        }
        Phase::Created | Phase::Unknown => {
            ContainerState { waiting: Some(ContainerStateWaiting::default()), ..ContainerState::default() }
        }
    }
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let one = |mount: &k8s_openapi::api::core::v1::VolumeMount| {
        let read_only = mount.read_only.unwrap_or_default();
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: read_only.then_some(true),
            recursive_read_only: read_only.then(|| "Disabled".to_owned()),
            ..VolumeMountStatus::default()
        }
    };
    Some(mounts.iter().map(one).collect())
}
