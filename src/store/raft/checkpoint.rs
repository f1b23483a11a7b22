//! How the log is kept short: now and then what it came to is written down, and then the log behind that is cut.
//!
//! ```text
//! enough log ─▶ write changes, mark ─▶ trim raft's log ─▶ cut the engine's
//! ```
//!
//! Both slow parts run beside everything else; there is one of them at a time.

use super::{pieces::Pieces, replica::Replica};
use crate::{
    engine::{CheckpointMark, Engine},
    metrics::Metrics,
    mvcc::{Change, Contents, Entry, Now, View},
    seal::Sealer,
};
use std::{collections::VecDeque, io, sync::Arc};

/// A checkpoint that is to be written, and what seals it.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    contents: Contents,
    sealer: Option<Sealer>,
    mark: CheckpointMark,
}

/// A checkpoint that is durable.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    mark: CheckpointMark,
    /// Whether everything was written anew.
    all: bool,
}

impl Checkpoint {
    /// Makes it durable. Slow.
    pub(crate) fn write(self, engine: &dyn Engine) -> io::Result<Done> {
        let Self { contents, sealer, mark } = self;
        let sealed = |entry: &Arc<Entry>| match &sealer {
            Some(sealer) => sealer.entry(entry),
            None => entry.clone(),
        };
        match contents {
            Contents::All(view) => {
                engine.rewrite(&mut view.after(None).map(sealed), &mark)?;
                Ok(Done { mark, all: true })
            }
            Contents::Changes(mut changes) => {
                for Change { now, .. } in &mut changes {
                    if let Now::Entry(entry) = now {
                        *entry = sealed(entry);
                    }
                }
                engine.checkpoint(&changes, &mark)?;
                Ok(Done { mark, all: false })
            }
        }
    }
}

/// How large the log is, and where, about.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Bytes that were applied, since this was made.
    total: u64,
    at_checkpoint: u64,
    /// Now and then: an entry, and the total up to it.
    marks: VecDeque<(u64, u64)>,
}

/// When the disk has not much room, so many times less log is enough for a checkpoint, and is kept for late replicas.
const SCARCE_SHARE: u64 = 8;

/// Bytes of log: as many as an option says, or fewer where the disk has not much room.
pub(super) fn of_log(bytes: u64, scarce: bool) -> u64 {
    if scarce { bytes / SCARCE_SHARE } else { bytes }
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

    pub(super) fn total(&self) -> u64 {
        self.total
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
    /// A view as it goes to another replica.
    pub(crate) fn pieces(&self, view: View) -> Pieces {
        let sealer = self.keeper.as_ref().and_then(|keeper| keeper.sealer(&view));
        Pieces::new(view).sealed_by(sealer)
    }

    /// How many bytes of log came since the last checkpoint.
    pub(crate) fn bytes_since_checkpoint(&self) -> u64 {
        if let Some(witness) = &self.witness {
            return witness.ripe_bytes(self.sizes.total, self.sizes.at_checkpoint);
        }
        self.sizes.since_checkpoint()
    }

    /// How many bytes a checkpoint of now would write, about. Looks at everything that changed.
    pub(crate) fn checkpoint_size(&self) -> u64 {
        match (&self.witness, self.wants_rewrite()) {
            (Some(_), _) => 0,
            (None, true) => self.keyspace.bytes(),
            (None, false) => self.keyspace.changed_bytes(),
        }
    }

    /// Whether a checkpoint is due whatever the log's size: values on the disk are sealed in another way than they should.
    pub(crate) fn wants_rewrite(&self) -> bool {
        self.keyspace.wants_rewrite()
    }

    /// What a checkpoint of now holds; [`Replica::checkpointed`] is told when it is durable.
    pub(crate) fn checkpoint(&mut self) -> Checkpoint {
        if let Some((mark, bytes)) = self.witness.as_mut().and_then(|witness| witness.take(self.sizes.total)) {
            self.sizes.at_checkpoint = bytes;
            return Checkpoint { contents: Contents::Changes(Vec::new()), sealer: None, mark };
        }
        self.sizes.at_checkpoint = self.sizes.total;
        let (contents, sealer) = self.keyspace.take_contents();
        Checkpoint { contents, sealer, mark: self.log.applied().mark() }
    }

    /// A checkpoint is durable: gives up to where the log may be cut, if it may. Less of it stays for late replicas where
    /// the disk has not much room.
    pub(crate) fn checkpointed(&mut self, Done { mark, all }: &Done, scarce: bool) -> Option<u64> {
        Metrics::add(&self.metrics.checkpoints, 1);
        if *all && !self.keyspace.wants_rewrite() {
            self.keeper.iter().for_each(|keeper| keeper.set_rewriting(false));
        }
        // What was sealed in another way shall not stay in a log that nobody is likely to ask for.
        let keeps = self.has_peers() && !self.is_witness() && (self.leads() || !all);
        let through = if keeps {
            self.needed_by_nobody(of_log(self.settings.keep_bytes, scarce)).min(mark.index)
        } else {
            mark.index
        };
        // A snapshot may have come meanwhile, and the log may begin behind this already.
        (through > 0 && self.log.trim(through).is_ok()).then_some(through)
    }

    /// The last entry that no peer is going to ask for; one that is very late gets a snapshot.
    fn needed_by_nobody(&mut self, keep: u64) -> u64 {
        let by_size = self.sizes.behind(keep);
        if !self.leads() {
            return by_size;
        }
        let slowest = self.raw.raft.prs().iter().map(|(_, progress)| progress.matched).min();
        by_size.max(slowest.unwrap_or(0))
    }
}
