//! Replicated, revisioned, watchable bytes: what etcd is to Kubernetes, as a library.
//!
//! Reading order: [`txn`] (what a write is), [`mvcc`] (what applying one does: pure), [`raft`] (how it becomes durable),
//! [`engine`] (where the bytes lie), `hub` (who is told), `store` (the handle); [`snapshot`] (a keyspace as a file),
//! `rebuild` (a store begun with one), [`seal`] (values that only memory has open).
//!
//! ```text
//! commit ─▶ queue ─▶ raft thread: batch ─▶ append + one fsync (─▶ peers) ─▶ apply ─▶ publish view ─▶ tell watchers ─▶ answer
//! view ───▶ newest root, O(1)
//! watch ──▶ hub: pushed while fast, read back from the event window when slow
//! ```
//!
//! Invariant: a commit is answered after its batch is on disk, and after [`Store::view`] and every watch show it.
//! Invariant: revisions grow by one for each operation that changes a key, on every replica the same.
//! Invariant: the log is what is durable. The checkpoint of the keyspace is written before the log behind it is cut.
//! Invariant: durable means that it survives a power failure, not only the end of the process.
//! Invariant: one replica or several, the way of a write is the same; alone, the messages have nobody to go to.
//! Invariant: nothing here knows Kubernetes.

pub mod engine;
mod hub;
mod metrics;
pub mod mvcc;
mod options;
mod raft;
mod rebuild;
pub mod seal;
#[cfg(test)]
mod sim;
pub mod snapshot;
mod store;
#[cfg(test)]
mod tests;
pub mod txn;

pub use hub::{WatchItem, Watcher};
pub use metrics::{Histogram, Metrics};
pub use mvcc::{Change, Compacted, Entry, Event, EventKind, FrameCache, Index, Now, Term, Terms, View};
pub use options::{OpenError, Options};
pub use raft::{
    Alone, Assembly, Leadership, MemberChange, MemberStatus, NotAPiece, PeerMessage, Pieces, Transport, Whole,
};
pub use rebuild::{ensure_free, found, salvage};
pub use seal::{SealStatus, Sealing};
pub use store::{NotAMessage, Store, Unavailable};
pub use txn::{Commit, CommitError, Expect, Op, Stamped, Txn};
