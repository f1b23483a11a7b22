//! How the log is kept short: now and then what it came to is written down, and then the log behind that is cut.
//!
//! ```text
//! enough log ─▶ write changes, mark ─▶ trim raft's log ─▶ cut the engine's
//! ```
//!
//! Both slow parts run beside everything else; there is one of them at a time.

use super::replica::Replica;
use crate::{engine::CheckpointMark, metrics::Metrics, mvcc::Change};
use std::collections::VecDeque;

/// How large the log is, and where, about.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Bytes that were applied, since this was made.
    total: u64,
    at_checkpoint: u64,
    /// Now and then: an entry, and the total up to it.
    marks: VecDeque<(u64, u64)>,
}

/// How many marks there are for what is kept for late replicas.
const MARKS: u64 = 64;

impl Sizes {
    pub(super) fn applied(&mut self, index: u64, bytes: u64) {
        self.total += bytes;
        if self.marks.back().is_none_or(|(at, _)| index > *at) {
            self.marks.push_back((index, self.total));
        }
    }

    pub(super) fn restart(&mut self) {
        self.at_checkpoint = self.total;
        self.marks.clear();
    }

    fn since_checkpoint(&self) -> u64 {
        self.total - self.at_checkpoint
    }

    /// The entry behind which about `keep` bytes lie; forgets what is before it.
    fn behind(&mut self, keep: u64) -> u64 {
        let mut through = 0;
        while let Some((index, total)) = self.marks.front().copied()
            && self.total - total >= keep
        {
            through = index;
            self.marks.pop_front();
        }
        // Fewer, and as good.
        let apart = keep / MARKS;
        let mut last = 0;
        self.marks.retain(|(_, total)| {
            let stays = *total >= last + apart;
            last = if stays { *total } else { last };
            stays
        });
        through
    }
}

impl Replica {
    /// How many bytes of log came since the last checkpoint.
    pub(crate) fn bytes_since_checkpoint(&self) -> u64 {
        self.sizes.since_checkpoint()
    }

    /// What a checkpoint of now holds; [`Replica::checkpointed`] is told when it is durable.
    pub(crate) fn checkpoint(&mut self) -> (Vec<Change>, CheckpointMark) {
        self.sizes.at_checkpoint = self.sizes.total;
        (self.keyspace.take_changes(), self.log.applied().mark())
    }

    /// A checkpoint is durable: gives up to where the log may be cut, if it may.
    pub(crate) fn checkpointed(&mut self, mark: &CheckpointMark) -> Option<u64> {
        Metrics::add(&self.metrics.checkpoints, 1);
        let through = if self.has_peers() { self.needed_by_nobody().min(mark.index) } else { mark.index };
        // A snapshot may have come meanwhile, and the log may begin behind this already.
        (through > 0 && self.log.trim(through).is_ok()).then_some(through)
    }

    /// The last entry that no peer is going to ask for; one that is very late gets a snapshot.
    fn needed_by_nobody(&mut self) -> u64 {
        let by_size = self.sizes.behind(self.settings.keep_bytes);
        if !self.leads() {
            return by_size;
        }
        let slowest = self.raw.raft.prs().iter().map(|(_, progress)| progress.matched).min();
        by_size.max(slowest.unwrap_or(0))
    }
}
