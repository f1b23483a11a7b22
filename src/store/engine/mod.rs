//! Where the log and the checkpoint lie: the door to the disk, with a twin in memory for tests.

mod codec;
mod memory;
mod migrate;
mod parts;
mod room;
mod sled;
#[cfg(test)]
mod tests;
mod wal;

pub use memory::{Fault, MemoryEngine};
pub use sled::SledEngine;

use crate::mvcc::{Change, Entry};
use std::{io, sync::Arc};

/// The on-disk format that this code writes. The one before is brought to it, another one is refused.
pub const FORMAT: u64 = 3;

/// One entry of raft's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub index: u64,
    pub term: u64,
    /// Raft's entry type as a number.
    pub kind: i32,
    pub data: Vec<u8>,
    pub context: Vec<u8>,
}

/// What raft must not forget: its term, vote and commit index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// How far a checkpoint of the keyspace reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointMark {
    /// The last log entry in it; 0 before there is any.
    pub index: u64,
    pub term: u64,
    /// The store's revision then.
    pub revision: u64,
    /// Raft's members then.
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
}

/// What was found when an engine was opened.
#[derive(Debug, Default)]
pub struct Loaded {
    pub hard_state: HardState,
    pub mark: CheckpointMark,
    /// The log's entries behind the checkpoint, without gaps.
    pub log: Vec<LogEntry>,
    /// The keyspace of the checkpoint.
    pub entries: Vec<Arc<Entry>>,
}

/// The door. Everything is durable, also if the power fails, when a call returns, unless it says otherwise. An append or
/// an install that fails with [`io::ErrorKind::StorageFull`] has changed nothing, and may be tried again.
pub trait Engine: Send + Sync + 'static {
    /// Reads everything back; once, at open.
    fn load(&self) -> io::Result<Loaded>;

    /// As [`Engine::load`], with the last entry alone of a log that may be long.
    fn load_end(&self) -> io::Result<Loaded>;

    /// Appends entries, replacing those from the first one's index on, together with the hard state. All of it or
    /// nothing, with one fsync.
    fn append(&self, entries: &[Arc<LogEntry>], hard_state: Option<HardState>) -> io::Result<()>;

    /// Entries with `low <= index < high`: the first, and as many more as fit into `bytes_max`.
    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> io::Result<Vec<LogEntry>>;

    /// Writes what changed since the last checkpoint, and then its mark. Before the mark is durable the checkpoint
    /// before counts, as if nothing had been written. Slow, and does not hold up [`Engine::append`]. Where the disk has no
    /// room it may wait for some, until [`Engine::stop_waiting`]. When it fails, what is kept is known to nobody.
    fn checkpoint(&self, changes: &[Change], mark: &CheckpointMark) -> io::Result<()>;

    /// As [`Engine::checkpoint`], of everything anew: nothing of the checkpoint before is kept when it returns.
    fn rewrite(&self, entries: &mut dyn Iterator<Item = Arc<Entry>>, mark: &CheckpointMark) -> io::Result<()>;

    /// Replaces everything, the log included, by another replica's keyspace; at once, as [`Engine::checkpoint`].
    fn install(&self, entries: &[Arc<Entry>], mark: &CheckpointMark, hard_state: HardState) -> io::Result<()>;

    /// Drops log entries up to `through`. Need not be durable: the checkpoint's mark says where the log begins. Slow,
    /// and does not hold up [`Engine::append`].
    fn cut(&self, through: u64) -> io::Result<()>;

    /// Free bytes on the disk below; `None` where that means nothing.
    fn free_bytes(&self) -> Option<u64>;

    /// Whether a checkpoint may take so many bytes: of what is free, and of what is kept for it.
    fn has_room_for(&self, bytes: u64) -> bool {
        self.free_bytes().is_none_or(|free| free >= bytes)
    }

    /// Whatever waits for room, now or later, fails instead.
    fn stop_waiting(&self) {}

    /// Bytes on the disk; `None` where that means nothing.
    fn used_bytes(&self) -> Option<u64> {
        None
    }
}
