//! Which extension serves what, following the store.

use std::{collections::BTreeMap, sync::Arc};

use mk8s_api::meta;
use mk8s_store::{Event, EventKind, Store, View};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    auth::follow::{Follow, Follower},
    stored::items,
    webhook::{Endpoint, Place, ServicePlace, ca_bundle},
};

pub(super) const PREFIX: &[u8] = b"/registry/apiregistration.k8s.io/apiservices/";

/// A version of a group that an extension serves.
#[derive(Debug, PartialEq, Eq)]
pub struct Remote {
    /// `VERSION.GROUP`, the APIService's name.
    pub(super) name: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) service: ServicePlace,
    /// Without what we show of ourselves.
    pub(super) endpoint: Endpoint,
    pub(super) group_priority: i64,
    pub(super) version_priority: i64,
    pub(super) available: bool,
}

impl Remote {
    /// Reads an APIService; `None` when this server serves it itself.
    pub(super) fn of(object: &Value) -> Option<Remote> {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let service = ServicePlace::of(spec.get("service").filter(|service| service.is_object())?)?;
        let conditions = items(&object["status"]["conditions"]);
        Some(Remote {
            name: meta::name(object).to_string(),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            endpoint: Endpoint {
                place: Place::Service(service.clone()),
                ca_bundle: ca_bundle(&spec["caBundle"]),
                insecure: spec["insecureSkipTLSVerify"] == true,
                identity: None,
            },
            service,
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or(0),
            version_priority: spec["versionPriority"].as_i64().unwrap_or(0),
            available: conditions.iter().any(|one| one["type"] == "Available" && one["status"] == "True"),
        })
    }

    /// The path of the version's own discovery document.
    pub(super) fn path(&self) -> String {
        match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }
}

/// All extensions, as of the last answered write.
pub(super) struct Services(Mutex<(Follower, Index)>);

impl Services {
    pub(super) fn new(store: Store) -> Services {
        Services(Mutex::new((
            Follower::new(store, PREFIX),
            Index { by_key: BTreeMap::new(), all: Arc::from(Vec::new()) },
        )))
    }

    /// Sorted by name.
    pub(super) fn all(&self) -> Arc<[Arc<Remote>]> {
        let (follower, index) = &mut *self.0.lock();
        if follower.catch_up(index) {
            index.all = index.by_key.values().cloned().collect();
        }
        index.all.clone()
    }

    pub(super) fn find(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        self.all().iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }
}

struct Index {
    by_key: BTreeMap<Vec<u8>, Arc<Remote>>,
    all: Arc<[Arc<Remote>]>,
}

impl Index {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        let remote = serde_json::from_slice(value).ok().as_ref().and_then(Remote::of);
        match remote {
            Some(remote) => self.by_key.insert(key.to_vec(), Arc::new(remote)),
            None => self.by_key.remove(key),
        };
    }
}

impl Follow for Index {
    fn rebuild(&mut self, view: &View) {
        self.by_key.clear();
        for entry in view.prefix(PREFIX) {
            self.put(&entry.key, &entry.value);
        }
    }

    fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Put => self.put(&event.entry.key, &event.entry.value),
            EventKind::Delete => drop(self.by_key.remove(&event.entry.key[..])),
        }
    }
}
