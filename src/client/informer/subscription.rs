//! Changes to wait for. The way is bounded: who falls behind is told everything anew instead of holding others back.

use super::{Change, Informer, Kind};
use crate::Key;
use kube::ResourceExt;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};
use tokio::sync::broadcast::{self, error::RecvError};

/// What a subscriber receives; without gaps, because a gap is filled with the differences to the store.
pub type Notice<K> = Change<K>;

pub struct Subscription<K> {
    informer: Informer<K>,
    changes: broadcast::Receiver<Change<K>>,
    /// What this subscriber was told, to find out what it missed.
    told: HashMap<Key, Arc<K>>,
    ready: VecDeque<Change<K>>,
}

pub(super) fn subscribe<K: Kind>(informer: &Informer<K>, capacity: usize) -> Subscription<K> {
    let (sender, changes) = broadcast::channel(capacity.max(1));
    // An error says that the subscription was dropped; its handler then costs one failed send a change.
    informer.handle(move |change| drop(sender.send(change.clone())));
    Subscription { informer: informer.clone(), changes, told: HashMap::new(), ready: VecDeque::new() }
}

impl<K: Kind> Subscription<K> {
    /// The next change. `None` once the informer is gone.
    pub async fn next(&mut self) -> Option<Notice<K>> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            match self.changes.recv().await {
                Ok(change) => self.take(change),
                Err(RecvError::Lagged(_)) => self.resync(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Changes that a resync has told already are left out, and `old` is what this subscriber knew.
    fn take(&mut self, change: Change<K>) {
        let key = Key::of(change.object().as_ref());
        let known = self.told.get(&key).cloned();
        let told = match change {
            Change::Deleted(last) => {
                self.told.remove(&key);
                known.map(|_| Change::Deleted(last))
            }
            Change::Added(new) | Change::Updated { new, .. } => {
                self.told.insert(key, new.clone());
                match known {
                    None => Some(Change::Added(new)),
                    Some(old) if old.resource_version() == new.resource_version() => None,
                    Some(old) => Some(Change::Updated { old, new }),
                }
            }
        };
        self.ready.extend(told);
    }

    /// The channel is emptied first: what is in it is older than the store, which is told instead.
    fn resync(&mut self) {
        self.changes = self.changes.resubscribe();
        let current = self.informer.list();
        let keys: HashSet<Key> = current.iter().map(|object| Key::of(object.as_ref())).collect();
        let gone: Vec<_> =
            self.told.iter().filter(|(key, _)| !keys.contains(*key)).map(|(_, old)| old.clone()).collect();
        for old in gone {
            self.take(Change::Deleted(old));
        }
        for object in current {
            self.take(Change::Added(object));
        }
    }
}
