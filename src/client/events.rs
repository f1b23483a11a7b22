//! Events: what happened to an object, in words, for `kubectl describe`. Repetitions are counted, not written anew.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How many different events are remembered for counting.
const REMEMBERED: usize = 4096;

/// Writes events in the name of one component. Cheap to clone.
#[derive(Clone)]
pub struct EventRecorder {
    client: Client,
    component: Arc<str>,
    host: Option<Arc<str>>,
    written: Arc<Mutex<HashMap<Sameness, Written>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Sameness {
    uid: String,
    field_path: String,
    reason: String,
    message: String,
}

#[derive(Clone)]
struct Written {
    name: String,
    count: i32,
}

/// Whether an event is a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}

impl EventRecorder {
    pub fn new(client: Client, component: &str, host: Option<&str>) -> Self {
        Self { client, component: component.into(), host: host.map(Into::into), written: Arc::default() }
    }

    /// Writes an event about an object, without waiting; a lost one is worth a line in the debug log.
    pub fn record<K>(&self, about: &K, severity: Severity, reason: &str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        let reference = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: about.meta().name.clone(),
            namespace: about.meta().namespace.clone(),
            uid: about.meta().uid.clone(),
            resource_version: about.meta().resource_version.clone(),
            field_path: None,
        };
        self.record_about(reference, severity, reason, message);
    }

    /// As [`EventRecorder::record`], about a part of an object (`fieldPath`).
    pub fn record_about(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let (recorder, reason, message) = (self.clone(), reason.to_owned(), message.into());
        tokio::spawn(async move {
            let name = about.name.clone().unwrap_or_default();
            if let Err(error) = recorder.write(about, severity, reason, message).await {
                tracing::debug!(object = name, %error, "an event was not written");
            }
        });
    }

    async fn write(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: String,
        message: String,
    ) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let namespace = about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let same = Sameness {
            uid: about.uid.clone().unwrap_or_default(),
            field_path: about.field_path.clone().unwrap_or_default(),
            reason: reason.clone(),
            message: message.clone(),
        };
        if let Some(written) = self.count_again(&same) {
            let patch = serde_json::json!({ "count": written.count, "lastTimestamp": Time(now) });
            match events.patch(&written.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other.map(drop),
            }
        }
        let name = format!("{}.{:x}", about.name.clone().unwrap_or_default(), now.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta { name: Some(name.clone()), namespace: Some(namespace), ..ObjectMeta::default() },
            involved_object: about,
            type_: Some(if severity == Severity::Normal { "Normal" } else { "Warning" }.to_owned()),
            reason: Some(reason),
            message: Some(message),
            source: Some(EventSource {
                component: Some(self.component.to_string()),
                host: self.host.as_deref().map(str::to_owned),
            }),
            reporting_component: Some(self.component.to_string()),
            reporting_instance: self.host.as_deref().map(str::to_owned),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        };
        let event = events.create(&PostParams::default(), &event).await?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= REMEMBERED {
            written.clear();
        }
        written.insert(same, Written { name: event.name_any(), count: 1 });
        Ok(())
    }

    fn count_again(&self, same: &Sameness) -> Option<Written> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let written = written.get_mut(same)?;
        written.count += 1;
        Some(written.clone())
    }
}
