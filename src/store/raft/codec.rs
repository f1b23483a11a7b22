//! Between raft's wire types, which stay in this room, and our own.

use crate::engine::{CheckpointMark, HardState, LogEntry};
use prost_raft::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState as RaftHardState, Message};

pub(super) fn from_raft(entry: Entry) -> LogEntry {
    LogEntry { index: entry.index, term: entry.term, kind: entry.entry_type, data: entry.data, context: entry.context }
}

pub(super) fn to_raft(entry: &LogEntry) -> Entry {
    Entry {
        entry_type: entry.kind,
        term: entry.term,
        index: entry.index,
        data: entry.data.clone(),
        context: entry.context.clone(),
        sync_log: false,
    }
}

pub(super) fn hard_state_from_raft(state: &RaftHardState) -> HardState {
    HardState { term: state.term, vote: state.vote, commit: state.commit }
}

pub(super) fn members(mark: &CheckpointMark) -> ConfState {
    ConfState { voters: mark.voters.clone(), learners: mark.learners.clone(), ..ConfState::default() }
}

/// Members in an order that is the same everywhere.
pub(super) fn sorted(mut members: ConfState) -> ConfState {
    members.voters.sort_unstable();
    members.learners.sort_unstable();
    members
}

/// A message as it crosses the network.
pub(crate) fn encode_message(message: &Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// `None` when the bytes are no message.
pub(crate) fn decode_message(bytes: &[u8]) -> Option<Message> {
    Message::decode(bytes).ok()
}
