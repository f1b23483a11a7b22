//! Raft's view of the log: entries that are not applied yet in memory, the rest in the engine.

use crate::engine::{CheckpointMark, Engine, HardState, LogEntry};
use parking_lot::RwLock;
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState as RaftHardState, Snapshot},
};
use std::{collections::VecDeque, sync::Arc};

/// See the module.
pub(super) struct Log {
    engine: Arc<dyn Engine>,
    state: RwLock<State>,
}

struct State {
    hard_state: HardState,
    /// Everything up to here is in the checkpoint and may be cut off.
    mark: CheckpointMark,
    /// The newest entries; what is before the first one is in the engine only.
    recent: VecDeque<LogEntry>,
    last_index: u64,
    /// Where the log begins: it is cut after the checkpoint is durable.
    first_index: u64,
}

impl Log {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        mut hard_state: HardState,
        mark: CheckpointMark,
        log: Vec<LogEntry>,
    ) -> SharedLog {
        // The commit index is not synced by itself; what is in the checkpoint was committed.
        hard_state.commit = hard_state.commit.max(mark.index);
        let last_index = log.last().map_or(mark.index, |entry| entry.index);
        let first_index = mark.index + 1;
        let state = State { hard_state, mark, recent: log.into(), last_index, first_index };
        SharedLog(Arc::new(Self { engine, state: RwLock::new(state) }))
    }

    /// Makes entries and state durable with one fsync.
    pub(super) fn append(&self, entries: Vec<Entry>, hard_state: Option<&RaftHardState>) -> std::io::Result<()> {
        let entries: Vec<LogEntry> = entries.into_iter().map(from_raft).collect();
        let hard_state = hard_state.map(|h| HardState { term: h.term, vote: h.vote, commit: h.commit });
        self.engine.append(&entries, hard_state)?;
        let mut state = self.state.write();
        if let Some(hard_state) = hard_state {
            state.hard_state = hard_state;
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            state.last_index = last.index;
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

    /// Applied entries need not stay in memory; raft asks only for the last one's term.
    pub(super) fn applied(&self, index: u64) {
        let mut state = self.state.write();
        while state.recent.len() > 1 && state.recent.front().is_some_and(|entry| entry.index < index) {
            state.recent.pop_front();
        }
    }

    /// The checkpoint is durable: what it covers is cut off.
    pub(super) fn cut(&self, mark: CheckpointMark) -> std::io::Result<()> {
        self.engine.cut(mark.index)?;
        let mut state = self.state.write();
        state.first_index = mark.index + 1;
        state.mark = mark;
        Ok(())
    }
}

fn from_raft(entry: Entry) -> LogEntry {
    LogEntry { index: entry.index, term: entry.term, kind: entry.entry_type, data: entry.data, context: entry.context }
}

fn to_raft(entry: &LogEntry) -> Entry {
    Entry {
        entry_type: entry.kind,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        context: entry.context.clone(),
        sync_log: false,
    }
}

fn unavailable(error: std::io::Error) -> raft::Error {
    raft::Error::Io(error)
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
        let hard = RaftHardState { term: state.hard_state.term, vote: state.hard_state.vote, commit: state.hard_state.commit };
        Ok(RaftState::new(hard, ConfState { voters: state.mark.voters.clone(), ..ConfState::default() }))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let state = self.state.read();
        if low < state.first_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let mut entries: Vec<Entry> = match state.recent.front() {
            Some(front) if low >= front.index => {
                let skip = usize::try_from(low - front.index).expect("within memory");
                let take = usize::try_from(high - low).expect("within memory");
                state.recent.iter().skip(skip).take(take).map(to_raft).collect()
            }
            _ => self.engine.entries(low, high).map_err(unavailable)?.iter().map(to_raft).collect(),
        };
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let state = self.state.read();
        if index == state.mark.index {
            return Ok(state.mark.term);
        }
        if index < state.first_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > state.last_index {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if let Some(front) = state.recent.front()
            && index >= front.index
        {
            let at = usize::try_from(index - front.index).expect("within memory");
            return state.recent.get(at).map(|e| e.term).ok_or(raft::Error::Store(StorageError::Unavailable));
        }
        let found = self.engine.entries(index, index + 1).map_err(unavailable)?;
        found.first().map(|e| e.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.state.read().first_index)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.state.read().last_index)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // There is nobody to send one to while there is one voter.
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
