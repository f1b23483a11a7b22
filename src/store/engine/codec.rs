//! How records lie on disk. Big-endian, so that keys sort as numbers do.

use super::{CheckpointMark, HardState, LogEntry};
use crate::{
    mvcc::Entry,
    txn::{Reader, put_bytes},
};
use bytes::{BufMut, Bytes};

/// How many bytes an entry needs.
pub(super) fn log_entry_length(entry: &LogEntry) -> usize {
    28 + entry.data.len() + entry.context.len()
}

pub(super) fn put_log_entry(out: &mut Vec<u8>, entry: &LogEntry) {
    out.put_u64(entry.index);
    out.put_u64(entry.term);
    out.put_u32(entry.kind.cast_unsigned());
    put_bytes(out, &entry.context);
    put_bytes(out, &entry.data);
}

pub(super) fn read_log_entry(from: &mut Reader<'_>) -> Option<LogEntry> {
    Some(LogEntry {
        index: from.u64()?,
        term: from.u64()?,
        kind: from.u32()?.cast_signed(),
        context: from.bytes()?.to_vec(),
        data: from.bytes()?.to_vec(),
    })
}

/// The bytes of a hard state.
pub(super) const HARD_STATE: usize = 24;

pub(super) fn hard_state(state: HardState) -> Vec<u8> {
    let mut out = Vec::with_capacity(HARD_STATE);
    for number in [state.term, state.vote, state.commit] {
        out.put_u64(number);
    }
    out
}

pub(super) fn read_hard_state(bytes: &[u8]) -> Option<HardState> {
    let mut from = Reader(bytes);
    Some(HardState { term: from.u64()?, vote: from.u64()?, commit: from.u64()? })
}

/// A mark, and which generation of entries it is about.
pub(super) fn mark(mark: &CheckpointMark, generation: u8) -> Vec<u8> {
    let mut out = vec![generation];
    for number in [mark.index, mark.term, mark.revision] {
        out.put_u64(number);
    }
    for members in [&mark.voters, &mark.learners] {
        out.put_u32(u32::try_from(members.len()).expect("few members"));
        members.iter().for_each(|member| out.put_u64(*member));
    }
    out
}

pub(super) fn read_mark(bytes: &[u8]) -> Option<(CheckpointMark, u8)> {
    let mut from = Reader(bytes);
    let generation = from.u8()?;
    let (index, term, revision) = (from.u64()?, from.u64()?, from.u64()?);
    let mut members = || (0..from.u32()?).map(|_| from.u64()).collect::<Option<Vec<u64>>>();
    let (voters, learners) = (members()?, members()?);
    Some((CheckpointMark { index, term, revision, voters, learners }, generation))
}

const PRESENT: u8 = 1;
const GONE: u8 = 0;

pub(super) fn entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(13 + entry.key.len() + entry.value.len());
    out.put_u8(PRESENT);
    put_bytes(&mut out, &entry.key);
    out.put_u64(entry.created);
    out.put_slice(&entry.value);
    out
}

/// What says that a key is gone, until nothing older of it is left.
pub(super) fn gone(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + key.len());
    out.put_u8(GONE);
    put_bytes(&mut out, key);
    out
}

/// A key and what it was at a revision.
pub(super) fn read_entry(modified: u64, bytes: &[u8]) -> Option<(Bytes, Option<Entry>)> {
    let mut from = Reader(bytes);
    let kind = from.u8()?;
    let key = Bytes::copy_from_slice(from.bytes()?);
    match kind {
        GONE => Some((key, None)),
        PRESENT => {
            let created = from.u64()?;
            let value = Bytes::copy_from_slice(from.0);
            Some((key.clone(), Some(Entry { key, value, created, modified })))
        }
        _ => None,
    }
}
