//! Writes on their way into the log: those that wait here, and those that come from other replicas.
//!
//! ```text
//! propose ─▶ outbox ─▶ (a leader is known, the disk keeps up) ─▶ one entry of everything that waits ─▶ here or in one hop
//! ```
//!
//! Invariant: a write that was not handed to raft waits for a leader; whoever asked hears nothing wrong meanwhile.
//! Invariant: a network that doubles or delays messages doubles no write: a leader takes each proposal once, and only
//! those that were meant for its term.

use super::{
    pending::{self, Answer},
    replica::Replica,
};
use crate::metrics::Metrics;
use raft::eraftpb::Message;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::atomic::Ordering::Relaxed,
};

/// An entry takes no more transactions when it has this many bytes, so that none waits long for the others' fsync.
const BATCH_BYTES: usize = 256 << 10;

/// So many writes may wait for the disk before new proposals wait for them, so that one fsync serves more of them.
const WRITES_AHEAD: u64 = 2;

/// Transactions that wait to be proposed.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(Vec<u8>, Answer)>,
    /// Nothing is proposed any more: the lead is being handed over.
    pub(super) closed: bool,
}

impl Outbox {
    fn batch(&mut self) -> (Vec<u8>, Vec<Answer>) {
        let Some((mut data, answer)) = self.waiting.pop_front() else { return Default::default() };
        let mut answers = vec![answer];
        while data.len() < BATCH_BYTES
            && let Some((more, answer)) = self.waiting.pop_front()
        {
            data.extend_from_slice(&more);
            answers.push(answer);
        }
        (data, answers)
    }

    pub(super) fn forget_the_gone(&mut self) {
        self.waiting.retain(|(_, answer)| !answer.is_closed());
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Answer> {
        self.waiting.drain(..).map(|(_, answer)| answer)
    }

    fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// What other replicas proposed in this leader's term.
#[derive(Default)]
pub(super) struct Inbox {
    seen: BTreeMap<[u8; 16], BTreeSet<u64>>,
}

/// How far a proposal may be overtaken by others of its replica. One that is later still is dropped.
const OVERTAKEN: usize = 1024;

impl Inbox {
    pub(super) fn is_new(&mut self, message: &Message, term: u64) -> bool {
        let [entry] = message.entries.as_slice() else { return false };
        let Some(proposal) = pending::read_context(&entry.context) else { return false };
        if proposal.term != term {
            return false;
        }
        let seen = self.seen.entry(proposal.origin).or_default();
        let too_late = seen.len() >= OVERTAKEN && seen.first().is_some_and(|oldest| proposal.id < *oldest);
        if too_late || !seen.insert(proposal.id) {
            return false;
        }
        if seen.len() > OVERTAKEN {
            seen.pop_first();
        }
        true
    }

    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }
}

impl Replica {
    /// Takes encoded transactions.
    pub(crate) fn propose(&mut self, txns: impl IntoIterator<Item = (Vec<u8>, Answer)>) -> io::Result<()> {
        self.outbox.waiting.extend(txns);
        self.settle()
    }

    /// Takes no more proposals for raft; they wait until this replica ends or another one leads.
    pub(crate) fn hold_proposals(&mut self) {
        self.outbox.closed = true;
    }

    pub(crate) fn has_pending(&self) -> bool {
        self.pending.len() > 0
    }

    pub(super) fn propose_waiting(&mut self) {
        while self.outbox.len() > 0 && self.may_propose() {
            let (data, answers) = self.outbox.batch();
            let size = data.len() as u64;
            let context = self.pending.proposal(answers, self.raw.raft.term);
            match self.raw.propose(context.clone(), data) {
                Ok(()) => {
                    Metrics::add(&self.metrics.batches, 1);
                    Metrics::add(&self.metrics.log_bytes, size);
                }
                Err(error) => {
                    let why = super::members::no_proposal(&error);
                    for answer in self.pending.proposed(&context) {
                        let error = crate::txn::CommitError::Unavailable(why.clone());
                        self.effects.answers.push(super::effects::Settled::Commit(answer, Err(error)));
                    }
                }
            }
        }
        self.metrics.pending.store((self.pending.len() + self.outbox.len()) as u64, Relaxed);
    }

    fn may_propose(&self) -> bool {
        let raft = &self.raw.raft;
        !self.outbox.closed
            && raft.leader_id != raft::INVALID_ID
            && !self.witnesses.contains(&raft.leader_id)
            && raft.lead_transferee.is_none()
            && raft.prs().get(self.settings.node_id).is_some()
            && (!self.leads() || self.last_write - self.durable_write < WRITES_AHEAD)
    }
}
