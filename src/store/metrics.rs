//! What the store counts. The server publishes it under etcd's names.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Transactions that took place.
    pub commits: AtomicU64,
    /// Transactions that failed by an expectation.
    pub conflicts: AtomicU64,
    /// Batches made durable, each with one fsync.
    pub syncs: AtomicU64,
    /// Microseconds spent making batches durable.
    pub sync_micros: AtomicU64,
    /// Bytes appended to the log.
    pub log_bytes: AtomicU64,
    /// Checkpoints of the keyspace, each followed by a cut of the log.
    pub checkpoints: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
