//! What raft wants done, and when it may be told that it was.
//!
//! ```text
//! ready ─▶ messages at once ─▶ a snapshot, entries, term and vote: one write ─▶ held until durable ─▶ messages that say so
//!   └─▶ committed entries ─▶ apply
//! ```
//!
//! Invariant: what raft holds back until something is durable waits for every write before it as well: a message may
//! confirm an entry that an earlier write holds.

use super::{
    codec,
    effects::{Outgoing, Settled, Show, What, Write},
    log::{Applied, Position},
    pieces::Whole,
    replica::Replica,
};
use crate::{metrics::Metrics, mvcc::Keyspace};
use raft::{
    Ready,
    eraftpb::{Message, MessageType},
};
use std::io;

/// A ready whose end is waited for.
pub(super) struct Held {
    ready: u64,
    /// The write that must be durable first.
    write: u64,
    term: u64,
    messages: Vec<Message>,
}

impl Replica {
    /// Lets raft go as far as it can.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.settle_election();
        // What waited for a write goes on, though raft has nothing new.
        self.apply()?;
        loop {
            self.propose_waiting();
            self.hand_on();
            if !self.raw.has_ready() {
                break;
            }
            let mut ready = self.raw.ready();
            self.notice_leader(&ready);
            self.send(ready.take_messages());
            self.committed.extend(ready.take_committed_entries());
            self.write(&mut ready)?;
            for read in ready.take_read_states() {
                self.pending.read_confirmed(&read.request_ctx, read.index);
            }
            let mut messages = ready.take_persisted_messages();
            let (at_once, later) = messages.drain(..).partition(|m| self.is_free(m));
            self.send(at_once);
            let (number, term) = (ready.number(), self.raw.raft.term);
            self.raw.advance_append_async(ready);
            self.held.push_back(Held { ready: number, write: self.last_write, term, messages: later });
            self.release();
            self.apply()?;
        }
        let applied = self.log.applied_index();
        for answer in self.pending.readable(applied) {
            self.effects.answers.push(Settled::Read(answer, self.keyspace.view()));
        }
        self.notice_term();
        Ok(())
    }

    /// Messages that promise nothing about the log: a slow disk does not hold them up. That a leader is heard says that
    /// its term is known, so that must not be forgotten.
    fn is_free(&self, message: &Message) -> bool {
        match message.msg_type() {
            MessageType::MsgHeartbeatResponse => message.term <= self.durable_term,
            MessageType::MsgPropose | MessageType::MsgReadIndex => true,
            _ => false,
        }
    }

    /// Ends what has become durable.
    pub(super) fn release(&mut self) {
        while self.held.front().is_some_and(|held| held.write <= self.durable_write) {
            let held = self.held.pop_front().expect("just seen");
            self.durable_term = self.durable_term.max(held.term);
            self.raw.on_persist_ready(held.ready);
            self.send(held.messages);
        }
        if let Some((write, index)) = self.installing
            && write <= self.durable_write
        {
            self.installing = None;
            self.raw.advance_apply_to(index);
        }
        if let Some((write, commit)) = self.commit_write
            && write <= self.durable_write
        {
            self.durable_commit = commit;
            self.commit_write = None;
        }
    }

    fn notice_leader(&mut self, ready: &Ready) {
        if ready.ss().is_some() && self.leads() {
            Metrics::add(&self.metrics.elections_won, 1);
        }
    }

    /// What an old leader had not decided may be lost with it, and nothing would ever say so.
    fn notice_term(&mut self) {
        let led = (self.raw.raft.leader_id, self.raw.raft.term);
        if led == self.led {
            return;
        }
        let before = std::mem::replace(&mut self.led, led);
        if before.0 != raft::INVALID_ID {
            self.fail_pending("the leader is gone; the write may have taken place, or may still");
        }
        if led.0 != raft::INVALID_ID {
            self.ask_again();
        }
        if self.leads() {
            self.heard.begin();
            self.witness_begins(self.raw.raft.raft_log.last_index());
        }
        self.inbox.clear();
    }

    pub(super) fn send(&mut self, messages: Vec<Message>) {
        for mut message in messages {
            if message.msg_type() == MessageType::MsgHeartbeat {
                // Raft has no use for this field of a heartbeat; a witness has.
                message.index = self.everyone_has();
            }
            let keyspace = match message.msg_type() {
                MessageType::MsgSnapshot => {
                    let at = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref()).map_or(0, |m| m.index);
                    let Some(view) = self.log.offered(message.to, at) else { continue };
                    // A witness is told the place in the log, and needs nothing else.
                    let bare = self.witnesses.contains(&message.to);
                    if bare {
                        self.witness_begins(at);
                    }
                    Some(if bare { Keyspace::default().view() } else { view })
                }
                _ => None,
            };
            self.effects.messages.push(Outgoing { message, keyspace });
        }
    }

    pub(super) fn ask_write(&mut self, what: What) -> u64 {
        self.last_write += 1;
        self.effects.writes.push(Write { number: self.last_write, what });
        self.last_write
    }

    fn write(&mut self, ready: &mut Ready) -> io::Result<()> {
        if !ready.snapshot().is_empty() {
            self.install(ready)?;
            // The term and vote went with the snapshot.
            let entries = ready.take_entries();
            if !entries.is_empty() {
                let what = self.log.stage(entries, None);
                self.ask_write(what);
            }
            return Ok(());
        }
        let entries = ready.take_entries();
        let hard_state = ready.hs().cloned();
        match hard_state {
            // Where the commit index is is found again from the log; that alone is worth no fsync.
            Some(state) if !ready.must_sync() => self.log.set_commit(state.commit),
            None if entries.is_empty() => {}
            hard_state => {
                let what = self.log.stage(entries, hard_state.as_ref());
                self.ask_write(what);
            }
        }
        Ok(())
    }

    /// Another replica's state takes the place of ours.
    fn install(&mut self, ready: &Ready) -> io::Result<()> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot {what}"));
        let metadata = ready.snapshot().metadata.as_ref().ok_or_else(|| wrong("without its place in the log"))?;
        let whole = self.arrived.take().ok_or_else(|| wrong("without a keyspace"))?;
        let whole = if self.is_witness() { Whole::default() } else { whole };
        self.keyspace =
            Keyspace::restored(self.keeper.clone(), self.index, whole.revision, whole.entries.iter().cloned())?;
        let members = metadata.conf_state.clone().unwrap_or_default();
        tracing::info!(
            revision = whole.revision,
            index = metadata.index,
            members = super::members::names(&members),
            "took over another replica's state"
        );
        let at = Position { index: metadata.index, term: metadata.term };
        self.committed.clear();
        self.commit_write = None;
        self.durable_commit = self.durable_commit.max(at.index);
        let applied = Applied { at, members, view: self.keyspace.view() };
        let (mark, hard_state) = self.log.restart(applied, ready.hs().map(codec::hard_state_from_raft));
        let write = self.ask_write(What::Install { entries: whole.entries, mark, hard_state });
        self.installing = Some((write, at.index));
        match &mut self.witness {
            Some(witness) => witness.restart(),
            None => self.effects.shows.push(Show::Restart(self.keyspace.view())),
        }
        self.sizes.restart();
        Ok(())
    }
}
