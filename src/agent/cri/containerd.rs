//! containerd's own API: events of tasks, images by name, version.

use crate::{CriError, socket_channel};
use containerd_client::{
    events::{TaskDelete, TaskExit, TaskOom, TaskStart},
    services::v1::{
        ListImagesRequest, SubscribeRequest, events_client::EventsClient, images_client::ImagesClient,
        version_client::VersionClient,
    },
    types::Envelope,
};
use futures::{Stream, StreamExt};
use prost::Message;
use std::{path::Path, time::Duration};
use tonic::{Request, metadata::MetadataValue, transport::Channel};

/// Where CRI keeps what it makes.
const NAMESPACE: &str = "k8s.io";

/// Something happened to the main process of a container or sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    Started {
        container: String,
    },
    Exited {
        container: String,
    },
    /// CRI has taken note of the exit and deleted the task.
    Deleted {
        container: String,
    },
    OutOfMemory {
        container: String,
    },
}

impl TaskEvent {
    pub fn container(&self) -> &str {
        match self {
            TaskEvent::Started { container }
            | TaskEvent::Exited { container }
            | TaskEvent::Deleted { container }
            | TaskEvent::OutOfMemory { container } => container,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Containerd {
    pub(crate) channel: Channel,
}

pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}

impl Containerd {
    pub fn new(socket: &Path) -> Result<Containerd, CriError> {
        Ok(Containerd { channel: socket_channel(socket)? })
    }

    /// Answers as soon as containerd does; also a sign of life.
    pub async fn version(&self) -> Result<String, CriError> {
        let mut ask = Request::new(());
        ask.set_timeout(Duration::from_secs(5));
        let answer = VersionClient::new(self.channel.clone()).version(ask).await;
        answer.map(|answer| answer.into_inner().version).map_err(CriError::rpc("Version"))
    }

    /// What happens to tasks from now on. Ends with containerd's connection.
    pub async fn task_events(&self) -> Result<impl Stream<Item = TaskEvent> + Send + use<>, CriError> {
        let filters = vec![format!("namespace=={NAMESPACE},topic~=/tasks/")];
        let mut events = EventsClient::new(self.channel.clone());
        let answer = events.subscribe(request(SubscribeRequest { filters })).await;
        let stream = answer.map_err(CriError::rpc("Subscribe"))?.into_inner();
        // An error ends the stream as its end does: the caller subscribes again and looks at everything.
        let envelopes =
            stream.take_while(|item| futures::future::ready(item.is_ok())).filter_map(|item| async { item.ok() });
        Ok(envelopes.filter_map(|envelope| async move { task_event(&envelope) }))
    }

    /// Images by name, with their digest and labels.
    pub async fn image_names(&self) -> Result<Vec<containerd_client::services::v1::Image>, CriError> {
        let answer =
            ImagesClient::new(self.channel.clone()).list(request(ListImagesRequest { filters: Vec::new() })).await;
        answer.map(|answer| answer.into_inner().images).map_err(CriError::rpc("Images.List"))
    }
}

fn task_event(envelope: &Envelope) -> Option<TaskEvent> {
    let bytes = envelope.event.as_ref()?.value.as_slice();
    match envelope.topic.as_str() {
        "/tasks/start" => {
            TaskStart::decode(bytes).ok().map(|event| TaskEvent::Started { container: event.container_id })
        }
        "/tasks/exit" => {
            let event = TaskExit::decode(bytes).ok()?;
            // Processes that were added by exec exit too; `id` names them.
            (event.id == event.container_id).then_some(TaskEvent::Exited { container: event.container_id })
        }
        "/tasks/delete" => {
            let event = TaskDelete::decode(bytes).ok()?;
            let main = event.id.is_empty() || event.id == event.container_id;
            main.then_some(TaskEvent::Deleted { container: event.container_id })
        }
        "/tasks/oom" => {
            TaskOom::decode(bytes).ok().map(|event| TaskEvent::OutOfMemory { container: event.container_id })
        }
        _ => None,
    }
}
