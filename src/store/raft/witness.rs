//! A replica that keeps the log and no keyspace: a third vote for two that have everything.
//!
//! It takes entries, confirms them and votes like any other, so what it has confirmed it must be able to hand on: the
//! only other one that has it may be lost. So it leads when nobody else can win, and then gives the lead away:
//!
//! ```text
//! A leads; A and W have entry 7, B has 6      A is lost
//! B asks for votes: W refuses, it has more    W waits longer, asks B, leads
//! W sends 7 to B, and hands it the lead       B leads, with everything that was ever answered
//! ```
//!
//! Invariant: an entry is cut from its log when every member has said that it has it, not before: it has no keyspace that
//! could stand for the entries.
//! Invariant: whoever could lead instead has the first word: it waits three times as long before it asks for votes.

use super::replica::{ELECTION_TICKS, Replica};
use crate::engine::CheckpointMark;
use std::collections::BTreeSet;

/// How much longer a witness waits for a leader.
const PATIENCE: usize = 3;

/// What a witness waits for before it cuts its log.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Up to here everyone has the log, as leaders say.
    everyone_has: u64,
    /// A place in the log that not everyone has reached yet, or was not known to.
    next: Option<Place>,
    /// The last one that everyone has reached.
    reached: Option<Place>,
}

#[derive(Debug)]
struct Place {
    mark: CheckpointMark,
    /// Bytes of log up to there, counted since the start.
    bytes: u64,
}

impl Witness {
    /// Up to where the log can be cut, and how many bytes of it there are since `cut`.
    pub(super) fn bytes_since(&self, cut: u64) -> u64 {
        self.reached.as_ref().map_or(0, |place| place.bytes.saturating_sub(cut))
    }

    /// The place to cut at, and its bytes.
    pub(super) fn take(&mut self) -> Option<(CheckpointMark, u64)> {
        self.reached.take().map(|place| (place.mark, place.bytes))
    }

    /// Its log is another one's from now on.
    pub(super) fn restart(&mut self) {
        (self.next, self.reached) = (None, None);
    }

    fn hear(&mut self, everyone_has: u64) {
        self.everyone_has = self.everyone_has.max(everyone_has);
    }

    fn look(&mut self, now: impl FnOnce() -> Place) {
        if self.next.as_ref().is_some_and(|place| place.mark.index <= self.everyone_has) {
            self.reached = self.next.take();
        }
        if self.next.is_none() {
            self.next = Some(now());
        }
    }
}

impl Replica {
    pub(crate) fn is_witness(&self) -> bool {
        self.witness.is_some()
    }

    /// Which of the others are witnesses: they are not asked to lead.
    pub(crate) fn know_witnesses(&mut self, witnesses: BTreeSet<u64>) {
        self.witnesses = witnesses;
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

    /// Something was applied, or heard.
    pub(super) fn look_where_to_cut(&mut self) {
        let everyone_has = if self.leads() { self.everyone_has() } else { 0 };
        let bytes = self.sizes.total();
        if let Some(witness) = &mut self.witness {
            witness.hear(everyone_has);
            witness.look(|| Place { mark: self.log.applied().mark(), bytes });
        }
    }
}
