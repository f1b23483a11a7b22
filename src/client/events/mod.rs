//! What is told to people: core/v1 Events, counted instead of repeated, never in the way of work.
//!
//! `record` only puts the event in a bounded channel; one task correlates and writes. When the channel is full, or the
//! server refuses, the event is lost: events are for people, and nothing decides by them.

mod correlate;
#[cfg(test)]
mod tests;

pub use correlate::{Correlator, Decision};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events that may wait to be written.
const WAITING_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// Cheap to clone. Says who reports: a component, and the host for those of a node.
#[derive(Debug, Clone)]
pub struct EventRecorder {
    source: EventSource,
    sender: mpsc::Sender<Event>,
}

impl EventRecorder {
    /// Starts the task that writes; it ends with `stop`.
    pub fn new(client: Client, component: &str, host: Option<&str>, stop: CancellationToken) -> EventRecorder {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = write(client, receiver) => {}
            }
        });
        let source = EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) };
        EventRecorder { source, sender }
    }

    /// A recorder with its events in hand: for tests of what records.
    pub fn captured(component: &str) -> (EventRecorder, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let source = EventSource { component: Some(component.to_owned()), host: None };
        (EventRecorder { source, sender }, receiver)
    }

    /// The same way to the server for another component.
    pub fn with_component(&self, component: &str) -> EventRecorder {
        let source = EventSource { component: Some(component.to_owned()), ..self.source.clone() };
        EventRecorder { source, sender: self.sender.clone() }
    }

    /// Reports about an object.
    pub fn event<K>(&self, about: &K, kind: EventType, reason: &str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.record(reference(about), kind, reason, message.into());
    }

    /// Reports about whatever a reference names, for instance one container (`fieldPath`).
    pub fn record(&self, about: ObjectReference, kind: EventType, reason: &str, message: String) {
        let event = new_event(&self.source, about, kind, reason, message, Timestamp::now());
        if self.sender.try_send(event).is_err() {
            tracing::debug!(reason, "an event is lost, too many wait");
        }
    }
}

/// How events and owner references speak of an object.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(object.name_any()),
        namespace: object.namespace(),
        uid: object.uid(),
        resource_version: object.resource_version(),
        field_path: None,
    }
}

fn new_event(
    source: &EventSource,
    about: ObjectReference,
    kind: EventType,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Event {
    // Cluster-scoped objects have their events in the namespace "default".
    let namespace = about.namespace.clone().filter(|namespace| !namespace.is_empty());
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(&about, now)),
            namespace: Some(namespace.unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        message: Some(message),
        reason: Some(reason.to_owned()),
        type_: Some(kind.name().to_owned()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        source: Some(source.clone()),
        involved_object: about,
        ..Event::default()
    }
}

/// Unique in practice: two events about one object in one nanosecond do not happen.
fn event_name(about: &ObjectReference, now: Timestamp) -> String {
    format!("{}.{:x}", about.name.as_deref().unwrap_or("unknown"), now.as_nanosecond())
}

async fn write(client: Client, mut events: mpsc::Receiver<Event>) {
    let mut correlator = Correlator::default();
    while let Some(event) = events.recv().await {
        let result = match correlator.step(event, Timestamp::now()) {
            Decision::Drop => Ok(()),
            Decision::Create(event) => create(&client, &event).await,
            Decision::Count(event) => count(&client, &event).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "an event cannot be written, it is lost");
        }
    }
}

async fn create(client: &Client, event: &Event) -> kube::Result<()> {
    let namespace = event.namespace().unwrap_or_default();
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    events.create(&PostParams::default(), event).await.map(drop)
}

async fn count(client: &Client, event: &Event) -> kube::Result<()> {
    let namespace = event.namespace().unwrap_or_default();
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let patch = serde_json::json!({
        "count": event.count,
        "lastTimestamp": event.last_timestamp,
        "message": event.message,
    });
    match events.patch(&event.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        // It expired meanwhile: told anew.
        Err(kube::Error::Api(status)) if status.code == 404 => create(client, event).await,
        other => other.map(drop),
    }
}
