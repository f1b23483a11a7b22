//! Pods whose time runs: since when, and that somebody was going to end them.

use jiff::Timestamp;
use mk8s_client::Key;
use parking_lot::Mutex;
use std::collections::HashMap;

/// By the pod's name, with its uid: another pod of the name waits anew.
#[derive(Default)]
pub(crate) struct Waiting {
    since: Mutex<HashMap<Key, (Option<String>, Timestamp)>>,
}

impl Waiting {
    /// When the pod began to wait; now, when it does not yet.
    pub(crate) fn since(&self, key: &Key, uid: Option<&str>, now: Timestamp) -> Timestamp {
        let since = self.since.lock();
        since.get(key).filter(|(known, _)| known.as_deref() == uid).map_or(now, |(_, since)| *since)
    }

    pub(crate) fn begin(&self, key: &Key, uid: Option<&str>, since: Timestamp) {
        self.since.lock().insert(key.clone(), (uid.map(str::to_owned), since));
    }

    /// Whether this very pod was waiting.
    pub(crate) fn end(&self, key: &Key, uid: Option<&str>) -> bool {
        self.since.lock().remove(key).is_some_and(|(known, _)| known.as_deref() == uid)
    }
}
