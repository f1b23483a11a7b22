//! Stored custom objects in the form of the version they are asked for, and back.
//!
//! What was written since the definition took its form is stored as it is shown, when it is asked for in the storage
//! version. Everything else is brought into the form asked for here, so that nobody behind this file needs to know.

use std::sync::Arc;

use bytes::Bytes;
use mk8s_api::status::Status;
use mk8s_store::{Entry, Event, FrameCache, Stamped, Terms};
use serde_json::Value;

use super::{Customs, Resource, encode};

/// Brings objects into the form of a version. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Presenter {
    customs: Arc<Customs>,
}

impl Presenter {
    pub(in crate::registry) fn new(customs: Arc<Customs>) -> Presenter {
        Presenter { customs }
    }

    /// A custom kind by its name.
    pub(crate) fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.customs.newest().find_kind(group, version, kind)
    }

    /// Learns of definitions that changed meanwhile. Says whether this resource is still what it was.
    pub(in crate::registry) fn is_current(&self, resource: &Resource) -> bool {
        let Some(custom) = resource.as_custom() else { return true };
        self.customs.newest();
        !custom.replaced.is_cancelled()
    }

    /// The entries as clients of the resource's version see them.
    pub(in crate::registry) async fn present(
        &self,
        resource: &Resource,
        mut entries: Vec<Arc<Entry>>,
    ) -> Result<Vec<Arc<Entry>>, Status> {
        if entries.iter().all(|entry| resource.shows_stored(entry)) {
            return Ok(entries);
        }
        let others = entries.iter_mut().filter(|entry| !resource.shows_stored(entry));
        let (places, objects): (Vec<&mut Arc<Entry>>, Vec<Value>) = others
            .map(|entry| {
                let object = encode::decode(&entry.value);
                (entry, object)
            })
            .unzip();
        let objects = self.to_version(resource, objects).await?;
        for (place, object) in places.into_iter().zip(objects) {
            let value = Bytes::from(serde_json::to_vec(&object).expect("a JSON value always has a text"));
            *place = Arc::new(Entry { value, ..(**place).clone() });
        }
        Ok(entries)
    }

    pub(in crate::registry) async fn present_one(
        &self,
        resource: &Resource,
        entry: Arc<Entry>,
    ) -> Result<Arc<Entry>, Status> {
        if resource.shows_stored(&entry) {
            return Ok(entry);
        }
        let mut entries = self.present(resource, vec![entry]).await?;
        Ok(entries.pop().expect("as many entries as before"))
    }

    /// A stored object, decoded, as clients of the resource's version see it.
    pub(crate) async fn read(&self, resource: &Resource, entry: &Entry) -> Result<Value, Status> {
        let object = resource.to_served(encode::decode(&entry.value));
        if resource.shows_stored(entry) {
            return Ok(object);
        }
        let mut objects = self.to_version(resource, vec![object]).await?;
        Ok(objects.pop().expect("as many objects as before"))
    }

    /// The events of a watch.
    pub(in crate::registry) async fn present_events(
        &self,
        resource: &Resource,
        events: Vec<Arc<Event>>,
    ) -> Result<Vec<Arc<Event>>, Status> {
        let is_shown = |entry: &Arc<Entry>| resource.shows_stored(entry);
        if events.iter().all(|event| is_shown(&event.entry) && event.previous.as_ref().is_none_or(is_shown)) {
            return Ok(events);
        }
        let mut presented = Vec::with_capacity(events.len());
        for event in events {
            let mut both = vec![event.entry.clone()];
            both.extend(event.previous.clone());
            // Watches are many, and this is rare: it takes room only while it goes on.
            let mut both = Box::pin(self.present(resource, both)).await?.into_iter();
            let entry = both.next().expect("as many entries as before");
            presented.push(Arc::new(Event {
                revision: event.revision,
                kind: event.kind,
                entry,
                previous: both.next(),
                // Nothing of what a definition makes is in the index.
                terms: Terms::default(),
                frames: FrameCache::default(),
            }));
        }
        Ok(presented)
    }

    /// The bytes under which an object of the resource's version is stored.
    pub(in crate::registry) async fn to_stored(&self, resource: &Resource, object: &Value) -> Result<Stamped, Status> {
        Ok(encode::encode(&match self.stored_form(resource, object).await? {
            Some(stored) => stored,
            None => return Ok(resource.to_stored(object)),
        }))
    }

    /// Whether writing this object would change nothing of what is stored.
    pub(in crate::registry) async fn is_stored(
        &self,
        resource: &Resource,
        entry: &Entry,
        object: &Value,
    ) -> Result<bool, Status> {
        if resource.shows_stored(entry) || resource.as_custom().is_none() {
            return Ok(true);
        }
        let stored = self.stored_form(resource, object).await?;
        let wanted = stored.as_ref().unwrap_or(object);
        Ok(encode::decode(&entry.value) == *wanted)
    }

    /// A custom object in the storage version; `None` for built-in kinds.
    async fn stored_form(&self, resource: &Resource, object: &Value) -> Result<Option<Value>, Status> {
        let Some(custom) = resource.as_custom() else { return Ok(None) };
        let definition = &custom.definition;
        let Some(storage) = definition.version(&definition.storage_version) else { return Ok(None) };
        let mut stored = object.clone();
        if storage.name != custom.version.name {
            stored = self.convert(resource, vec![stored], &storage.api_version).await?.pop().unwrap_or_default();
        }
        storage.keep(&mut stored);
        Ok(Some(stored))
    }

    /// Stored objects in the form of the resource's version.
    async fn to_version(&self, resource: &Resource, mut objects: Vec<Value>) -> Result<Vec<Value>, Status> {
        let Some(custom) = resource.as_custom() else { return Ok(objects) };
        objects = self.convert(resource, objects, &custom.version.api_version).await?;
        for object in &mut objects {
            custom.version.adopt(object);
        }
        Ok(objects)
    }

    async fn convert(&self, resource: &Resource, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, Status> {
        let Some(custom) = resource.as_custom() else { return Ok(objects) };
        custom.converter.convert(&custom.definition, objects, api_version).await
    }

    pub(in crate::registry) fn metrics_text(&self) -> String {
        self.customs.converter.metrics_text()
    }
}
