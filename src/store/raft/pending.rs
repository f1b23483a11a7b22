//! Who waits for what raft has not decided yet.

use crate::{
    mvcc::View,
    txn::{Commit, CommitError},
};
use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::oneshot;

pub(super) type Answer = oneshot::Sender<Result<Commit, CommitError>>;
pub(super) type MemberAnswer = oneshot::Sender<Result<(), CommitError>>;
pub(super) type ReadAnswer = oneshot::Sender<View>;

/// Who proposed: entries come back on every replica, also those from before a restart, and are answered on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    node_id: u64,
    /// This life of the replica.
    life: u64,
}

/// See the module.
pub(super) struct Pending {
    origin: Origin,
    next: u64,
    proposals: HashMap<u64, Vec<Answer>>,
    member_changes: HashMap<u64, MemberAnswer>,
    reads: HashMap<u64, Vec<ReadAnswer>>,
    /// Reads that wait until the log is applied up to an index.
    confirmed: Vec<(u64, Vec<ReadAnswer>)>,
}

impl Pending {
    pub(super) fn new(node_id: u64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let life = since_epoch.as_nanos() as u64;
        Self {
            origin: Origin { node_id, life },
            next: 0,
            proposals: HashMap::new(),
            member_changes: HashMap::new(),
            reads: HashMap::new(),
            confirmed: Vec::new(),
        }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn context(&self, id: u64) -> Vec<u8> {
        [self.origin.node_id, self.origin.life, id].iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    /// The number in a context of ours; `None` for another replica's or another life's.
    fn id(&self, context: &[u8]) -> Option<u64> {
        let (origin, id) = context.split_last_chunk::<8>()?;
        (*origin == self.context(0)[..16]).then(|| u64::from_be_bytes(*id))
    }

    /// Gives the context to propose with.
    pub(super) fn proposal(&mut self, answers: Vec<Answer>) -> Vec<u8> {
        let id = self.next();
        self.proposals.insert(id, answers);
        self.context(id)
    }

    pub(super) fn proposed(&mut self, context: &[u8]) -> Vec<Answer> {
        self.id(context).and_then(|id| self.proposals.remove(&id)).unwrap_or_default()
    }

    pub(super) fn member_change(&mut self, answer: MemberAnswer) -> Vec<u8> {
        let id = self.next();
        self.member_changes.insert(id, answer);
        self.context(id)
    }

    pub(super) fn member_changed(&mut self, context: &[u8]) -> Option<MemberAnswer> {
        self.id(context).and_then(|id| self.member_changes.remove(&id))
    }

    pub(super) fn read(&mut self, answers: Vec<ReadAnswer>) -> Vec<u8> {
        let id = self.next();
        self.reads.insert(id, answers);
        self.context(id)
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

    /// Reads that raft has not answered: it forgets those that it was asked at a bad moment.
    pub(super) fn unconfirmed_reads(&self) -> Vec<Vec<u8>> {
        self.reads.keys().map(|id| self.context(*id)).collect()
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

    /// Answers everyone who wants something written.
    pub(super) fn fail(&mut self, error: &CommitError) {
        for answer in self.proposals.drain().flat_map(|(_, answers)| answers) {
            // Whoever has gone does not need it.
            drop(answer.send(Err(error.clone())));
        }
        for (_, answer) in self.member_changes.drain() {
            drop(answer.send(Err(error.clone())));
        }
    }
}
