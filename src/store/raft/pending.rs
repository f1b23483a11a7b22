//! Who waits for what raft has not decided yet.

use super::effects::Settled;
use crate::{
    mvcc::View,
    txn::{Commit, CommitError},
};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

pub(crate) type Answer = oneshot::Sender<Result<Commit, CommitError>>;
pub(crate) type MemberAnswer = oneshot::Sender<Result<(), CommitError>>;
pub(crate) type ReadAnswer = oneshot::Sender<View>;

/// Who proposed: entries come back on every replica, also those from before a restart, and are answered on one.
pub(super) type Origin = [u8; 16];

/// What a proposal carries with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The replica and its life.
    pub(super) origin: Origin,
    /// The term it was meant for.
    pub(super) term: u64,
    pub(super) id: u64,
}

/// See the module.
pub(super) struct Pending {
    origin: Origin,
    next: u64,
    proposals: BTreeMap<u64, Vec<Answer>>,
    member_changes: BTreeMap<u64, MemberAnswer>,
    reads: BTreeMap<u64, Vec<ReadAnswer>>,
    /// Reads that wait until the log is applied up to an index.
    confirmed: Vec<(u64, Vec<ReadAnswer>)>,
}

impl Pending {
    pub(super) fn new(node_id: u64, life: u64) -> Self {
        let mut origin = [0; 16];
        origin[..8].copy_from_slice(&node_id.to_be_bytes());
        origin[8..].copy_from_slice(&life.to_be_bytes());
        Self {
            origin,
            next: 0,
            proposals: BTreeMap::new(),
            member_changes: BTreeMap::new(),
            reads: BTreeMap::new(),
            confirmed: Vec::new(),
        }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn context(&self, term: u64, id: u64) -> Vec<u8> {
        let mut context = Vec::with_capacity(32);
        context.extend_from_slice(&self.origin);
        context.extend_from_slice(&term.to_be_bytes());
        context.extend_from_slice(&id.to_be_bytes());
        context
    }

    /// The number in a context of ours; `None` for another replica's or another life's.
    fn id(&self, context: &[u8]) -> Option<u64> {
        read_context(context).filter(|proposal| proposal.origin == self.origin).map(|proposal| proposal.id)
    }

    /// Gives the context to propose with.
    pub(super) fn proposal(&mut self, answers: Vec<Answer>, term: u64) -> Vec<u8> {
        let id = self.next();
        self.proposals.insert(id, answers);
        self.context(term, id)
    }

    pub(super) fn proposed(&mut self, context: &[u8]) -> Vec<Answer> {
        self.id(context).and_then(|id| self.proposals.remove(&id)).unwrap_or_default()
    }

    pub(super) fn member_change(&mut self, answer: MemberAnswer, term: u64) -> Vec<u8> {
        let id = self.next();
        self.member_changes.insert(id, answer);
        self.context(term, id)
    }

    /// A context for what nobody waits for.
    pub(super) fn nobodys(&mut self, term: u64) -> Vec<u8> {
        let id = self.next();
        self.context(term, id)
    }

    pub(super) fn member_changed(&mut self, context: &[u8]) -> Option<MemberAnswer> {
        self.id(context).and_then(|id| self.member_changes.remove(&id))
    }

    pub(super) fn read(&mut self, answers: Vec<ReadAnswer>) -> Vec<u8> {
        let id = self.next();
        self.reads.insert(id, answers);
        self.context(0, id)
    }

    /// Raft says that a read which sees the log up to `index` sees everything it must.
    pub(super) fn read_confirmed(&mut self, context: &[u8], index: u64) {
        if let Some(answers) = self.id(context).and_then(|id| self.reads.remove(&id)) {
            self.confirmed.push((index, answers));
        }
    }

    /// The reads that may be answered now.
    pub(super) fn readable(&mut self, applied: u64) -> impl Iterator<Item = ReadAnswer> {
        self.confirmed.extract_if(.., move |(index, _)| *index <= applied).flat_map(|(_, answers)| answers)
    }

    /// Reads that raft has not answered.
    pub(super) fn unconfirmed_reads(&self) -> Vec<Vec<u8>> {
        self.reads.keys().map(|id| self.context(0, *id)).collect()
    }

    /// Forgets those who have stopped waiting.
    pub(super) fn forget_the_gone(&mut self) {
        self.proposals.retain(|_, answers| answers.iter().any(|answer| !answer.is_closed()));
        self.member_changes.retain(|_, answer| !answer.is_closed());
        self.reads.retain(|_, answers| answers.iter().any(|answer| !answer.is_closed()));
    }

    /// How many proposals wait.
    pub(super) fn len(&self) -> usize {
        self.proposals.values().map(Vec::len).sum()
    }

    /// What to tell everyone who wants something written.
    pub(super) fn fail(&mut self, error: &CommitError) -> Vec<Settled> {
        let proposals = std::mem::take(&mut self.proposals).into_values().flatten();
        let changes = std::mem::take(&mut self.member_changes).into_values();
        let told = proposals.map(|answer| Settled::Commit(answer, Err(error.clone())));
        told.chain(changes.map(|answer| Settled::Member(answer, Err(error.clone())))).collect()
    }
}

/// Reads what a proposal carries; `None` when it is none of this version's.
pub(super) fn read_context(context: &[u8]) -> Option<Proposal> {
    let (origin, rest) = context.split_first_chunk::<16>()?;
    let (term, rest) = rest.split_first_chunk::<8>()?;
    let id = rest.try_into().ok()?;
    Some(Proposal { origin: *origin, term: u64::from_be_bytes(*term), id: u64::from_be_bytes(id) })
}
