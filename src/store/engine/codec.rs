//! How records lie on disk. Big-endian, so that keys sort as numbers do.

use super::{CheckpointMark, HardState, LogEntry};
use crate::{
    mvcc::Entry,
    txn::{Reader, put_bytes},
};
use bytes::{BufMut, Bytes};

pub(super) fn log_entry(entry: &LogEntry) -> Vec<u8> {
    let mut out = Vec::with_capacity(28 + entry.data.len() + entry.context.len());
    out.put_u64(entry.index);
    out.put_u64(entry.term);
    out.put_u32(entry.kind.cast_unsigned());
    put_bytes(&mut out, &entry.context);
    put_bytes(&mut out, &entry.data);
    out
}

pub(super) fn read_log_entry(bytes: &[u8]) -> Option<LogEntry> {
    let mut from = Reader(bytes);
    Some(LogEntry {
        index: from.u64()?,
        term: from.u64()?,
        kind: from.u32()?.cast_signed(),
        context: from.bytes()?.to_vec(),
        data: from.bytes()?.to_vec(),
    })
}

pub(super) fn hard_state(state: HardState) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    for number in [state.term, state.vote, state.commit] {
        out.put_u64(number);
    }
    out
}

pub(super) fn read_hard_state(bytes: &[u8]) -> Option<HardState> {
    let mut from = Reader(bytes);
    Some(HardState { term: from.u64()?, vote: from.u64()?, commit: from.u64()? })
}

pub(super) fn mark(mark: &CheckpointMark) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [mark.index, mark.term, mark.revision] {
        out.put_u64(number);
    }
    for voter in &mark.voters {
        out.put_u64(*voter);
    }
    out
}

pub(super) fn read_mark(bytes: &[u8]) -> Option<CheckpointMark> {
    let mut from = Reader(bytes);
    let mut mark = CheckpointMark { index: from.u64()?, term: from.u64()?, revision: from.u64()?, voters: Vec::new() };
    while !from.0.is_empty() {
        mark.voters.push(from.u64()?);
    }
    Some(mark)
}

pub(super) fn entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + entry.value.len());
    out.put_u64(entry.created);
    out.put_u64(entry.modified);
    out.put_slice(&entry.value);
    out
}

pub(super) fn read_entry(key: &[u8], bytes: &[u8]) -> Option<Entry> {
    let mut from = Reader(bytes);
    let (created, modified) = (from.u64()?, from.u64()?);
    Some(Entry { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(from.0), created, modified })
}
