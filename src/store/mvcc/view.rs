//! The keyspace at one revision: taken in O(1), read without locks, unchanged for as long as it is held.

use super::{Entry, Root};
use bytes::Bytes;
use std::{ops::Bound, sync::Arc};

/// See the module.
#[derive(Debug, Clone)]
pub struct View {
    pub(crate) revision: u64,
    pub(crate) root: Root,
}

impl View {
    /// The store's revision that this view shows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.root.get(key)
    }

    /// The entries with `from <= key < end`, in the order of their keys.
    pub fn range(&self, from: &[u8], end: &[u8]) -> impl DoubleEndedIterator<Item = &Arc<Entry>> + use<'_> {
        let empty = from >= end;
        let bounds = if empty {
            (Bound::Excluded(Bytes::new()), Bound::Excluded(Bytes::from_static(b"\0")))
        } else {
            (Bound::Included(Bytes::copy_from_slice(from)), Bound::Excluded(Bytes::copy_from_slice(end)))
        };
        self.root.entries().range(bounds).map(|(_, entry)| entry)
    }

    /// Whether [`View::range_saying`] need not look at the others.
    pub fn is_indexed(&self) -> bool {
        self.root.is_indexed()
    }

    /// Those of [`View::range`] that say a term of the store's index.
    pub fn range_saying(&self, term: &str, from: &[u8], end: &[u8]) -> impl Iterator<Item = &Arc<Entry>> + use<'_> {
        let end = Bytes::copy_from_slice(end);
        self.root.saying(term, from).take_while(move |entry| entry.key < end)
    }

    /// The entries behind a key, or all of them.
    pub(crate) fn after(&self, key: Option<&[u8]>) -> impl Iterator<Item = &Arc<Entry>> + use<'_> {
        let from = key.map_or(Bound::Unbounded, |key| Bound::Excluded(Bytes::copy_from_slice(key)));
        self.root.entries().range((from, Bound::Unbounded)).map(|(_, entry)| entry)
    }

    /// The entries whose keys start with `prefix`.
    pub fn prefix(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = &Arc<Entry>> + use<'_> {
        self.range(prefix, &end_of(prefix))
    }

    /// How many keys start with `prefix`: at once when it ends in `/`, by a walk over them otherwise.
    pub fn count(&self, prefix: &[u8]) -> usize {
        match prefix.last() {
            Some(b'/') => self.root.count(prefix),
            _ => self.prefix(prefix).count(),
        }
    }

    /// How many keys there are in all.
    pub fn len(&self) -> usize {
        self.root.len()
    }

    pub fn is_empty(&self) -> bool {
        self.root.len() == 0
    }
}

/// The first key after all keys with a prefix.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end;
        }
        end.pop();
    }
    // Every key: nothing sorts behind a run of 0xff as long as the longest key.
    vec![u8::MAX; 4096]
}
