//! A replica that keeps the log and no keyspace: a third vote for two that have everything.
//!
//! It takes entries, confirms them and votes like any other, so what it has confirmed it must be able to hand on: the
//! only other one that has it may be lost. So it leads when nobody else can win, and then gives the lead away:
//!
//! ```text
//! A leads; A and W have entry 7, B has 6      A is lost
//! B asks for votes: W refuses, it has more    W asks B at once, and leads
//! W sends 7 to B, and hands it the lead       B leads, with everything that was ever answered
//! ```
//!
//! Invariant: an entry is cut from its log when every member has said that it has it, or when so much was written since
//! that the log would not be short any more: it has no keyspace that could stand for the entries. What is cut is committed,
//! so a replica with a keyspace has it, and gives it to the late one.
//! Invariant: whoever could lead instead has the first word: it waits three times as long before it asks for votes by
//! itself.
//! Invariant: while it leads nothing is proposed; its own entry that opens its term is the only one it adds.

use super::replica::{ELECTION_TICKS, Replica};
use crate::engine::CheckpointMark;
use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};
use std::{
    collections::{BTreeSet, VecDeque},
    io,
};

/// How much longer a witness waits for a leader.
const PATIENCE: usize = 3;

/// So many messages with entries are on their way to a witness at most, of up to so many bytes unless one entry has more: it
/// holds each of them several times over until it is on its disk.
pub(super) const ON_THEIR_WAY: usize = 4;
pub(super) const MESSAGE_BYTES: u64 = 128 << 10;

/// How many places to cut at are known at most.
const PLACES: u64 = 64;

/// Where a witness may cut its log.
#[derive(Debug)]
pub(super) struct Witness {
    /// Up to here everyone has the log, as leaders say.
    everyone_has: u64,
    /// Places in the log that were applied and not cut at yet, in order.
    places: VecDeque<Place>,
    /// How many bytes of log are kept at most for whoever lacks them.
    keep_bytes: u64,
}

#[derive(Debug)]
struct Place {
    mark: CheckpointMark,
    /// Bytes of log up to there, counted since the start.
    bytes: u64,
}

impl Witness {
    pub(super) fn new(keep_bytes: u64) -> Self {
        Self { everyone_has: 0, places: VecDeque::new(), keep_bytes }
    }

    /// Everything up to `mark` is applied, the `bytes`th byte of log.
    fn applied(&mut self, bytes: u64, mark: impl FnOnce() -> CheckpointMark) {
        let far = self.places.back().is_none_or(|last| bytes >= last.bytes + self.keep_bytes / PLACES);
        if far && (self.places.len() as u64) < 2 * PLACES {
            self.places.push_back(Place { mark: mark(), bytes });
        }
    }

    fn hear(&mut self, everyone_has: u64) {
        self.everyone_has = self.everyone_has.max(everyone_has);
    }

    /// How many of the places the log may begin behind, when it has `bytes` bytes up to now.
    fn ripe(&self, bytes: u64) -> usize {
        let is_ripe = |place: &Place| place.mark.index <= self.everyone_has || bytes - place.bytes > self.keep_bytes;
        self.places.partition_point(is_ripe)
    }

    /// How many bytes would be cut, of which those up to `cut` are.
    pub(super) fn ripe_bytes(&self, bytes: u64, cut: u64) -> u64 {
        let last = self.ripe(bytes).checked_sub(1).and_then(|last| self.places.get(last));
        last.map_or(0, |place| place.bytes.saturating_sub(cut))
    }

    /// The last place to cut at, and its bytes.
    pub(super) fn take(&mut self, bytes: u64) -> Option<(CheckpointMark, u64)> {
        let place = self.places.drain(..self.ripe(bytes)).next_back()?;
        if place.mark.index > self.everyone_has {
            tracing::info!(
                index = place.mark.index,
                "a server is far behind; it will get what this witness cuts from a server with data"
            );
        }
        Some((place.mark, place.bytes))
    }

    /// Its log is another one's from now on.
    pub(super) fn restart(&mut self) {
        self.places.clear();
    }
}

impl Replica {
    pub(crate) fn is_witness(&self) -> bool {
        self.witness.is_some()
    }

    /// Which of the others are witnesses: they are not asked to lead, and need no keyspace.
    pub(crate) fn know_witnesses(&mut self, witnesses: BTreeSet<u64>) {
        self.witnesses = witnesses;
    }

    /// Whether this replica is a witness or knows of one.
    pub(super) fn has_witness(&self) -> bool {
        self.is_witness() || !self.witnesses.is_empty()
    }

    /// The log of a witness may begin behind here. It cannot bring whoever lacks what is before.
    pub(super) fn witness_begins(&mut self, index: u64) {
        self.witness_from = self.witness_from.max(index);
    }

    /// How many ticks are waited for a leader, at least.
    pub(super) fn election_ticks(&self) -> usize {
        if self.is_witness() { PATIENCE * ELECTION_TICKS } else { ELECTION_TICKS }
    }

    /// The most that is ever waited.
    pub(super) fn election_ticks_max(witness: bool) -> usize {
        if witness { (PATIENCE + 1) * ELECTION_TICKS } else { 2 * ELECTION_TICKS }
    }

    /// Up to where all members have the log, as far as a leader knows. What it has not applied does not count: whoever is
    /// about to be a member may lack it.
    pub(super) fn everyone_has(&self) -> u64 {
        let matched = self.raw.raft.prs().iter().map(|(_, progress)| progress.matched).min();
        matched.unwrap_or(0).min(self.log.applied_index())
    }

    /// What a leader says of that.
    pub(super) fn hear_everyone_has(&mut self, index: u64) {
        if let Some(witness) = &mut self.witness {
            witness.hear(index);
        }
    }

    /// Something was applied.
    pub(super) fn look_where_to_cut(&mut self) {
        let Some(witness) = &mut self.witness else { return };
        let log = &self.log;
        witness.applied(self.sizes.total(), || log.applied().mark());
        if self.leads() {
            self.hear_everyone_has(self.everyone_has());
        }
    }

    /// Whether somebody asks a witness for its vote who cannot win without what it has, when there is no leader: it is to
    /// lead itself then, and need not wait longer.
    pub(super) fn must_lead_instead(&self, message: &Message) -> bool {
        let raft = &self.raw.raft;
        let asks = matches!(message.msg_type(), MessageType::MsgRequestPreVote | MessageType::MsgRequestVote);
        let unled = raft.leader_id == raft::INVALID_ID || raft.election_elapsed >= ELECTION_TICKS;
        let here = (raft.raft_log.last_term(), raft.raft_log.last_index());
        let voters = raft.prs().conf().voters().ids();
        asks && unled
            && self.is_witness()
            && raft.state == StateRole::Follower
            && voters.contains(message.from)
            && voters.contains(self.settings.node_id)
            && (message.log_term, message.index) < here
    }

    pub(super) fn lead_instead(&mut self) -> io::Result<()> {
        if self.installing.is_none() {
            self.raw.campaign().map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// What a leader does for witnesses to be small.
    pub(super) fn go_easy_on_witnesses(&mut self) {
        for id in &self.witnesses {
            self.raw.raft.max_msg_size = MESSAGE_BYTES;
            self.raw.raft.adjust_max_inflight_msgs(*id, ON_THEIR_WAY);
        }
    }

    /// A witness that leads hands the lead to whoever has everything that is here.
    pub(super) fn hand_on(&mut self) {
        if !self.is_witness() || !self.leads() || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let raft = &self.raw.raft;
        let (voters, last) = (raft.prs().conf().voters().ids(), raft.raft_log.last_index());
        let able = raft.prs().iter().filter(|(id, progress)| {
            **id != self.settings.node_id && voters.contains(**id) && progress.matched == last
        });
        let to = able.map(|(id, _)| *id).filter(|id| self.heard_just_now(*id)).max();
        if let Some(to) = to {
            self.raw.transfer_leader(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(index: u64) -> CheckpointMark {
        CheckpointMark { index, ..CheckpointMark::default() }
    }

    /// What is cut after `applied` entries of 100 bytes, when everyone has those up to `everyone_has`.
    fn cut(applied: u64, everyone_has: u64) -> Option<u64> {
        let mut witness = Witness::new(6400);
        (1..=applied).for_each(|index| witness.applied(index * 100, || mark(index)));
        witness.hear(everyone_has);
        let bytes = witness.ripe_bytes(applied * 100, 0);
        let taken = witness.take(applied * 100);
        assert_eq!(taken.as_ref().map_or(0, |(_, bytes)| *bytes), bytes);
        taken.map(|(mark, _)| mark.index)
    }

    #[test]
    fn what_everyone_has_is_cut_and_what_somebody_lacks_is_kept_as_long_as_it_is_little() {
        assert_eq!(cut(0, 0), None);
        assert_eq!(cut(10, 0), None);
        assert_eq!(cut(10, 7), Some(7));
        assert_eq!(cut(10, 99), Some(10));
        assert_eq!(cut(65, 0), None, "64 entries behind the first");
        assert_eq!(cut(66, 0), Some(1));
        assert_eq!(cut(100, 5), Some(35));
        assert_eq!(cut(100, 50), Some(50));
    }

    #[test]
    fn no_more_than_so_many_places_are_noted() {
        let mut witness = Witness::new(0);
        (1..=1000).for_each(|index| witness.applied(0, || mark(index)));
        assert_eq!(witness.places.len() as u64, 2 * PLACES);
        witness.hear(u64::MAX);
        assert!(witness.take(0).is_some() && witness.take(0).is_none());
        witness.applied(0, || mark(1001));
        assert_eq!(witness.take(0).map(|(mark, _)| mark.index), Some(1001));
    }
}
