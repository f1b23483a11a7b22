//! CRI v1: sandboxes, containers and images.

use crate::{CriError, socket_channel};
use k8s_cri::v1::{self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient};
use std::{collections::HashMap, path::Path, time::Duration};
use tonic::{Request, transport::Channel};

/// Calls that only look, and small changes.
const QUICK: Duration = Duration::from_secs(20);
/// Calls that start or stop something.
const SLOW: Duration = Duration::from_secs(240);
/// A pull takes as long as the registry; this ends one that hangs.
const PULL: Duration = Duration::from_secs(3600);
/// Answers of lists can be large on full nodes.
const MESSAGE_MAX: usize = 16 << 20;

/// Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

impl Runtime {
    pub fn new(socket: &Path) -> Result<Runtime, CriError> {
        let channel = socket_channel(socket)?;
        Ok(Runtime {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX),
        })
    }

    pub async fn version(&self) -> Result<v1::VersionResponse, CriError> {
        let request = within(QUICK, v1::VersionRequest { version: "v1".into() });
        let answer = self.runtime.clone().version(request).await;
        answer.map(tonic::Response::into_inner).map_err(CriError::rpc("Version"))
    }

    /// The conditions `RuntimeReady` and `NetworkReady`, and what else the runtime says of itself.
    pub async fn status(&self) -> Result<v1::StatusResponse, CriError> {
        let answer = self.runtime.clone().status(within(QUICK, v1::StatusRequest { verbose: false })).await;
        answer.map(tonic::Response::into_inner).map_err(CriError::rpc("Status"))
    }

    pub async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, CriError> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let answer = self.runtime.clone().run_pod_sandbox(within(SLOW, request)).await;
        answer.map(|answer| answer.into_inner().pod_sandbox_id).map_err(CriError::rpc("RunPodSandbox"))
    }

    pub async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let answer = self.runtime.clone().stop_pod_sandbox(within(SLOW, request)).await;
        answer.map(drop).map_err(CriError::rpc("StopPodSandbox"))
    }

    pub async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let answer = self.runtime.clone().remove_pod_sandbox(within(SLOW, request)).await;
        answer.map(drop).map_err(CriError::rpc("RemovePodSandbox"))
    }

    pub async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, CriError> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = self.runtime.clone().pod_sandbox_status(within(QUICK, request)).await;
        let status = answer.map_err(CriError::rpc("PodSandboxStatus"))?.into_inner().status;
        status.ok_or(CriError::Incomplete { call: "PodSandboxStatus", what: "a status" })
    }

    /// The runtime's detailed view of a sandbox (containerd: one entry `info`, JSON with the pid of its process).
    pub async fn sandbox_info(&self, id: &str) -> Result<HashMap<String, String>, CriError> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let answer = self.runtime.clone().pod_sandbox_status(within(QUICK, request)).await;
        answer.map(|answer| answer.into_inner().info).map_err(CriError::rpc("PodSandboxStatus"))
    }

    /// Sandboxes with all of the labels, of every state.
    pub async fn sandboxes(&self, labels: &[(&str, &str)]) -> Result<Vec<v1::PodSandbox>, CriError> {
        let filter = v1::PodSandboxFilter { label_selector: owned(labels), ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        let answer = self.runtime.clone().list_pod_sandbox(within(QUICK, request)).await;
        answer.map(|answer| answer.into_inner().items).map_err(CriError::rpc("ListPodSandbox"))
    }

    pub async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, CriError> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let answer = self.runtime.clone().create_container(within(SLOW, request)).await;
        answer.map(|answer| answer.into_inner().container_id).map_err(CriError::rpc("CreateContainer"))
    }

    pub async fn start_container(&self, id: &str) -> Result<(), CriError> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        let answer = self.runtime.clone().start_container(within(SLOW, request)).await;
        answer.map(drop).map_err(CriError::rpc("StartContainer"))
    }

    /// SIGTERM (or the image's stop signal), then SIGKILL after `grace`.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), CriError> {
        let timeout = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout };
        let answer = self.runtime.clone().stop_container(within(grace.saturating_add(SLOW), request)).await;
        answer.map(drop).map_err(CriError::rpc("StopContainer"))
    }

    pub async fn remove_container(&self, id: &str) -> Result<(), CriError> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        let answer = self.runtime.clone().remove_container(within(SLOW, request)).await;
        answer.map(drop).map_err(CriError::rpc("RemoveContainer"))
    }

    /// Containers with all of the labels, of every state.
    pub async fn containers(&self, labels: &[(&str, &str)]) -> Result<Vec<v1::Container>, CriError> {
        let filter = v1::ContainerFilter { label_selector: owned(labels), ..Default::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        let answer = self.runtime.clone().list_containers(within(QUICK, request)).await;
        answer.map(|answer| answer.into_inner().containers).map_err(CriError::rpc("ListContainers"))
    }

    pub async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, CriError> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = self.runtime.clone().container_status(within(QUICK, request)).await;
        let status = answer.map_err(CriError::rpc("ContainerStatus"))?.into_inner().status;
        status.ok_or(CriError::Incomplete { call: "ContainerStatus", what: "a status" })
    }

    pub async fn update_resources(&self, id: &str, linux: v1::LinuxContainerResources) -> Result<(), CriError> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(linux),
            ..Default::default()
        };
        let answer = self.runtime.clone().update_container_resources(within(QUICK, request)).await;
        answer.map(drop).map_err(CriError::rpc("UpdateContainerResources"))
    }

    pub async fn reopen_log(&self, id: &str) -> Result<(), CriError> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        let answer = self.runtime.clone().reopen_container_log(within(QUICK, request)).await;
        answer.map(drop).map_err(CriError::rpc("ReopenContainerLog"))
    }

    /// Runs a command to its end. `limit` zero: no limit.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<v1::ExecSyncResponse, CriError> {
        let timeout = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout };
        let mut request = Request::new(request);
        if !limit.is_zero() {
            // The runtime ends the command itself; this is for a runtime that does not answer.
            request.set_timeout(limit.saturating_add(Duration::from_secs(10)));
        }
        let answer = self.runtime.clone().exec_sync(request).await;
        answer.map(tonic::Response::into_inner).map_err(CriError::rpc("ExecSync"))
    }

    /// The address at which the runtime's streaming server runs a command.
    pub async fn exec_url(&self, request: v1::ExecRequest) -> Result<String, CriError> {
        let answer = self.runtime.clone().exec(within(QUICK, request)).await;
        answer.map(|answer| answer.into_inner().url).map_err(CriError::rpc("Exec"))
    }

    pub async fn attach_url(&self, request: v1::AttachRequest) -> Result<String, CriError> {
        let answer = self.runtime.clone().attach(within(QUICK, request)).await;
        answer.map(|answer| answer.into_inner().url).map_err(CriError::rpc("Attach"))
    }

    pub async fn port_forward_url(&self, sandbox: &str) -> Result<String, CriError> {
        let request = v1::PortForwardRequest { pod_sandbox_id: sandbox.to_owned(), port: Vec::new() };
        let answer = self.runtime.clone().port_forward(within(QUICK, request)).await;
        answer.map(|answer| answer.into_inner().url).map_err(CriError::rpc("PortForward"))
    }

    /// CPU, memory and writable layer of every running container.
    pub async fn container_stats(&self) -> Result<Vec<v1::ContainerStats>, CriError> {
        let request = within(QUICK, v1::ListContainerStatsRequest { filter: None });
        let answer = self.runtime.clone().list_container_stats(request).await;
        answer.map(|answer| answer.into_inner().stats).map_err(CriError::rpc("ListContainerStats"))
    }

    pub async fn images(&self) -> Result<Vec<v1::Image>, CriError> {
        let answer = self.images.clone().list_images(within(QUICK, v1::ListImagesRequest { filter: None })).await;
        answer.map(|answer| answer.into_inner().images).map_err(CriError::rpc("ListImages"))
    }

    /// `None` when the image is not on this node.
    pub async fn image(&self, reference: &str) -> Result<Option<v1::Image>, CriError> {
        let request = v1::ImageStatusRequest { image: Some(spec(reference)), verbose: false };
        let answer = self.images.clone().image_status(within(QUICK, request)).await;
        answer.map(|answer| answer.into_inner().image).map_err(CriError::rpc("ImageStatus"))
    }

    /// Pulls an image; what it is known by afterwards.
    pub async fn pull_image(
        &self,
        reference: &str,
        auth: Option<v1::AuthConfig>,
        sandbox_config: Option<v1::PodSandboxConfig>,
    ) -> Result<String, CriError> {
        let request = v1::PullImageRequest { image: Some(spec(reference)), auth, sandbox_config };
        let answer = self.images.clone().pull_image(within(PULL, request)).await;
        answer.map(|answer| answer.into_inner().image_ref).map_err(CriError::rpc("PullImage"))
    }

    pub async fn remove_image(&self, id: &str) -> Result<(), CriError> {
        let request = v1::RemoveImageRequest { image: Some(spec(id)) };
        let answer = self.images.clone().remove_image(within(SLOW, request)).await;
        answer.map(drop).map_err(CriError::rpc("RemoveImage"))
    }

    pub async fn image_filesystems(&self) -> Result<v1::ImageFsInfoResponse, CriError> {
        let answer = self.images.clone().image_fs_info(within(QUICK, v1::ImageFsInfoRequest {})).await;
        answer.map(tonic::Response::into_inner).map_err(CriError::rpc("ImageFsInfo"))
    }
}

fn spec(reference: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: reference.to_owned(), ..Default::default() }
}

fn owned(labels: &[(&str, &str)]) -> HashMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
