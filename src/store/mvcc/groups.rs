//! Who asked for which prefix. A key's groups are found without looking at all of them.

use bytes::Bytes;
use std::{collections::BTreeMap, ops::Bound};

/// Members by prefix, in the order of prefixes.
#[derive(Debug)]
pub(crate) struct Groups<T> {
    by_prefix: BTreeMap<Bytes, Vec<T>>,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { by_prefix: BTreeMap::new() }
    }
}

impl<T> Groups<T> {
    pub(crate) fn add(&mut self, prefix: Bytes, member: T) {
        self.by_prefix.entry(prefix).or_default().push(member);
    }

    /// Drops the members of one prefix that are not to be kept.
    pub(crate) fn retain(&mut self, prefix: &Bytes, keep: impl FnMut(&T) -> bool) {
        if let Some(members) = self.by_prefix.get_mut(prefix) {
            members.retain(keep);
            if members.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.by_prefix.values().flatten()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// Calls `each` with the members of every prefix of `key`, the longest first.
    ///
    /// The greatest prefix in order that is not behind the key either is one of the key's, or shares a shorter
    /// beginning with it than any of the key's that is left: each step looks at one prefix and cuts the rest.
    pub(crate) fn each(&self, key: &[u8], mut each: impl FnMut(&[T])) {
        let mut bound = key;
        loop {
            let up_to = (Bound::Unbounded, Bound::Included(bound));
            let Some((prefix, members)) = self.by_prefix.range::<[u8], _>(up_to).next_back() else { return };
            let shared = key.iter().zip(prefix).take_while(|(a, b)| a == b).count();
            if shared < prefix.len() {
                bound = &key[..shared];
                continue;
            }
            each(members);
            let Some(shorter) = shared.checked_sub(1) else { return };
            bound = &key[..shorter];
        }
    }
}
