//! Raft's view of the log: the newest entries in memory, the rest in the engine; and the state that a snapshot is made of.

use super::{codec, effects::What};
use crate::{
    engine::{CheckpointMark, Engine, HardState, LogEntry},
    mvcc::View,
};
use parking_lot::RwLock;
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState as RaftHardState, Snapshot, SnapshotMetadata},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// See the module.
pub(super) struct Log {
    engine: Arc<dyn Engine>,
    state: RwLock<State>,
    /// There is no keyspace that could be sent.
    witness: bool,
}

struct State {
    hard_state: HardState,
    /// The newest entries; what is before the first one is in the engine only.
    recent: VecDeque<Arc<LogEntry>>,
    last: Position,
    /// The entry before the log's first; its term is all that is left of it.
    trimmed: Position,
    applied: Applied,
    /// By replica, the place and the keyspace that a snapshot's message was last made for.
    offers: BTreeMap<u64, (u64, View)>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) index: u64,
    pub(super) term: u64,
}

/// What the log came to, up to an entry.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    pub(super) at: Position,
    pub(super) members: ConfState,
    pub(super) view: View,
}

impl Applied {
    pub(super) fn mark(&self) -> CheckpointMark {
        CheckpointMark {
            index: self.at.index,
            term: self.at.term,
            revision: self.view.revision(),
            voters: self.members.voters.clone(),
            learners: self.members.learners.clone(),
        }
    }
}

impl Log {
    pub(super) fn shared(
        engine: Arc<dyn Engine>,
        mut hard_state: HardState,
        log: Vec<LogEntry>,
        applied: Applied,
        witness: bool,
    ) -> SharedLog {
        let trimmed = applied.at;
        // The commit index is not synced by itself; what is in the checkpoint was committed.
        hard_state.commit = hard_state.commit.max(trimmed.index);
        let last = log.last().map_or(trimmed, |entry| Position { index: entry.index, term: entry.term });
        if last.term > hard_state.term {
            // It has not voted in a term that it knows from an entry only.
            (hard_state.term, hard_state.vote) = (last.term, 0);
        }
        let recent = log.into_iter().map(Arc::new).collect();
        let offers = BTreeMap::new();
        let state = RwLock::new(State { hard_state, recent, last, trimmed, applied, offers });
        SharedLog(Arc::new(Self { engine, state, witness }))
    }

    /// Takes entries and state into memory, where raft sees them, and gives what makes them durable.
    pub(super) fn stage(&self, entries: Vec<Entry>, hard_state: Option<&RaftHardState>) -> What {
        let entries: Vec<Arc<LogEntry>> = entries.into_iter().map(|entry| Arc::new(codec::from_raft(entry))).collect();
        let hard_state = hard_state.map(codec::hard_state_from_raft);
        let mut state = self.state.write();
        state.hard_state = hard_state.unwrap_or(state.hard_state);
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            state.last = Position { index: last.index, term: last.term };
            while state.recent.back().is_some_and(|entry| entry.index >= first.index) {
                state.recent.pop_back();
            }
            state.recent.extend(entries.iter().cloned());
        }
        What::Append { entries, hard_state }
    }

    /// The commit index moved. It is found again from the log, so this alone is worth no fsync.
    pub(super) fn set_commit(&self, commit: u64) {
        self.state.write().hard_state.commit = commit;
    }

    /// The state that says that the log is committed up to `index`.
    pub(super) fn commit_through(&self, index: u64) -> HardState {
        let mut state = self.state.write();
        state.hard_state.commit = state.hard_state.commit.max(index);
        state.hard_state
    }

    pub(super) fn applied(&self) -> Applied {
        self.state.read().applied.clone()
    }

    /// Entries were applied. They need not stay in memory; raft asks only for the last one's term.
    pub(super) fn set_applied(&self, applied: Applied) {
        let mut state = self.state.write();
        let index = applied.at.index;
        let older = std::mem::replace(&mut state.applied, applied);
        while state.recent.len() > 1 && state.recent.front().is_some_and(|entry| entry.index < index) {
            state.recent.pop_front();
        }
        drop(state);
        drop(older);
    }

    pub(super) fn applied_index(&self) -> u64 {
        self.state.read().applied.at.index
    }

    pub(super) fn members(&self) -> ConfState {
        self.state.read().applied.members.clone()
    }

    /// Begins anew with another replica's state, and gives what makes that durable.
    pub(super) fn restart(&self, applied: Applied, hard_state: Option<HardState>) -> (CheckpointMark, HardState) {
        let mark = applied.mark();
        let mut state = self.state.write();
        let mut hard_state = hard_state.unwrap_or(state.hard_state);
        hard_state.commit = hard_state.commit.max(applied.at.index);
        state.recent.clear();
        (state.hard_state, state.last, state.trimmed, state.applied) = (hard_state, applied.at, applied.at, applied);
        (mark, hard_state)
    }

    /// The keyspace for a snapshot's message that raft made.
    pub(super) fn offered(&self, to: u64, index: u64) -> Option<View> {
        let offers = &mut self.state.write().offers;
        offers.remove(&to).filter(|(at, _)| *at == index).map(|(_, view)| view)
    }

    /// Ends the use of what is at `through` and before it, so that the engine may drop it.
    pub(super) fn trim(&self, through: u64) -> raft::Result<()> {
        let term = self.term(through)?;
        self.state.write().trimmed = Position { index: through, term };
        Ok(())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let state = self.state.read();
        let Position { index: trimmed, term } = state.trimmed;
        if index == trimmed {
            return Ok(term);
        }
        if index == state.last.index {
            return Ok(state.last.term);
        }
        if index < trimmed {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let unavailable = raft::Error::Store(StorageError::Unavailable);
        if index > state.last.index {
            return Err(unavailable);
        }
        if let Some(front) = state.recent.front()
            && index >= front.index
        {
            let at = usize::try_from(index - front.index).expect("within memory");
            return state.recent.get(at).map(|e| e.term).ok_or(unavailable);
        }
        let found = self.engine.entries(index, index + 1, 0).map_err(raft::Error::Io)?;
        found.first().map(|e| e.term).ok_or(unavailable)
    }
}

/// Raft keeps its storage by value, and we write to it between raft's calls.
#[derive(Clone)]
pub(super) struct SharedLog(Arc<Log>);

impl std::ops::Deref for SharedLog {
    type Target = Log;
    fn deref(&self) -> &Log {
        &self.0
    }
}

impl Storage for SharedLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let state = self.state.read();
        let HardState { term, vote, commit } = state.hard_state;
        Ok(RaftState::new(RaftHardState { term, vote, commit }, state.applied.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let state = self.state.read();
        if low <= state.trimmed.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let max_size = max_size.into();
        let mut entries: Vec<Entry> = match state.recent.front() {
            Some(front) if low >= front.index => {
                let skip = usize::try_from(low - front.index).expect("within memory");
                let take = usize::try_from(high - low).expect("within memory");
                state.recent.iter().skip(skip).take(take).map(|entry| codec::to_raft(entry)).collect()
            }
            front => {
                // What is in memory is perhaps not on the disk yet, or there are others in its place.
                let high = front.map_or(high, |front| high.min(front.index));
                let found = self.engine.entries(low, high, max_size.unwrap_or(u64::MAX)).map_err(raft::Error::Io)?;
                found.iter().map(codec::to_raft).collect()
            }
        };
        raft::util::limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        Log::term(self, index)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.state.read().trimmed.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.state.read().last.index)
    }

    /// Only the place in the log: the keyspace travels beside the message.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let Applied { at, members, view } = self.applied();
        if at.index < request_index || self.witness {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        self.state.write().offers.insert(to, (at.index, view));
        let metadata = SnapshotMetadata { conf_state: Some(members), index: at.index, term: at.term };
        Ok(Snapshot { data: Vec::new(), metadata: Some(metadata) })
    }
}
