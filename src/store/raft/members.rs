//! Who takes part, who leads, and how that changes.

use super::{
    effects::Settled,
    pending::MemberAnswer,
    replica::{ELECTION_TICKS, Replica},
};
use crate::txn::CommitError;
use raft::{
    ProgressState,
    eraftpb::{ConfChange, ConfChangeType, ConfState},
};
use std::collections::BTreeMap;

/// A change of who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    AddVoter(u64),
    /// Gets the log, and has no vote until it has caught up; then the leader makes it a voter.
    AddLearner(u64),
    Remove(u64),
}

/// Who leads, as this replica knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader's id, if there is one.
    pub leader: Option<u64>,
    /// Whether that is this replica.
    pub here: bool,
    pub term: u64,
    /// Whether no other replica takes part.
    pub alone: bool,
}

/// One of those who take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStatus {
    pub id: u64,
    pub voter: bool,
    pub leader: bool,
    /// How many entries of the log it lacks, and whether it was heard of lately; known to the leader only.
    pub behind: Option<u64>,
    pub active: Option<bool>,
}

/// A learner that lacks no more entries than this is promoted.
const CAUGHT_UP: u64 = 256;

/// Who was not heard of for so many ticks is taken for gone.
const SILENT_TICKS: u64 = 2 * ELECTION_TICKS as u64;

/// A leader whose disk has not done a write for so many ticks gives the lead to another one.
const STALLED_TICKS: usize = 3 * ELECTION_TICKS;

/// Who was heard of when, in ticks. (Raft's own note of it is wiped each time the leader counts its followers.)
#[derive(Debug, Default)]
pub(super) struct Heard {
    now: u64,
    last: BTreeMap<u64, u64>,
    /// Since when it is listened.
    since: u64,
}

impl Heard {
    pub(super) fn tick(&mut self) {
        self.now += 1;
    }

    pub(super) fn of(&mut self, id: u64) {
        self.last.insert(id, self.now);
    }

    /// Nobody had a reason to say anything before.
    pub(super) fn begin(&mut self) {
        self.since = self.now;
    }

    /// Whoever had no time yet to say anything counts as heard.
    fn lately(&self, id: u64) -> bool {
        let last = self.last.get(&id).copied().unwrap_or(0).max(self.since);
        self.now - last <= SILENT_TICKS
    }

    /// It answers heartbeats, one of which is sent with each tick.
    fn just_now(&self, id: u64) -> bool {
        self.last.get(&id).is_some_and(|last| self.now - last <= 3)
    }
}

impl Replica {
    pub(super) fn propose_member(&mut self, change: MemberChange, answer: MemberAnswer) {
        let (kind, node_id) = match change {
            MemberChange::AddVoter(id) => (ConfChangeType::AddNode, id),
            MemberChange::AddLearner(id) => (ConfChangeType::AddLearnerNode, id),
            MemberChange::Remove(id) => (ConfChangeType::RemoveNode, id),
        };
        let refuse = |why: String| Err(CommitError::Unavailable(why));
        let voters: Vec<u64> = self.raw.raft.prs().conf().voters().ids().iter().collect();
        let stays = voters.iter().any(|id| *id != node_id && !self.witnesses.contains(id));
        if change == MemberChange::Remove(node_id) && !stays {
            let refusal = refuse("the last voter cannot be removed".to_owned());
            return self.effects.answers.push(Settled::Member(answer, refusal));
        }
        if change == MemberChange::Remove(self.settings.node_id) && self.step_aside() {
            let refusal = refuse("this server leads; another one takes the lead now, try again".to_owned());
            return self.effects.answers.push(Settled::Member(answer, refusal));
        }
        // With a witness a majority may hold with one server that has data: it must not be the one that goes.
        if self.has_witness() && matches!(change, MemberChange::Remove(_)) {
            let leads = self.leads() && !self.is_witness();
            let why = match leads {
                true if node_id != self.settings.node_id => None,
                true => Some("this server is the only one with data that is up: start another one first"),
                false => Some("only the leader removes a member; try again"),
            };
            if let Some(why) = why {
                let refusal = refuse(why.to_owned());
                return self.effects.answers.push(Settled::Member(answer, refusal));
            }
        }
        if matches!(change, MemberChange::AddLearner(_)) && voters.contains(&node_id) {
            let refusal = refuse(format!("member {node_id} has a vote already; remove it first"));
            return self.effects.answers.push(Settled::Member(answer, refusal));
        }
        if self.raw.raft.has_pending_conf() && self.leads() {
            let refusal = refuse("another change of members is under way; try again".to_owned());
            return self.effects.answers.push(Settled::Member(answer, refusal));
        }
        let context = self.pending.member_change(answer, self.raw.raft.term);
        if let Err(error) = self.raw.propose_conf_change(context.clone(), conf_change(kind, node_id))
            && let Some(answer) = self.pending.member_changed(&context)
        {
            self.effects.answers.push(Settled::Member(answer, refuse(no_proposal(&error))));
        }
    }

    /// What a leader does about the others, now and then.
    pub(super) fn look_after_members(&mut self) {
        if !self.leads() {
            return;
        }
        if self.stalled_ticks >= STALLED_TICKS {
            self.stalled_ticks = 0;
            if self.step_aside() {
                tracing::warn!("the disk has not done a write for long; another server takes the lead");
            }
        }
        if !self.is_witness() {
            self.promote();
        }
        self.go_easy_on_witnesses();
    }

    /// Whether it answers at this moment.
    pub(super) fn heard_just_now(&self, id: u64) -> bool {
        self.heard.just_now(id)
    }

    fn promote(&mut self) {
        let raft = &self.raw.raft;
        if raft.has_pending_conf() || raft.lead_transferee.is_some() {
            return;
        }
        let committed = raft.raft_log.committed;
        let learners = raft.prs().conf().learners();
        let caught_up = raft.prs().iter().filter(|(id, _)| learners.contains(*id)).filter(|(id, progress)| {
            let near = progress.matched + CAUGHT_UP >= committed && progress.matched > 0;
            // A witness must be able to hand it all that it lacks.
            let held = !self.has_witness() || progress.matched >= self.witness_from;
            near && held && self.heard.lately(**id) && progress.state == ProgressState::Replicate
        });
        if let Some(id) = caught_up.map(|(id, _)| *id).min() {
            let context = self.pending.nobodys(raft.term);
            // Refused now, it is tried again at the next tick.
            drop(self.raw.propose_conf_change(context, conf_change(ConfChangeType::AddNode, id)));
        }
    }

    /// Asks the voter that is nearest to take the lead; whether there is one.
    pub(crate) fn step_aside(&mut self) -> bool {
        let raft = &self.raw.raft;
        let voters = raft.prs().conf().voters().ids();
        let others = raft
            .prs()
            .iter()
            .filter(|(id, _)| **id != self.settings.node_id && !self.witnesses.contains(*id))
            .filter(|(id, _)| voters.contains(**id) && self.heard.just_now(**id));
        let nearest = others.max_by_key(|(id, progress)| (progress.matched, **id)).map(|(id, _)| *id);
        let Some(nearest) = nearest.filter(|_| self.leads()) else { return false };
        self.raw.transfer_leader(nearest);
        true
    }

    /// Hands the lead to a voter.
    pub(crate) fn transfer(&mut self, to: u64) -> std::io::Result<()> {
        self.raw.transfer_leader(to);
        self.settle()
    }

    /// Those who take part, by id.
    pub(crate) fn members(&self) -> Vec<MemberStatus> {
        let raft = &self.raw.raft;
        let (voters, last) = (raft.prs().conf().voters().ids(), raft.raft_log.last_index());
        let known = self.leads();
        let mut members: Vec<MemberStatus> = raft
            .prs()
            .iter()
            .map(|(id, progress)| MemberStatus {
                id: *id,
                voter: voters.contains(*id),
                leader: raft.leader_id == *id,
                behind: known.then(|| last.saturating_sub(progress.matched)),
                active: known.then(|| *id == self.settings.node_id || self.heard.lately(*id)),
            })
            .collect();
        members.sort_unstable_by_key(|member| member.id);
        members
    }
}

fn conf_change(kind: ConfChangeType, node_id: u64) -> ConfChange {
    ConfChange { change_type: kind.into(), node_id, ..ConfChange::default() }
}

pub(super) fn no_proposal(error: &raft::Error) -> String {
    match error {
        raft::Error::ProposalDropped => {
            "there is no leader at the moment, or it is changing its members; try again".to_owned()
        }
        other => other.to_string(),
    }
}

/// For logs.
pub(super) fn names(members: &ConfState) -> String {
    format!("voters {:?}, learners {:?}", members.voters, members.learners)
}
