//! Applying transactions, one after the other, on every replica with the same outcome.

use super::{Entry, Event, EventKind, FrameCache, Index, Root, View};
use crate::{
    seal::{Keeper, Key, RECORD_KEY, SealError, Sealer, sealed_by},
    txn::{Commit, CommitError, Expect, Op, Txn},
};
use bytes::Bytes;
use std::{collections::HashMap, io, sync::Arc};

/// The newest state, owned by the thread that applies.
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    revision: u64,
    root: Root,
    /// Keys that changed since the last checkpoint, and what it holds of them.
    dirty: HashMap<Bytes, Dirty>,
    /// Who seals values, and with which key now; without a keeper sealed values stay as they are.
    keeper: Option<Arc<Keeper>>,
    key: Option<Arc<Key>>,
    /// The next checkpoint is to hold everything: what the last one holds is sealed in another way.
    rewrite: bool,
}

/// What a checkpoint is to hold.
#[derive(Debug)]
pub(crate) enum Contents {
    /// What changed since the one before.
    Changes(Vec<Change>),
    /// All there is.
    All(View),
}

#[derive(Debug)]
struct Dirty {
    /// The revision of the key's entry in the checkpoint; `None` when it has none.
    superseded: Option<u64>,
    /// When it was deleted, if it is gone now.
    deleted: Option<u64>,
}

/// How a key differs from the checkpoint before.
#[derive(Debug, Clone)]
pub struct Change {
    pub key: Bytes,
    /// The revision of the entry that the checkpoint before has of this key, to be dropped.
    pub superseded: Option<u64>,
    pub now: Now,
}

/// What a key is now.
#[derive(Debug, Clone)]
pub enum Now {
    Entry(Arc<Entry>),
    /// Deleted at this revision.
    Gone(u64),
}

impl Change {
    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        match &self.now {
            Now::Entry(entry) => entry.modified,
            Now::Gone(revision) => *revision,
        }
    }
}

/// What one transaction did.
pub(crate) struct Applied {
    pub(crate) outcome: Result<Commit, CommitError>,
    pub(crate) events: Vec<Arc<Event>>,
}

impl Keyspace {
    /// A keyspace as it was written down, opened if there is a keeper.
    pub(crate) fn restored(
        keeper: Option<Arc<Keeper>>,
        index: Option<Index>,
        revision: u64,
        entries: impl IntoIterator<Item = Arc<Entry>>,
    ) -> io::Result<Self> {
        let root = Root::new(index, entries);
        let mut restored = Self { revision, root, keeper, ..Self::default() };
        if let Some(record) = restored.root.get(RECORD_KEY).map(|entry| entry.value.clone()) {
            let key = Key::read(&record, restored.keeper.as_deref().map(Keeper::root))?;
            restored.take_key(Some(Arc::new(key)));
        }
        restored.open_all()?;
        Ok(restored)
    }

    fn open_all(&mut self) -> io::Result<()> {
        let Some(keeper) = self.keeper.clone() else { return Ok(()) };
        let mut opened = Vec::new();
        let mut rewrite = false;
        for (path, entry) in self.root.entries() {
            let Some(name) = sealed_by(&entry.value) else {
                rewrite |= self.key.is_some() && keeper.covers(path);
                continue;
            };
            let unknown =
                || SealError::Unknown { path: String::from_utf8_lossy(path).into_owned(), name: name.to_owned() };
            let key = self.key.as_ref().ok_or_else(unknown)?;
            let value = keeper.open(key, path, &entry.value)?.at_revision(entry.modified);
            rewrite |= !keeper.covers(path);
            opened.push(Arc::new(Entry { value, ..Entry::clone(entry) }));
        }
        for entry in opened {
            self.root.insert(entry);
        }
        self.set_rewrite(rewrite);
        Ok(())
    }

    fn take_key(&mut self, key: Option<Arc<Key>>) {
        if let Some(keeper) = &self.keeper {
            keeper.set_current(key.clone());
        }
        self.key = key;
    }

    fn set_rewrite(&mut self, rewrite: bool) {
        self.rewrite = rewrite;
        if let Some(keeper) = &self.keeper {
            keeper.set_rewriting(rewrite);
        }
    }

    /// Whether a checkpoint is due that holds everything.
    pub(crate) fn wants_rewrite(&self) -> bool {
        self.rewrite
    }

    /// Who seals what a checkpoint is to hold, and that.
    pub(crate) fn take_contents(&mut self) -> (Contents, Option<Sealer>) {
        let view = self.view();
        let sealer = self.keeper.as_ref().and_then(|keeper| keeper.sealer(&view));
        if std::mem::take(&mut self.rewrite) {
            self.dirty.clear();
            return (Contents::All(view), sealer);
        }
        (Contents::Changes(self.take_changes()), sealer)
    }

    pub(crate) fn view(&self) -> View {
        View { revision: self.revision, root: self.root.clone() }
    }

    pub(crate) fn len(&self) -> usize {
        self.root.len()
    }

    /// What changed since this was last asked, in the order of revisions. A key that came and went is not in it.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = std::mem::take(&mut self.dirty)
            .into_iter()
            .filter_map(|(key, dirty)| {
                let now = match (self.root.get(&key), &dirty) {
                    (Some(entry), _) => Now::Entry(entry.clone()),
                    (None, Dirty { superseded: Some(_), deleted: Some(revision) }) => Now::Gone(*revision),
                    (None, _) => return None,
                };
                Some(Change { key, superseded: dirty.superseded, now })
            })
            .collect();
        changes.sort_unstable_by_key(Change::revision);
        changes
    }

    /// How many bytes [`Keyspace::take_changes`] would be about. Looks at each of them.
    pub(crate) fn changed_bytes(&self) -> u64 {
        let size =
            |(key, _): (&Bytes, &Dirty)| (key.len() + self.root.get(key).map_or(0, |entry| entry.value.len())) as u64;
        self.dirty.iter().map(size).sum()
    }

    /// How many bytes there are in all. Looks at each entry.
    pub(crate) fn bytes(&self) -> u64 {
        self.root.entries().values().map(|entry| (entry.key.len() + entry.value.len()) as u64).sum()
    }

    fn note(&mut self, key: &Bytes, previous: Option<&Arc<Entry>>, deleted: Option<u64>) {
        let superseded = previous.map(|entry| entry.modified);
        self.dirty.entry(key.clone()).or_insert(Dirty { superseded, deleted: None }).deleted = deleted;
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
                    let entry = self.put(key, bytes, &mut events);
                    if key == RECORD_KEY {
                        self.key_written(&entry.value);
                    }
                    Some(entry)
                }
                Op::Delete { key, .. } => self.delete(key, &mut events),
                Op::Check { .. } => None,
            });
        }
        Applied { outcome: Ok(Commit { revision: self.revision, entries }), events }
    }

    /// Opens a transaction of the log and applies it.
    pub(crate) fn take(&mut self, mut txn: Txn) -> io::Result<Applied> {
        for op in &mut txn.ops {
            let Op::Put { key, value, .. } = op else { continue };
            if let Some(name) = sealed_by(&value.bytes) {
                let Some(with) = self.key.as_ref().filter(|with| with.name() == name) else {
                    return Ok(Applied { outcome: Err(CommitError::KeyChanged), events: Vec::new() });
                };
                *value = match &self.keeper {
                    Some(keeper) => keeper.open(with, key, &value.bytes)?,
                    None => with.open(key, &value.bytes)?,
                };
            } else if key == RECORD_KEY {
                Key::read(&value.bytes, self.keeper.as_deref().map(Keeper::root))?;
            }
        }
        Ok(self.apply(&txn))
    }

    /// The key's record was written: from here on values are sealed with it.
    fn key_written(&mut self, record: &[u8]) {
        let Ok(key) = Key::read(record, self.keeper.as_deref().map(Keeper::root)) else { return };
        let is_another = self.key.is_some();
        self.take_key(Some(Arc::new(key)));
        let Some(keeper) = &self.keeper else { return };
        let view = self.view();
        let is_needed = is_another || keeper.covered().iter().any(|prefix| view.prefix(prefix).next().is_some());
        self.set_rewrite(self.rewrite || is_needed);
    }

    fn put(&mut self, key: &Bytes, value: Bytes, events: &mut Vec<Arc<Event>>) -> Arc<Entry> {
        let revision = self.revision;
        let previous = self.root.get(key).cloned();
        // Copied: the operation's key is a slice of a whole record of the log.
        let key = previous.as_ref().map_or_else(|| Bytes::copy_from_slice(key), |p| p.key.clone());
        let created = previous.as_ref().map_or(revision, |p| p.created);
        let entry = Arc::new(Entry { key: key.clone(), value, created, modified: revision });
        self.note(&key, previous.as_ref(), None);
        let terms = self.root.insert(entry.clone());
        events.push(Arc::new(Event {
            revision,
            kind: EventKind::Put,
            entry: entry.clone(),
            previous,
            terms,
            frames: FrameCache::default(),
        }));
        entry
    }

    fn delete(&mut self, key: &Bytes, events: &mut Vec<Arc<Event>>) -> Option<Arc<Entry>> {
        let (entry, terms) = self.root.remove(key)?;
        self.revision += 1;
        self.note(&entry.key, Some(&entry), Some(self.revision));
        events.push(Arc::new(Event {
            revision: self.revision,
            kind: EventKind::Delete,
            entry: entry.clone(),
            previous: Some(entry.clone()),
            terms,
            frames: FrameCache::default(),
        }));
        Some(entry)
    }
}
