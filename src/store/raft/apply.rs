//! What is committed takes effect.
//!
//! Before members change it is made durable that the log is committed up to there, so that a replica which comes back
//! knows of them before it takes part in anything: with members of long ago it could choose a leader of its own.

use super::{
    codec,
    effects::{Settled, Show, What},
    log::{Applied, Position},
    members::names,
    replica::Replica,
};
use crate::{
    metrics::Metrics,
    mvcc::{Event, EventKind},
    txn::{Reader, Txn},
};
use bytes::Bytes;
use prost_raft::Message as _;
use raft::eraftpb::{ConfChange, ConfState, Entry, EntryType};
use std::{io, sync::Arc, sync::atomic::Ordering::Relaxed};

impl Replica {
    pub(super) fn apply(&mut self) -> io::Result<()> {
        let mut at = None;
        let mut members = None;
        let mut events = Vec::new();
        while let Some(entry) = self.committed.front() {
            let changes_members = entry.entry_type() != EntryType::EntryNormal;
            if changes_members && self.durable_commit < entry.index {
                self.write_commit(entry.index);
                break;
            }
            let entry = self.committed.pop_front().expect("just seen");
            at = Some(Position { index: entry.index, term: entry.term });
            if changes_members {
                members = Some(self.apply_member_change(&entry)?);
            } else {
                self.apply_batch(entry, &mut events)?;
            }
        }
        let Some(at) = at else { return Ok(()) };
        let members = members.unwrap_or_else(|| self.log.members());
        self.log.set_applied(Applied { at, members, view: self.keyspace.view() });
        self.raw.advance_apply_to(at.index);
        self.look_where_to_cut();
        if !events.is_empty() {
            self.count(&events);
            self.effects.shows.push(Show::Events { view: self.keyspace.view(), events });
        }
        Ok(())
    }

    fn write_commit(&mut self, index: u64) {
        if self.commit_write.is_none_or(|(_, asked)| asked < index) {
            let hard_state = self.log.commit_through(index);
            let number = self.ask_write(What::Append { entries: Vec::new(), hard_state: Some(hard_state) });
            self.commit_write = Some((number, index));
        }
    }

    fn apply_batch(&mut self, entry: Entry, events: &mut Vec<Arc<Event>>) -> io::Result<()> {
        // An empty entry opens a leader's term.
        self.sizes.applied(entry.index, entry.data.len() as u64);
        let mut answers = self.pending.proposed(&entry.context).into_iter();
        if self.is_witness() {
            return Ok(());
        }
        let record = Bytes::from(entry.data);
        let mut reader = Reader(&record);
        while !reader.0.is_empty() {
            let unreadable = || {
                let detail = format!("entry {} of the log holds what no store of this version writes", entry.index);
                io::Error::new(io::ErrorKind::InvalidData, detail)
            };
            let txn = Txn::decode(&record, &mut reader).ok_or_else(unreadable)?;
            let applied = self.keyspace.take(txn)?;
            let counter = if applied.outcome.is_ok() { &self.metrics.commits } else { &self.metrics.conflicts };
            Metrics::add(counter, 1);
            events.extend(applied.events);
            if let Some(answer) = answers.next() {
                self.effects.answers.push(Settled::Commit(answer, applied.outcome));
            }
        }
        Ok(())
    }

    fn apply_member_change(&mut self, entry: &Entry) -> io::Result<ConfState> {
        let EntryType::EntryConfChange = entry.entry_type() else {
            let detail = "a change of members of a kind that is never proposed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        };
        let change = ConfChange::decode(entry.data.as_slice()).map_err(io::Error::other)?;
        let members = codec::sorted(self.raw.apply_conf_change(&change).map_err(io::Error::other)?);
        self.heard.of(change.node_id);
        tracing::info!(members = names(&members), "the members changed");
        if self.leads() && !members.voters.contains(&self.settings.node_id) {
            // Raft would go on leading those it no longer belongs to.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        if let Some(answer) = self.pending.member_changed(&entry.context) {
            self.effects.answers.push(Settled::Member(answer, Ok(())));
        }
        Ok(members)
    }

    fn count(&self, events: &[Arc<Event>]) {
        let puts = events.iter().filter(|event| event.kind == EventKind::Put).count() as u64;
        Metrics::add(&self.metrics.puts, puts);
        Metrics::add(&self.metrics.deletes, events.len() as u64 - puts);
        self.metrics.keys.store(self.keyspace.len() as u64, Relaxed);
    }
}
