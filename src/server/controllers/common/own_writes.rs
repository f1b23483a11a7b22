//! What a controller wrote and its informer does not show yet.
//!
//! A controller that counts its pods right after creating some would find too few and create them again. So it remembers
//! what the server answered, and reads through that memory:
//!
//! ```text
//! observed = informer + created (until the informer has seen their version) - deleted (until the informer shows it)
//! ```
//!
//! Versions are the store's one counter, so "the informer has seen version v" covers every write up to v.

use mk8s_client::{Informer, Key, Kind, kube::ResourceExt};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub(crate) struct OwnWrites<K> {
    by_owner: Mutex<HashMap<Key, Pending<K>>>,
}

struct Pending<K> {
    created: Vec<(u64, Arc<K>)>,
    deleted: HashSet<String>,
}

impl<K> Default for Pending<K> {
    fn default() -> Self {
        Pending { created: Vec::new(), deleted: HashSet::new() }
    }
}

impl<K> Default for OwnWrites<K> {
    fn default() -> Self {
        OwnWrites { by_owner: Mutex::default() }
    }
}

impl<K: Kind> OwnWrites<K> {
    /// Remembers what the server answered to a create or an update.
    pub(crate) fn wrote(&self, owner: &Key, object: K) {
        let version = version_of(&object);
        self.by_owner.lock().entry(owner.clone()).or_default().created.push((version, Arc::new(object)));
    }

    pub(crate) fn deleted(&self, owner: &Key, uid: Option<String>) {
        self.by_owner.lock().entry(owner.clone()).or_default().deleted.extend(uid);
    }

    /// One object as this controller last wrote it, or as the informer has it where that is newer.
    pub(crate) fn one(&self, key: &Key, informer: &Informer<K>) -> Option<Arc<K>> {
        self.read(key, informer, || informer.by_key(key).into_iter().collect()).into_iter().next()
    }

    /// Forgets everything of an owner that is gone.
    pub(crate) fn forget(&self, owner: &Key) {
        self.by_owner.lock().remove(owner);
    }

    /// What `look` finds in the informer, as it will be once the informer has seen the owner's own writes. Objects whose
    /// deletion was asked for and does not show yet are left out.
    pub(crate) fn read(&self, owner: &Key, informer: &Informer<K>, look: impl FnOnce() -> Vec<Arc<K>>) -> Vec<Arc<K>> {
        // Before the look: what was seen by now is in what the look finds.
        let seen = informer.seen();
        let mut found = look();
        let mut by_owner = self.by_owner.lock();
        let Some(pending) = by_owner.get_mut(owner) else { return found };
        pending.created.retain(|(version, _)| *version > seen);
        for (_, object) in &pending.created {
            match found.iter_mut().find(|known| known.meta().uid == object.meta().uid) {
                Some(known) if version_of(known.as_ref()) < version_of(object.as_ref()) => *known = object.clone(),
                Some(_) => {}
                None => found.push(object.clone()),
            }
        }
        // A deletion is remembered as long as the object is there and shows no sign of it.
        let unsigned: HashSet<&String> = found
            .iter()
            .filter(|object| object.meta().deletion_timestamp.is_none())
            .filter_map(|object| object.meta().uid.as_ref())
            .collect();
        pending.deleted.retain(|uid| unsigned.contains(uid));
        if pending.created.is_empty() && pending.deleted.is_empty() {
            by_owner.remove(owner);
            return found;
        }
        found.retain(|object| object.meta().uid.as_ref().is_none_or(|uid| !pending.deleted.contains(uid)));
        found
    }
}

fn version_of<K: Kind>(object: &K) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use mk8s_client::informer::Mirror;
    use serde_json::json;

    fn object(name: &str, version: u64) -> ConfigMap {
        let meta = json!({"name": name, "namespace": "n", "uid": name, "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": meta})).expect("a ConfigMap")
    }

    fn names(objects: Vec<Arc<ConfigMap>>) -> Vec<String> {
        objects.iter().map(|object| object.name_any()).collect()
    }

    #[test]
    fn own_writes_show_before_the_informer_shows_them() {
        let informer = Informer::fixed([object("a", 1)]);
        let (writes, owner) = (OwnWrites::default(), Key::new("n", "owner"));
        let read = || names(writes.read(&owner, &informer, || informer.list()));
        writes.wrote(&owner, object("b", 5));
        assert_eq!(read(), ["a", "b"]);
        Informer::apply(&informer, object("b", 5));
        assert_eq!(read(), ["a", "b"], "not twice");
        Mirror::seen(&informer, "5");
        assert_eq!(read(), ["a", "b"]);
        informer.remove(&Key::new("n", "b"), None);
        assert_eq!(read(), ["a"], "what was seen and is gone is gone");
    }

    #[test]
    fn a_deletion_counts_at_once() {
        let informer = Informer::fixed([object("a", 1), object("b", 2)]);
        let (writes, owner) = (OwnWrites::default(), Key::new("n", "owner"));
        let read = || names(writes.read(&owner, &informer, || informer.list()));
        writes.deleted(&owner, Some("a".into()));
        assert_eq!(read(), ["b"]);
        informer.remove(&Key::new("n", "a"), None);
        assert_eq!(read(), ["b"]);
        assert!(writes.by_owner.lock().is_empty(), "nothing is remembered for ever");
    }
}
