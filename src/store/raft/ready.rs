//! What raft wants done, in the order it must be done.
//!
//! ```text
//! send messages ─▶ install a snapshot ─▶ apply what is committed ─▶ append, fsync ─▶ send the messages that say so
//!   ─▶ advance ─▶ apply what that committed ─▶ answer
//! ```
//!
//! Invariant: nothing is told to anyone, peers included, that says more than what is durable.

use super::{
    codec,
    log::{Applied, Position},
    node::{Leadership, Node, names},
    pending::Answer,
    snapshot,
    transport::PeerMessage,
};
use crate::{
    metrics::Metrics,
    mvcc::{Event, EventKind, Keyspace},
    txn::{Commit, CommitError, Reader, Txn},
};
use bytes::Bytes;
use prost_raft::Message as _;
use raft::{
    Ready, SoftState, StateRole,
    eraftpb::{ConfChange, Entry, EntryType, Message, MessageType, Snapshot},
};
use std::{io, sync::Arc, time::Instant};

impl Node {
    pub(super) fn process_ready(&mut self) -> io::Result<()> {
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            if let Some(state) = ready.ss() {
                self.tell_leadership(state);
            }
            self.send(ready.take_messages());
            let installed = !ready.snapshot().is_empty();
            if installed {
                self.install(&ready)?;
            }
            for read in ready.take_read_states() {
                self.pending.read_confirmed(&read.request_ctx, read.index);
            }
            self.apply(ready.take_committed_entries())?;
            let entries = ready.take_entries();
            // The state came with the snapshot.
            let hard_state = ready.hs().filter(|_| !installed);
            if !entries.is_empty() || hard_state.is_some() {
                let begun = Instant::now();
                self.log.append(entries, hard_state)?;
                self.metrics.synced(begun.elapsed());
            }
            self.send(ready.take_persisted_messages());
            let mut light = self.raw.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.log.set_commit(commit);
            }
            self.send(light.take_messages());
            self.apply(light.take_committed_entries())?;
            self.raw.advance_apply();
        }
        for answer in self.pending.readable(self.log.applied().at.index) {
            // The reader may have gone.
            drop(answer.send(self.hub.view()));
        }
        Ok(())
    }

    fn tell_leadership(&mut self, state: &SoftState) {
        let leader = Some(state.leader_id).filter(|id| *id != raft::INVALID_ID);
        let here = state.raft_state == StateRole::Leader;
        let before = self.leadership.send_replace(Leadership { leader, here });
        if here {
            Metrics::add(&self.metrics.elections_won, 1);
        }
        if before.leader.is_some() && before.leader != leader {
            // What the old leader had not decided may be lost with it, and nothing would ever say so.
            let why = "the leader is gone; the write may have taken place, or may still".to_owned();
            self.pending.fail(&CommitError::Unavailable(why));
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let is_snapshot = message.msg_type == MessageType::MsgSnapshot as i32;
            self.transport.send(PeerMessage { to: message.to, bytes: codec::encode_message(&message), is_snapshot });
        }
    }

    /// Another replica's state takes the place of ours.
    fn install(&mut self, ready: &Ready) -> io::Result<()> {
        let Snapshot { data, metadata } = ready.snapshot();
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot {what}"));
        let metadata = metadata.as_ref().ok_or_else(|| wrong("without its place in the log"))?;
        let (revision, entries) = snapshot::decode(data).ok_or_else(|| wrong("that cannot be read"))?;
        self.finish_background();
        self.keyspace = Keyspace::restored(revision, entries);
        let members = metadata.conf_state.clone().unwrap_or_default();
        tracing::info!(
            revision,
            index = metadata.index,
            members = names(&members),
            "took over another replica's state"
        );
        let at = Position { index: metadata.index, term: metadata.term };
        self.log.install(Applied { at, members, view: self.keyspace.view() }, ready.hs())?;
        self.hub.restart(self.keyspace.view());
        self.bytes_since_checkpoint = 0;
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        let begun = Instant::now();
        let at = Position { index: last.index, term: last.term };
        let mut members = self.log.applied().members;
        let mut outcomes = Vec::new();
        let mut events = Vec::new();
        for entry in entries {
            match entry.entry_type() {
                EntryType::EntryNormal => self.apply_batch(entry, &mut events, &mut outcomes),
                EntryType::EntryConfChange => {
                    self.log.persist_commit(entry.index)?;
                    members = self.apply_member_change(&entry)?;
                }
                EntryType::EntryConfChangeV2 => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a change of members of a kind that is never proposed",
                    ));
                }
            }
        }
        self.log.set_applied(Applied { at, members, view: self.keyspace.view() });
        if !events.is_empty() {
            self.count(&events);
            self.hub.publish(self.keyspace.view(), &events);
        }
        for (answer, outcome) in outcomes {
            // The caller may have gone; the write stands.
            drop(answer.send(outcome));
        }
        self.metrics.apply_durations.observe(begun.elapsed());
        Ok(())
    }

    fn apply_batch(
        &mut self,
        entry: Entry,
        events: &mut Vec<Arc<Event>>,
        outcomes: &mut Vec<(Answer, Result<Commit, CommitError>)>,
    ) {
        // An empty entry opens a leader's term.
        self.bytes_since_checkpoint += entry.data.len() as u64;
        let mut answers = self.pending.proposed(&entry.context).into_iter();
        let record = Bytes::from(entry.data);
        let mut reader = Reader(&record);
        while !reader.0.is_empty() {
            let txn = Txn::decode(&record, &mut reader).expect("the log holds what a store encoded");
            let applied = self.keyspace.apply(&txn);
            let counter = if applied.outcome.is_ok() { &self.metrics.commits } else { &self.metrics.conflicts };
            Metrics::add(counter, 1);
            events.extend(applied.events);
            if let Some(answer) = answers.next() {
                outcomes.push((answer, applied.outcome));
            }
        }
    }

    fn apply_member_change(&mut self, entry: &Entry) -> io::Result<raft::eraftpb::ConfState> {
        let change = ConfChange::decode(entry.data.as_slice()).map_err(io::Error::other)?;
        let members = self.raw.apply_conf_change(&change).map_err(io::Error::other)?;
        tracing::info!(members = names(&members), "the members changed");
        if let Some(answer) = self.pending.member_changed(&entry.context) {
            // Whoever asked may have gone; the change stands.
            drop(answer.send(Ok(())));
        }
        Ok(members)
    }

    fn count(&self, events: &[Arc<Event>]) {
        let puts = events.iter().filter(|event| event.kind == EventKind::Put).count() as u64;
        Metrics::add(&self.metrics.puts, puts);
        Metrics::add(&self.metrics.deletes, events.len() as u64 - puts);
        self.metrics.keys.store(self.keyspace.len() as u64, std::sync::atomic::Ordering::Relaxed);
    }
}
