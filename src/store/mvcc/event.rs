//! One change of one key, shared by everyone who watches it.

use super::Entry;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// What a change did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

/// One change of one key.
#[derive(Debug)]
pub struct Event {
    pub revision: u64,
    pub kind: EventKind,
    /// The new value, or the last one of a key that was deleted.
    pub entry: Arc<Entry>,
    /// What the key was before; `None` when it was created.
    pub previous: Option<Arc<Entry>>,
    pub frames: FrameCache,
}

/// Slots in which readers keep what they made of an event, so that it is made once for all watchers. What a slot means
/// is the reader's business.
#[derive(Debug, Default)]
pub struct FrameCache {
    slots: [OnceLock<Bytes>; Self::SLOTS],
}

impl FrameCache {
    pub const SLOTS: usize = 4;

    /// The bytes of a slot, made by `make` if nobody has yet.
    ///
    /// # Panics
    /// When `slot` is not below [`FrameCache::SLOTS`].
    pub fn get_or_make(&self, slot: usize, make: impl FnOnce() -> Bytes) -> Bytes {
        self.slots[slot].get_or_init(make).clone()
    }
}
