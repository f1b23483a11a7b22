//! What the runtime has of one pod.

use super::labels;
use mk8s_cri::{CriError, Runtime, v1};
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Created,
    Running,
    Exited,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    /// Nanoseconds since 1970, as all times of the runtime.
    pub created_at: i64,
    pub ips: Vec<String>,
    pub host_network: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub sandbox: String,
    pub restart_count: i32,
    pub phase: Phase,
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub image: String,
    pub image_ref: String,
    /// Of the definition it was made from.
    pub hash: String,
    pub log_path: String,
    pub resources: Option<v1::LinuxContainerResources>,
    pub user: Option<v1::LinuxContainerUser>,
    pub annotations: HashMap<String, String>,
}

/// Both lists newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    pub sandboxes: Vec<Sandbox>,
    pub containers: Vec<Container>,
}

impl View {
    /// The newest container of a name.
    pub fn find(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The sandbox pods can be started in.
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        let mut ready = self.sandboxes.iter().filter(|sandbox| sandbox.ready);
        ready.next()
    }

    pub fn ips(&self) -> Vec<String> {
        self.sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default()
    }

    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| container.phase == Phase::Running)
    }

    /// What might still run. What was made and never started does not: it goes with its sandbox, and the runtime has
    /// nothing of it to stop.
    pub fn alive(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|container| matches!(container.phase, Phase::Running | Phase::Unknown))
    }
}

/// Asks the runtime. What disappears between two questions is left out.
pub async fn observe(runtime: &Runtime, uid: &str) -> Result<View, CriError> {
    let selector = [(labels::POD_UID, uid)];
    let (sandboxes, containers) = tokio::try_join!(runtime.sandboxes(&selector), runtime.containers(&selector))?;
    let mut view = View::default();
    for sandbox in sandboxes {
        match runtime.sandbox_status(&sandbox.id).await {
            Ok(status) => view.sandboxes.push(sandbox_of(status)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    for container in containers {
        match runtime.container_status(&container.id).await {
            Ok(status) => view.containers.push(container_of(status, container.pod_sandbox_id)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    view.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created_at)));
    view.containers.sort_by_key(|container| std::cmp::Reverse((container.restart_count, container.created_at)));
    Ok(view)
}

fn sandbox_of(status: v1::PodSandboxStatus) -> Sandbox {
    let options = status.linux.and_then(|linux| linux.namespaces).and_then(|namespaces| namespaces.options);
    let host_network = options.is_some_and(|options| options.network == v1::NamespaceMode::Node as i32);
    let network = status.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|more| more.ip);
    Sandbox {
        id: status.id,
        attempt: status.metadata.map(|metadata| metadata.attempt).unwrap_or_default(),
        ready: status.state == v1::PodSandboxState::SandboxReady as i32,
        created_at: status.created_at,
        ips: [network.ip].into_iter().chain(more).filter(|ip| !ip.is_empty()).collect(),
        host_network,
    }
}

fn container_of(status: v1::ContainerStatus, sandbox: String) -> Container {
    let metadata = status.metadata.unwrap_or_default();
    let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
    let restart_count = annotation(labels::RESTART_COUNT).parse().unwrap_or_else(|_| metadata.attempt.cast_signed());
    Container {
        id: status.id,
        name: metadata.name,
        sandbox,
        restart_count,
        phase: match v1::ContainerState::try_from(status.state) {
            Ok(v1::ContainerState::ContainerCreated) => Phase::Created,
            Ok(v1::ContainerState::ContainerRunning) => Phase::Running,
            Ok(v1::ContainerState::ContainerExited) => Phase::Exited,
            _ => Phase::Unknown,
        },
        created_at: status.created_at,
        started_at: status.started_at,
        finished_at: status.finished_at,
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
        image: status.image.map(|image| image.image).unwrap_or_default(),
        image_ref: status.image_ref,
        hash: annotation(labels::CONTAINER_HASH),
        log_path: status.log_path,
        resources: status.resources.and_then(|resources| resources.linux),
        user: status.user.and_then(|user| user.linux),
        annotations: status.annotations,
    }
}

impl View {
    /// A sandbox that was just made.
    pub fn put_sandbox(&mut self, status: v1::PodSandboxStatus) {
        let fresh = sandbox_of(status);
        self.sandboxes.retain(|sandbox| sandbox.id != fresh.id);
        for sandbox in &mut self.sandboxes {
            sandbox.ready = false;
        }
        self.sandboxes.insert(0, fresh);
    }
}
