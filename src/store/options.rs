//! How a store is opened, and why it may not be.

use crate::{mvcc::Index, seal::Sealing};
use std::{path::PathBuf, time::Duration};
use thiserror::Error;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which values are sealed on disk and on the way to other replicas; `None` reads none that are.
    pub sealing: Option<Sealing>,
    /// Where it lives; `None` keeps it in memory, for tests.
    pub dir: Option<PathBuf>,
    /// Which cluster and which member a directory is for: another one's is refused. `None` takes any.
    pub identity: Option<String>,
    /// This replica's raft id, not 0.
    pub node_id: u64,
    /// The voters of a new cluster, the same on each of them; `None` is this one alone. Empty for a replica that waits to
    /// be added to a cluster that is there. Of no effect on a directory that has been used.
    pub founders: Option<Vec<u64>>,
    /// Keeps the log and votes, and has no keyspace: views are empty, and it never leads for longer than it takes to hand
    /// the lead on. One in a cluster, of whose members at least two are none.
    pub witness: bool,
    /// What entries can be read and watched by besides their keys.
    pub index: Option<Index>,
    /// How long events and old views can be read.
    pub event_window: Duration,
    /// How many events are kept at most, whatever their age.
    pub event_window_count: usize,
    /// How many bytes are kept at most for events alone, values that were replaced above all, whatever their age.
    pub event_window_bytes: usize,
    /// The log is cut when this many bytes have been appended since the last time.
    pub checkpoint_bytes: u64,
    /// How many bytes of log are kept behind a checkpoint, for replicas that are late. One that is later gets a snapshot.
    pub keep_bytes: u64,
    /// Writes are refused when the disk has less room than this, in bytes.
    pub reserve_bytes: u64,
    /// A write or a barrier that is not decided after this long fails; the write may take place nevertheless.
    pub timeout: Duration,
    /// Raft's clock: a leader is missed after six to twelve of them.
    pub tick: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sealing: None,
            dir: None,
            identity: None,
            node_id: 1,
            founders: None,
            witness: false,
            index: None,
            event_window: Duration::from_secs(5 * 60),
            event_window_count: 100_000,
            event_window_bytes: 64 << 20,
            checkpoint_bytes: 64 << 20,
            keep_bytes: 32 << 20,
            reserve_bytes: 64 << 20,
            timeout: Duration::from_secs(7),
            tick: Duration::from_millis(100),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the store in {dir} is in use by another process: stop that one, or choose another data directory")]
    Locked { dir: PathBuf },
    #[error(
        "the store in {dir} has format {found}, this executable reads up to {supported}: use the newer mk8s that wrote it"
    )]
    Newer { dir: PathBuf, found: u64, supported: u64 },
    #[error(
        "the store in {dir} has format {found}, this executable reads {supported} and no older one: use the older mk8s that wrote it"
    )]
    Older { dir: PathBuf, found: u64, supported: u64 },
    #[error(
        "the store in {dir} is of {found}, and this is {expected}: put that server's own directory back, or remove {dir} and let this server join anew"
    )]
    Foreign { dir: PathBuf, found: String, expected: String },
    #[error("the store in {dir} is damaged ({detail}): restore it from a snapshot")]
    Damaged { dir: PathBuf, detail: String },
    #[error("the store in {dir} cannot be opened")]
    Io {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
}
