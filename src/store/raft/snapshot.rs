//! The keyspace in one piece, for a replica that is too far behind for the log.

use crate::{
    mvcc::{Entry, View},
    txn::{Reader, put_bytes},
};
use bytes::{BufMut, Bytes};
use std::sync::Arc;

/// The first byte; another one is another format.
const VERSION: u8 = 1;

pub(super) fn encode(view: &View) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.put_u64(view.revision());
    for entry in view.prefix(b"") {
        put_bytes(&mut out, &entry.key);
        out.put_u64(entry.created);
        out.put_u64(entry.modified);
        put_bytes(&mut out, &entry.value);
    }
    out
}

/// The revision and the entries; `None` when the bytes are not a snapshot.
pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Vec<Arc<Entry>>)> {
    let mut from = Reader(bytes);
    if from.u8()? != VERSION {
        return None;
    }
    let revision = from.u64()?;
    let mut entries = Vec::new();
    while !from.0.is_empty() {
        let key = Bytes::copy_from_slice(from.bytes()?);
        let (created, modified) = (from.u64()?, from.u64()?);
        let value = Bytes::copy_from_slice(from.bytes()?);
        entries.push(Arc::new(Entry { key, value, created, modified }));
    }
    Some((revision, entries))
}
