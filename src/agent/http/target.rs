//! Which pod and which of its containers a request means.

use crate::pod::{
    Pods, facts,
    view::{self, Container, Phase, View},
};
use k8s_openapi::api::core::v1::Pod;
use mk8s_api::status::Status;
use std::sync::Arc;

pub(super) struct Target {
    pub pod: Arc<Pod>,
    pub view: View,
}

pub(super) async fn pod(pods: &Pods, namespace: &str, name: &str) -> Result<Target, Status> {
    let missing = || Status::failure(404, "NotFound", format!("pod \"{namespace}/{name}\" not found"));
    let pod = pods.find(namespace, name).ok_or_else(missing)?;
    let view = view::observe(&pods.host().runtime, facts::uid(&pod)).await;
    let view = view.map_err(|error| Status::internal(error.description()))?;
    Ok(Target { pod, view })
}

impl Target {
    pub(super) fn check_container(&self, name: &str) -> Result<(), Status> {
        match facts::container(&self.pod, name) {
            Some(_) => Ok(()),
            None => {
                let message = format!("container {name} is not valid for pod {}", facts::name(&self.pod));
                Err(Status::bad_request(message))
            }
        }
    }

    /// The container that runs now.
    pub(super) fn running(&self, name: &str) -> Result<&Container, Status> {
        self.check_container(name)?;
        let running = self.view.find(name).filter(|seen| seen.phase == Phase::Running);
        running.ok_or_else(|| {
            let message = format!("container not found (\"{name}\")");
            Status::failure(500, "InternalError", format!("unable to upgrade connection: {message}"))
        })
    }

    /// The container whose log is meant, or why there is none.
    pub(super) fn logged(&self, name: &str, previous: bool) -> Result<&Container, Status> {
        self.check_container(name)?;
        let pod = facts::name(&self.pod);
        let mut seen = self.view.containers.iter().filter(|seen| seen.name == name && seen.phase != Phase::Created);
        if previous {
            let all: Vec<&Container> = seen.collect();
            let running = all.first().is_some_and(|newest| newest.phase == Phase::Running);
            let found = if running || all.len() > 1 { all.get(1) } else { self.last_if_waiting(name).and(all.first()) };
            return found.copied().ok_or_else(|| {
                Status::bad_request(format!("previous terminated container \"{name}\" in pod \"{pod}\" not found"))
            });
        }
        seen.next().ok_or_else(|| {
            let why = match self.waiting_reason(name).as_deref() {
                Some("ErrImagePull") => "trying and failing to pull image".to_owned(),
                Some("ImagePullBackOff") => "image can't be pulled".to_owned(),
                Some(reason) => reason.to_owned(),
                None => "no logs yet".to_owned(),
            };
            Status::bad_request(format!("container \"{name}\" in pod \"{pod}\" is waiting to start: {why}"))
        })
    }

    /// A container that waits for its next run: its last one is the previous one.
    fn last_if_waiting(&self, name: &str) -> Option<()> {
        self.waiting_reason(name).map(drop)
    }

    fn waiting_reason(&self, name: &str) -> Option<String> {
        let status = self.pod.status.as_ref()?;
        let all = status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .chain(&status.ephemeral_container_statuses);
        let found = all.flatten().find(|status| status.name == name)?;
        found.state.as_ref()?.waiting.as_ref()?.reason.clone()
    }
}
