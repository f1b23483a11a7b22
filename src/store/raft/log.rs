//! Raft's view of the log: the newest entries in memory, the rest in the engine; and the state that a snapshot is made of.

use super::{codec, snapshot};
use crate::{
    engine::{CheckpointMark, Engine, HardState, LogEntry},
    mvcc::View,
};
use parking_lot::RwLock;
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState as RaftHardState, Snapshot, SnapshotMetadata},
};
use std::{collections::VecDeque, io, sync::Arc};

/// See the module.
pub(super) struct Log {
    engine: Arc<dyn Engine>,
    state: RwLock<State>,
}

struct State {
    hard_state: HardState,
    /// The newest entries; what is before the first one is in the engine only.
    recent: VecDeque<LogEntry>,
    last: Position,
    /// The entry before the log's first; its term is all that is left of it.
    trimmed: Position,
    applied: Applied,
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
    ) -> SharedLog {
        let trimmed = applied.at;
        // The commit index is not synced by itself; what is in the checkpoint was committed.
        hard_state.commit = hard_state.commit.max(trimmed.index);
        let last = log.last().map_or(trimmed, |entry| Position { index: entry.index, term: entry.term });
        hard_state.term = hard_state.term.max(last.term);
        SharedLog(Arc::new(Self {
            engine,
            state: RwLock::new(State { hard_state, recent: log.into(), last, trimmed, applied }),
        }))
    }

    /// Makes entries and state durable with one fsync.
    pub(super) fn append(&self, entries: Vec<Entry>, hard_state: Option<&RaftHardState>) -> io::Result<()> {
        let entries: Vec<LogEntry> = entries.into_iter().map(codec::from_raft).collect();
        let hard_state = hard_state.map(codec::hard_state_from_raft);
        self.engine.append(&entries, hard_state)?;
        let mut state = self.state.write();
        if let Some(hard_state) = hard_state {
            state.hard_state = hard_state;
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            state.last = Position { index: last.index, term: last.term };
            let first = first.index;
            while state.recent.back().is_some_and(|entry| entry.index >= first) {
                state.recent.pop_back();
            }
            state.recent.extend(entries);
        }
        Ok(())
    }

    /// The commit index moved. It is found again from the log, so this alone is worth no fsync.
    pub(super) fn set_commit(&self, commit: u64) {
        self.state.write().hard_state.commit = commit;
    }

    /// Makes it durable that the log is committed up to `index`: before members change, so that a member who comes back
    /// knows of them before it takes part in anything.
    pub(super) fn persist_commit(&self, index: u64) -> io::Result<()> {
        let mut hard_state = self.state.read().hard_state;
        hard_state.commit = hard_state.commit.max(index);
        self.engine.append(&[], Some(hard_state))?;
        self.state.write().hard_state = hard_state;
        Ok(())
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

    /// Replaces everything by another replica's state.
    pub(super) fn install(&self, applied: Applied, hard_state: Option<&RaftHardState>) -> io::Result<()> {
        let mut hard_state = hard_state.map_or(self.state.read().hard_state, codec::hard_state_from_raft);
        hard_state.commit = hard_state.commit.max(applied.at.index);
        let entries: Vec<_> = applied.view.prefix(b"").cloned().collect();
        self.engine.install(&entries, &applied.mark(), hard_state)?;
        let mut state = self.state.write();
        state.recent.clear();
        (state.hard_state, state.last, state.trimmed, state.applied) = (hard_state, applied.at, applied.at, applied);
        Ok(())
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
                state.recent.iter().skip(skip).take(take).map(codec::to_raft).collect()
            }
            _ => {
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

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let Applied { at, members, view } = self.applied();
        if at.index < request_index {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let metadata = SnapshotMetadata { conf_state: Some(members), index: at.index, term: at.term };
        Ok(Snapshot { data: snapshot::encode(&view), metadata: Some(metadata) })
    }
}
