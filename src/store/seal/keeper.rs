//! Which values are sealed, and with which key now.

use super::{
    RECORD_KEY,
    key::{self, Key, SealError},
};
use crate::{
    metrics::Metrics,
    mvcc::{Entry, View},
    txn::{Op, Stamped, Txn},
};
use bytes::Bytes;
use parking_lot::RwLock;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// What a store that seals values is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealing {
    /// What the key of values is sealed with: the same on every replica.
    pub root: [u8; 32],
    /// The values under these prefixes are sealed when they are written. Others are read as they are found.
    pub covered: Vec<Bytes>,
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealing").field("covered", &self.covered).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    sealing: Sealing,
    metrics: Arc<Metrics>,
    /// The newest key that was applied.
    current: RwLock<Option<Arc<Key>>>,
    /// Whether something on the disk is not as it would be written now.
    rewriting: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(sealing: Sealing, metrics: Arc<Metrics>) -> Self {
        Self { sealing, metrics, current: RwLock::default(), rewriting: AtomicBool::new(false) }
    }

    pub(crate) fn root(&self) -> &[u8; 32] {
        &self.sealing.root
    }

    pub(crate) fn covered(&self) -> &[Bytes] {
        &self.sealing.covered
    }

    pub(crate) fn covers(&self, path: &[u8]) -> bool {
        self.sealing.covered.iter().any(|prefix| path.starts_with(prefix))
    }

    pub(crate) fn current(&self) -> Option<Arc<Key>> {
        self.current.read().clone()
    }

    pub(crate) fn set_current(&self, key: Option<Arc<Key>>) {
        *self.current.write() = key;
    }

    pub(crate) fn is_rewriting(&self) -> bool {
        self.rewriting.load(Relaxed)
    }

    pub(crate) fn set_rewriting(&self, rewriting: bool) {
        self.rewriting.store(rewriting, Relaxed);
    }

    /// The transaction as it may leave memory; `None` when that is as it is.
    pub(crate) fn sealed(&self, txn: &Txn) -> Option<Txn> {
        let is_covered = |op: &Op| matches!(op, Op::Put { key, .. } if self.covers(key));
        if !txn.ops.iter().any(is_covered) {
            return None;
        }
        let with = self.current()?;
        let seal = |op: &Op| match op {
            Op::Put { key, value, expect } if self.covers(key) => {
                self.metrics.sealed();
                Op::Put { key: key.clone(), value: Stamped::plain(with.seal(key, value)), expect: *expect }
            }
            other => other.clone(),
        };
        Some(Txn { ops: txn.ops.iter().map(seal).collect() })
    }

    pub(crate) fn open(&self, with: &Key, path: &[u8], bytes: &Bytes) -> Result<Stamped, SealError> {
        let opened = with.open(path, bytes);
        self.metrics.opened(opened.is_ok());
        opened
    }

    /// Who seals the entries of a view, if anybody does.
    pub(crate) fn sealer(self: &Arc<Self>, view: &View) -> Option<Sealer> {
        let record = &view.get(RECORD_KEY)?.value;
        let current = self.current().filter(|current| Some(current.name()) == key::recorded(record));
        let key = current.or_else(|| Key::read(record, Some(self.root())).ok().map(Arc::new))?;
        Some(Sealer { keeper: self.clone(), key })
    }
}

/// Seals entries that leave memory with the key of their view.
#[derive(Debug, Clone)]
pub struct Sealer {
    keeper: Arc<Keeper>,
    key: Arc<Key>,
}

impl Sealer {
    /// The entry as it may leave memory.
    pub(crate) fn entry(&self, entry: &Arc<Entry>) -> Arc<Entry> {
        if !self.keeper.covers(&entry.key) {
            return entry.clone();
        }
        self.keeper.metrics.sealed();
        let value = self.key.seal(&entry.key, &Stamped::plain(entry.value.clone()));
        Arc::new(Entry { value, ..Entry::clone(entry) })
    }
}
