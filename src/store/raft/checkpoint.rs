//! How the log is kept short: now and then what it came to is written down, and then the log behind that is cut.
//!
//! ```text
//! enough log ─▶ write changes, mark (thread) ─▶ trim raft's log ─▶ cut the engine's (thread)
//! ```
//!
//! Both slow parts run beside the owner thread; there is one of them at a time.

use super::node::{Node, Request};
use crate::{engine::CheckpointMark, metrics::Metrics};
use std::{io, thread::JoinHandle};

/// Entries that a replica with peers keeps behind a checkpoint, for peers that are a little late.
const KEEP_FOR_PEERS: u64 = 2000;

/// What runs beside the owner thread.
pub(super) struct Background {
    number: u64,
    thread: JoinHandle<()>,
}

/// What ended.
pub(crate) enum Done {
    Checkpoint(CheckpointMark),
    Cut,
}

impl Node {
    pub(super) fn checkpoint_if_due(&mut self) {
        if self.background.is_some()
            || self.broken.is_some()
            || self.bytes_since_checkpoint < self.options.checkpoint_bytes
        {
            return;
        }
        // A checkpoint writes at most about twice the log's bytes before it gives any back. What it may take is not what
        // the writes are left with: rather a long log than a disk that is full halfway.
        let needed = self.options.reserve_bytes + 2 * self.bytes_since_checkpoint;
        if self.engine.free_bytes().is_some_and(|free| free < needed) {
            return;
        }
        self.bytes_since_checkpoint = 0;
        let mark = self.log.applied().mark();
        let changes = self.keyspace.take_changes();
        let engine = self.engine.clone();
        self.in_background(move || engine.checkpoint(&changes, &mark).map(|()| Done::Checkpoint(mark)));
    }

    pub(super) fn background_done(&mut self, number: u64, outcome: io::Result<Done>) {
        if self.background.take_if(|running| running.number == number).is_none() {
            // Somebody has waited for it since.
            return;
        }
        match outcome {
            Ok(Done::Checkpoint(mark)) => {
                Metrics::add(&self.metrics.checkpoints, 1);
                self.cut(&mark);
            }
            Ok(Done::Cut) => {}
            Err(error) => self.break_down(&error),
        }
    }

    fn cut(&mut self, mark: &CheckpointMark) {
        let keep = if mark.voters.len() + mark.learners.len() > 1 { KEEP_FOR_PEERS } else { 0 };
        let through = mark.index.saturating_sub(keep);
        // A snapshot may have come meanwhile, and the log may begin behind this already.
        if self.log.trim(through).is_ok() {
            let engine = self.engine.clone();
            self.in_background(move || engine.cut(through).map(|()| Done::Cut));
        }
    }

    fn in_background(&mut self, work: impl FnOnce() -> io::Result<Done> + Send + 'static) {
        let (to_self, number) = (self.to_self.clone(), self.next_background);
        self.next_background += 1;
        // The node is gone when the store was closed meanwhile; a checkpoint is whole or absent either way.
        let work = move || drop(to_self.send(Request::BackgroundDone(number, work())));
        match std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(work) {
            Ok(thread) => self.background = Some(Background { number, thread }),
            Err(error) => self.break_down(&error),
        }
    }

    /// Waits for what runs beside this thread.
    pub(super) fn finish_background(&mut self) {
        if let Some(running) = self.background.take() {
            running.thread.join().expect("a checkpoint does not panic");
        }
    }
}
