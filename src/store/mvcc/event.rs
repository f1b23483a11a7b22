//! One change of one key, shared by everyone who watches it.

use super::{Entry, Terms};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;

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
    /// What `previous` said and `entry` says.
    pub terms: Terms,
    pub frames: FrameCache,
}

/// Slots in which readers keep what they made of an event, so that it is made once for all watchers. What a slot means
/// is the reader's business.
#[derive(Debug, Default)]
pub struct FrameCache(Mutex<Frames>);

#[derive(Debug, Default)]
enum Frames {
    /// Nobody made anything yet.
    #[default]
    None,
    Made(Box<[Option<Bytes>; FrameCache::SLOTS]>),
    /// Nobody waits for this event any more; who reads it nevertheless makes what they need.
    Cold,
}

impl FrameCache {
    pub const SLOTS: usize = 4;

    /// The bytes of a slot, made by `make` if nobody has yet.
    ///
    /// # Panics
    /// When `slot` is not below [`FrameCache::SLOTS`].
    pub fn get_or_make(&self, slot: usize, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut frames = self.0.lock();
        if let Frames::None = *frames {
            *frames = Frames::Made(Box::default());
        }
        match &mut *frames {
            Frames::Made(slots) => slots[slot].get_or_insert_with(make).clone(),
            Frames::None | Frames::Cold => {
                drop(frames);
                make()
            }
        }
    }

    /// Gives the memory back.
    pub(crate) fn cool(&self) {
        *self.0.lock() = Frames::Cold;
    }
}
