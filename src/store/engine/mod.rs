//! Where the log and the checkpoint lie: the door to the disk, with a twin in memory for tests.

mod codec;
mod memory;
mod sled;

pub use memory::MemoryEngine;
pub use sled::SledEngine;

use crate::mvcc::Entry;
use std::{io, sync::Arc};

/// The on-disk format that this code writes. A newer one is refused.
pub const FORMAT: u64 = 1;

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
    /// The last log entry in it.
    pub index: u64,
    pub term: u64,
    /// The store's revision then.
    pub revision: u64,
    /// Raft's voters then.
    pub voters: Vec<u64>,
}

/// What a checkpoint changes: keys with their new entries, or `None` where they are gone.
pub type Changes = Vec<(bytes::Bytes, Option<Arc<Entry>>)>;

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

/// The door. Everything is durable when a call returns, unless it says otherwise.
pub trait Engine: Send + Sync + 'static {
    /// Reads everything back; once, at open.
    fn load(&self) -> io::Result<Loaded>;

    /// Appends entries, replacing those from the first one's index on, together with the hard state. One fsync.
    fn append(&self, entries: &[LogEntry], hard_state: Option<HardState>) -> io::Result<()>;

    /// Entries with `low <= index < high`.
    fn entries(&self, low: u64, high: u64) -> io::Result<Vec<LogEntry>>;

    /// Writes the keys that changed since the last checkpoint, and its mark, as one atomic step.
    fn checkpoint(&self, changes: Changes, mark: &CheckpointMark) -> io::Result<()>;

    /// Drops log entries up to `through`. Need not be durable: the checkpoint's mark says where the log begins.
    fn cut(&self, through: u64) -> io::Result<()>;

    /// Free bytes on the disk below; `None` where that means nothing.
    fn free_bytes(&self) -> Option<u64>;
}
