//! What each object of a namespace counts for, worked out once a version.

use jiff::Timestamp;
use mk8s_api::quota::Charge;
use mk8s_client::{Informer, Kind, kube::ResourceExt};
use parking_lot::Mutex;
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

/// By namespace, then by uid: the version that was looked at and what it counts for.
pub(super) struct Charges {
    group: &'static str,
    plural: &'static str,
    known: Mutex<HashMap<String, HashMap<String, Known>>>,
}

#[derive(Clone)]
struct Known {
    version: Option<String>,
    charge: Arc<Charge>,
}

impl Charges {
    pub(super) fn new(group: &'static str, plural: &'static str) -> Charges {
        Charges { group, plural, known: Mutex::default() }
    }

    /// `text` is what of an object is reckoned with, in the form of the API.
    pub(super) fn of<K: Kind>(
        &self,
        informer: &Informer<K>,
        namespace: &str,
        now: Timestamp,
        text: impl Fn(&K) -> Value,
    ) -> Vec<Arc<Charge>> {
        let before = self.known.lock().remove(namespace).unwrap_or_default();
        let mut known = HashMap::new();
        for object in informer.list_in(namespace) {
            let (uid, version) = (object.uid().unwrap_or_default(), object.resource_version());
            // Of what is being deleted the time matters, too.
            let settled = object.meta().deletion_timestamp.is_none();
            let same = before.get(&uid).filter(|known| settled && known.version == version).cloned();
            let entry = same.unwrap_or_else(|| Known {
                version,
                charge: Arc::new(Charge::of(self.group, self.plural, &text(&object), now)),
            });
            known.insert(uid, entry);
        }
        let charges = known.values().map(|known| known.charge.clone()).collect();
        self.known.lock().insert(namespace.to_owned(), known);
        charges
    }

    /// A namespace without quotas is not kept in mind.
    pub(super) fn forget(&self, namespace: &str) {
        self.known.lock().remove(namespace);
    }
}
