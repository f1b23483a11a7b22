//! What to do about a pod: from what it should be and what the runtime has, to what to kill and to start. Pure.
//!
//! The decisions are those of Kubernetes' `computePodActions`.

use super::{
    facts::{self, Role},
    verdicts::{ProbeKind, Verdicts},
    view::{Container as Seen, Phase, View},
};
use k8s_openapi::api::core::v1::{Container, Pod};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KillReason {
    Changed,
    Liveness,
    Startup,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kill {
    pub id: String,
    pub name: String,
    pub reason: KillReason,
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// All containers and the sandbox are stopped first.
    pub kill_pod: bool,
    /// A sandbox is made, with this attempt number.
    pub create_sandbox: Option<u32>,
    pub kill: Vec<Kill>,
    /// In this order.
    pub start: Vec<(Role, String)>,
}

/// One line an action, in the order in which they are done.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kill_pod {
            writeln!(f, "kill pod")?;
        }
        for kill in &self.kill {
            writeln!(f, "kill {} ({}): {}", kill.name, kill.id, kill.message)?;
        }
        if let Some(attempt) = self.create_sandbox {
            writeln!(f, "create sandbox, attempt {attempt}")?;
        }
        for (role, name) in &self.start {
            writeln!(f, "start {role:?} {name}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Nothing runs and nothing will: the pod has ended.
    pub(super) fn ends_pod(&self) -> bool {
        self.kill_pod && self.create_sandbox.is_none() && self.start.is_empty()
    }
}

/// Whether a new sandbox is needed, and which attempt it is.
pub(super) fn needs_sandbox(pod: &Pod, view: &View) -> Option<u32> {
    let Some(newest) = view.sandbox() else { return Some(0) };
    let ready = view.sandboxes.iter().filter(|sandbox| sandbox.ready).count();
    let network_changed = newest.host_network != facts::host_network(pod);
    let no_address = !facts::host_network(pod) && newest.ips.is_empty();
    let changed = ready != 1 || !newest.ready || network_changed || no_address;
    changed.then_some(newest.attempt + 1)
}

/// Whether the container is to run (again).
pub(super) fn should_run(pod: &Pod, container: &Container, view: &View) -> bool {
    if facts::is_deleting(pod) {
        return false;
    }
    match view.find(&container.name) {
        None => true,
        Some(seen) => match seen.phase {
            Phase::Running => false,
            Phase::Unknown | Phase::Created => true,
            Phase::Exited => facts::restarts_after(pod, container, seen.exit_code),
        },
    }
}

pub(super) fn plan(pod: &Pod, view: &View, verdicts: &Verdicts) -> Plan {
    if let Some(attempt) = needs_sandbox(pod, view) {
        return plan_anew(pod, view, attempt);
    }
    let mut plan = Plan::default();
    for container in facts::ephemeral_containers(pod) {
        if view.find(&container.name).is_none() {
            plan.start.push((Role::Ephemeral, container.name));
        }
    }
    let initialized = plan_init(pod, view, verdicts, &mut plan);
    if plan.kill_pod || !initialized {
        return plan;
    }
    let mut kept = 0;
    let mut starting = 0;
    for container in facts::containers(pod) {
        let Some(seen) = view.find(&container.name).filter(|seen| seen.phase == Phase::Running) else {
            if should_run(pod, container, view) {
                if let Some(seen) = view.find(&container.name).filter(|seen| seen.phase == Phase::Unknown) {
                    plan.kill.push(unknown(seen, "Container"));
                }
                plan.start.push((Role::Regular, container.name.clone()));
                starting += 1;
            }
            continue;
        };
        let Some((mut message, reason)) = fault(container, seen, verdicts, "Container") else {
            kept += 1;
            continue;
        };
        let policy = container.restart_policy.as_deref().unwrap_or(facts::restart_policy(pod));
        if reason == KillReason::Changed || policy != "Never" {
            message.push_str(", will be restarted");
            plan.start.push((Role::Regular, container.name.clone()));
            starting += 1;
        }
        plan.kill.push(Kill { id: seen.id.clone(), name: seen.name.clone(), reason, message });
    }
    if kept == 0 && starting == 0 {
        plan.kill_pod = true;
        plan.start.retain(|(role, _)| *role == Role::Regular);
    }
    plan
}

/// The pod's sandbox is missing or dead: everything begins again in a new one, unless the pod has ended.
fn plan_anew(pod: &Pod, view: &View, attempt: u32) -> Plan {
    let mut plan = Plan { kill_pod: !view.sandboxes.is_empty(), create_sandbox: Some(attempt), ..Plan::default() };
    let never = facts::restart_policy(pod) == "Never";
    if never && attempt != 0 && !view.containers.is_empty() {
        return Plan { kill_pod: true, create_sandbox: None, ..plan };
    }
    let succeeded = |container: &Container| {
        view.find(&container.name).is_some_and(|seen| seen.phase == Phase::Exited && seen.exit_code == 0)
    };
    let once = |container: &Container| {
        container.restart_policy.as_deref().unwrap_or(facts::restart_policy(pod)) == "OnFailure"
    };
    let start: Vec<_> =
        facts::containers(pod).iter().filter(|container| !(once(container) && succeeded(container))).collect();
    let any_created = facts::containers(pod).iter().any(|container| view.find(&container.name).is_some());
    if start.is_empty() && any_created {
        return Plan { kill_pod: true, create_sandbox: None, ..plan };
    }
    match facts::init_containers(pod).first() {
        Some(first) => plan.start.push((Role::Init, first.name.clone())),
        None => plan.start.extend(start.into_iter().map(|container| (Role::Regular, container.name.clone()))),
    }
    plan
}

fn unknown(seen: &Seen, what: &str) -> Kill {
    Kill {
        id: seen.id.clone(),
        name: seen.name.clone(),
        reason: KillReason::Unknown,
        message: format!("{what} is in \"Unknown\" state, try killing it before restart"),
    }
}

/// Why a running container must go, if it must.
fn fault(container: &Container, seen: &Seen, verdicts: &Verdicts, what: &str) -> Option<(String, KillReason)> {
    let name = &container.name;
    if seen.hash != facts::container_hash(container) {
        return Some((format!("{what} {name} definition changed"), KillReason::Changed));
    }
    if verdicts.get(&seen.id, ProbeKind::Liveness) == Some(false) {
        return Some((format!("{what} {name} failed liveness probe"), KillReason::Liveness));
    }
    if verdicts.get(&seen.id, ProbeKind::Startup) == Some(false) {
        return Some((format!("{what} {name} failed startup probe"), KillReason::Startup));
    }
    None
}

/// Plans init containers; true when regular containers may run.
fn plan_init(pod: &Pod, view: &View, verdicts: &Verdicts, plan: &mut Plan) -> bool {
    let inits = facts::init_containers(pod);
    if inits.is_empty() {
        return true;
    }
    let begun = |container: &Container| {
        view.find(&container.name).is_some_and(|seen| matches!(seen.phase, Phase::Created | Phase::Running))
    };
    let mut initialized = facts::containers(pod).iter().any(begun);
    // From the last to the first: the newest one that exists tells how far the pod came.
    let mut previously = initialized;
    let mut start: Vec<usize> = Vec::new();
    for (i, container) in inits.iter().enumerate().rev() {
        let sidecar = facts::is_sidecar(container);
        let Some(seen) = view.find(&container.name) else {
            if previously && sidecar {
                start.push(i);
            }
            continue;
        };
        if previously && !sidecar {
            continue;
        }
        match seen.phase {
            Phase::Created => start.push(i),
            Phase::Running if !sidecar => {}
            Phase::Running => {
                let startup = verdicts.get(&seen.id, ProbeKind::Startup);
                if container.startup_probe.is_some() && startup.is_none() {
                    previously = true;
                    continue;
                }
                let fault = fault(container, seen, verdicts, "Init container");
                if startup != Some(false) {
                    if i + 1 == inits.len() {
                        initialized = true;
                    } else if !previously {
                        start.push(i + 1);
                    }
                }
                if let Some((message, reason)) = fault {
                    plan.kill.push(Kill { id: seen.id.clone(), name: seen.name.clone(), reason, message });
                    start.push(i);
                }
            }
            Phase::Exited if sidecar => start.push(i),
            Phase::Exited if seen.exit_code == 0 => {
                if i + 1 == inits.len() {
                    initialized = true;
                } else {
                    start.push(i + 1);
                }
            }
            Phase::Exited | Phase::Unknown => {
                let restarts = match seen.phase {
                    Phase::Exited => restarts_init(pod, container, seen.exit_code),
                    _ => sidecar || facts::restart_policy(pod) != "Never",
                };
                if !restarts {
                    plan.kill_pod = true;
                    plan.start.clear();
                    return false;
                }
                if seen.phase == Phase::Unknown {
                    plan.kill.push(unknown(seen, "Init container"));
                }
                start.push(i);
            }
        }
        previously = true;
    }
    if !previously {
        start.push(0);
    }
    start.reverse();
    plan.start.extend(start.into_iter().map(|i| (Role::Init, inits[i].name.clone())));
    initialized
}

/// An init container that failed is tried again unless the pod never restarts anything.
fn restarts_init(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    match container.restart_policy.is_some() {
        true => facts::restarts_after(pod, container, exit_code),
        false => facts::restart_policy(pod) != "Never",
    }
}
