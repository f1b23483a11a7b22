//! Applying transactions, one after the other, on every replica with the same outcome.

use super::{Entry, Event, EventKind, FrameCache, Root, View};
use crate::txn::{Commit, CommitError, Expect, Op, Txn};
use bytes::Bytes;
use std::{collections::BTreeSet, sync::Arc};

/// The newest state, owned by the thread that applies.
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    revision: u64,
    root: Root,
    /// Keys that differ from the last checkpoint.
    dirty: BTreeSet<Bytes>,
}

/// What one transaction did.
pub(crate) struct Applied {
    pub(crate) outcome: Result<Commit, CommitError>,
    pub(crate) events: Vec<Arc<Event>>,
}

impl Keyspace {
    pub(crate) fn restored(revision: u64, entries: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        let root = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        Self { revision, root, dirty: BTreeSet::new() }
    }

    pub(crate) fn view(&self) -> View {
        View { revision: self.revision, root: self.root.clone() }
    }

    /// The keys that changed since this was last asked.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<Bytes> {
        std::mem::take(&mut self.dirty)
    }

    pub(crate) fn apply(&mut self, txn: &Txn) -> Applied {
        // Expectations are about the state before the transaction, so they are all checked before anything changes.
        for (op, operation) in txn.ops.iter().enumerate() {
            let (Op::Put { key, expect, .. } | Op::Delete { key, expect } | Op::Check { key, expect }) = operation;
            let current = self.root.get(key);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => current.is_none(),
                Expect::Present => current.is_some(),
                Expect::Revision(revision) => current.is_some_and(|entry| entry.modified == *revision),
            };
            if !holds {
                let outcome = Err(CommitError::Conflict { op, current: current.cloned() });
                return Applied { outcome, events: Vec::new() };
            }
        }
        let mut events = Vec::with_capacity(txn.ops.len());
        let mut entries = Vec::with_capacity(txn.ops.len());
        for operation in &txn.ops {
            entries.push(match operation {
                Op::Put { key, value, .. } => {
                    self.revision += 1;
                    let bytes = value.at_revision(self.revision);
                    Some(self.put(key, bytes, &mut events))
                }
                Op::Delete { key, .. } => self.delete(key, &mut events),
                Op::Check { .. } => None,
            });
        }
        Applied { outcome: Ok(Commit { revision: self.revision, entries }), events }
    }

    fn put(&mut self, key: &Bytes, value: Bytes, events: &mut Vec<Arc<Event>>) -> Arc<Entry> {
        let revision = self.revision;
        let previous = self.root.get(key).cloned();
        let key = previous.as_ref().map_or_else(|| key.clone(), |p| p.key.clone());
        let created = previous.as_ref().map_or(revision, |p| p.created);
        let entry = Arc::new(Entry { key: key.clone(), value, created, modified: revision });
        self.root.insert(key.clone(), entry.clone());
        self.dirty.insert(key);
        events.push(Arc::new(Event {
            revision,
            kind: EventKind::Put,
            entry: entry.clone(),
            previous,
            frames: FrameCache::default(),
        }));
        entry
    }

    fn delete(&mut self, key: &Bytes, events: &mut Vec<Arc<Event>>) -> Option<Arc<Entry>> {
        let entry = self.root.remove(key)?;
        self.revision += 1;
        self.dirty.insert(entry.key.clone());
        events.push(Arc::new(Event {
            revision: self.revision,
            kind: EventKind::Delete,
            entry: entry.clone(),
            previous: Some(entry.clone()),
            frames: FrameCache::default(),
        }));
        Some(entry)
    }
}
