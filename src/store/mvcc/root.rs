//! The ordered map of one version of the keyspace, and how many keys each directory of it holds.
//!
//! A directory is a prefix that ends in `/`. Its count answers "how many more are there" of a paged read without a walk
//! over them.
//!
//! Invariant: versions share their unchanged parts; a clone is O(1).

use super::Entry;
use bytes::Bytes;
use imbl::{HashMap, OrdMap};
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub(crate) struct Root {
    entries: OrdMap<Bytes, Arc<Entry>>,
    directories: HashMap<Bytes, usize>,
}

impl Root {
    pub(crate) fn entries(&self) -> &OrdMap<Bytes, Arc<Entry>> {
        &self.entries
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let key = entry.key.clone();
        let previous = self.entries.insert(key.clone(), entry);
        if previous.is_none() {
            for directory in directories(&key) {
                match self.directories.get_mut(directory) {
                    Some(count) => *count += 1,
                    None => drop(self.directories.insert(Bytes::copy_from_slice(directory), 1)),
                }
            }
        }
        previous
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(key)?;
        for directory in directories(key) {
            match self.directories.get_mut(directory) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.directories.remove(directory)),
            }
        }
        Some(entry)
    }

    /// How many keys start with a directory's name, which ends in `/`.
    pub(crate) fn count(&self, directory: &[u8]) -> usize {
        self.directories.get(directory).copied().unwrap_or(0)
    }
}

impl FromIterator<Arc<Entry>> for Root {
    fn from_iter<I: IntoIterator<Item = Arc<Entry>>>(entries: I) -> Root {
        let mut root = Root::default();
        for entry in entries {
            root.insert(entry);
        }
        root
    }
}

fn directories(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = key.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    ends.map(|(at, _)| &key[..=at])
}
