//! All webhooks of one kind of configuration, following the store.

use std::{collections::BTreeMap, sync::Arc};

use mk8s_store::{Event, EventKind, Store, View};
use parking_lot::Mutex;

use super::hook::{self, Hook};
use crate::auth::follow::{Follow, Follower};

pub(super) const MUTATING: &[u8] = b"/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/";
pub(super) const VALIDATING: &[u8] = b"/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/";

/// The webhooks, sorted by the name of their configuration.
pub(super) struct Source(Mutex<(Follower, Index)>);

impl Source {
    pub(super) fn new(store: Store, prefix: &'static [u8]) -> Source {
        let index = Index { prefix, by_key: BTreeMap::new(), hooks: Arc::from(Vec::new()) };
        Source(Mutex::new((Follower::new(store, prefix), index)))
    }

    /// The webhooks as of the last answered write.
    pub(super) fn hooks(&self) -> Arc<[Arc<Hook>]> {
        let (follower, index) = &mut *self.0.lock();
        if follower.catch_up(index) {
            index.hooks = index.by_key.values().flatten().cloned().collect();
        }
        index.hooks.clone()
    }
}

struct Index {
    prefix: &'static [u8],
    by_key: BTreeMap<Vec<u8>, Vec<Arc<Hook>>>,
    hooks: Arc<[Arc<Hook>]>,
}

/// A configuration that cannot be read configures nothing.
fn read(bytes: &[u8]) -> Vec<Arc<Hook>> {
    serde_json::from_slice(bytes).map(|configuration| hook::of_configuration(&configuration)).unwrap_or_default()
}

impl Follow for Index {
    fn rebuild(&mut self, view: &View) {
        self.by_key = view.prefix(self.prefix).map(|entry| (entry.key.to_vec(), read(&entry.value))).collect();
    }

    fn apply(&mut self, event: &Event) {
        let key = event.entry.key.to_vec();
        match event.kind {
            EventKind::Put => self.by_key.insert(key, read(&event.entry.value)),
            EventKind::Delete => self.by_key.remove(&key),
        };
    }
}
