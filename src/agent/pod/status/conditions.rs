//! A pod's conditions: the agent's own, and those that others have set.

use super::Inputs;
use crate::pod::{facts, plan};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

const OWN: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Status, reason and message.
type Judgement = (bool, Option<&'static str>, Option<String>);

pub(super) fn conditions(pod: &Pod, inputs: &Inputs<'_>, all: &[&ContainerStatus], phase: &str) -> Vec<PodCondition> {
    let foreign = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut out: Vec<PodCondition> =
        foreign.filter(|condition| !OWN.contains(&condition.type_.as_str())).cloned().collect();
    let sandbox = plan::needs_sandbox(pod, inputs.view).is_none();
    let containers_ready = containers_ready(pod, all, phase);
    let ready = match containers_ready.0 {
        false => containers_ready.clone(),
        true => gates_ready(pod, &out),
    };
    let judged = [
        (OWN[0], (sandbox, None, None)),
        (OWN[1], initialized(pod, all, phase)),
        (OWN[2], ready),
        (OWN[3], containers_ready),
        (OWN[4], (true, None, None)),
    ];
    for (type_, (good, reason, message)) in judged {
        let status = if good { "True" } else { "False" };
        let old = inputs.old.conditions.iter().flatten().find(|condition| condition.type_ == type_);
        let since = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
        out.push(PodCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            message,
            last_transition_time: Some(since.unwrap_or(Time(inputs.now))),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        });
    }
    out
}

fn find<'a>(all: &[&'a ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    all.iter().find(|status| status.name == name).copied()
}

/// Names as Go prints a list of them.
fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn containers_ready(pod: &Pod, all: &[&ContainerStatus], phase: &str) -> Judgement {
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let sidecars = facts::init_containers(pod).iter().filter(|container| facts::is_sidecar(container));
    for container in sidecars.chain(facts::containers(pod)) {
        match find(all, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase {
        "Succeeded" if unknown.is_empty() => return (false, Some("PodCompleted"), None),
        "Failed" => return (false, Some("PodFailed"), None),
        _ => {}
    }
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!("containers with unknown status: {}", listed(&unknown)));
    }
    if !unready.is_empty() {
        messages.push(format!("containers with unready status: {}", listed(&unready)));
    }
    match messages.is_empty() {
        true => (true, None, None),
        false => (false, Some("ContainersNotReady"), Some(messages.join(", "))),
    }
}

fn gates_ready(pod: &Pod, conditions: &[PodCondition]) -> Judgement {
    let mut messages = Vec::new();
    for gate in facts::spec(pod).readiness_gates.iter().flatten() {
        let type_ = &gate.condition_type;
        match conditions.iter().find(|condition| &condition.type_ == type_) {
            None => messages.push(format!("corresponding condition of pod readiness gate {type_:?} does not exist.")),
            Some(condition) if condition.status != "True" => messages
                .push(format!("the status of pod readiness gate {type_:?} is not \"True\", but {}", condition.status)),
            Some(_) => {}
        }
    }
    match messages.is_empty() {
        true => (true, None, None),
        false => (false, Some("ReadinessGatesNotReady"), Some(messages.join(", "))),
    }
}

fn initialized(pod: &Pod, all: &[&ContainerStatus], phase: &str) -> Judgement {
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in facts::init_containers(pod) {
        match find(all, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) => {
                let done = if facts::is_sidecar(container) { status.started == Some(true) } else { status.ready };
                if !done {
                    incomplete.push(container.name.as_str());
                }
            }
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return (true, Some("PodCompleted"), None);
    }
    let begun = |status: &&ContainerStatus| {
        let state = status.state.clone().unwrap_or_default();
        let last = status.last_state.clone().unwrap_or_default();
        state.running.is_some() || state.terminated.is_some() || last.terminated.is_some()
    };
    if facts::containers(pod).iter().filter_map(|container| find(all, &container.name)).any(|status| begun(&status)) {
        return (true, None, None);
    }
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!("containers with unknown status: {}", listed(&unknown)));
    }
    if !incomplete.is_empty() {
        messages.push(format!("containers with incomplete status: {}", listed(&incomplete)));
    }
    match messages.is_empty() {
        true => (true, None, None),
        false => (false, Some("ContainersNotInitialized"), Some(messages.join(", "))),
    }
}
