//! Where the objects of an informer are: by namespace and name, and by what indexes file them under.
//!
//! Knows numbers instead of types: these maps would otherwise stand in the executable once for each of some fifty kinds.

use crate::Key;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// See the module.
#[derive(Default)]
pub(super) struct Places {
    named: BTreeMap<String, BTreeMap<String, usize>>,
    /// The number that has never been given.
    next: usize,
    /// Numbers that are free again.
    free: Vec<usize>,
    /// Each index's terms, and what is filed under them.
    indexes: Vec<HashMap<String, BTreeSet<Key>>>,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.named.values().map(BTreeMap::len).sum()
    }

    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<usize> {
        self.named.get(namespace)?.get(name).copied()
    }

    /// The number of a key, a new one when it has none yet.
    pub(super) fn take(&mut self, key: &Key) -> usize {
        if let Some(place) = self.find(&key.namespace, &key.name) {
            return place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.named.entry(key.namespace.clone()).or_default().insert(key.name.clone(), place);
        place
    }

    /// Takes a key's number away, which may be given to another one.
    pub(super) fn leave(&mut self, key: &Key) -> Option<usize> {
        let named = self.named.get_mut(&key.namespace)?;
        let place = named.remove(&key.name)?;
        if named.is_empty() {
            self.named.remove(&key.namespace);
        }
        self.free.push(place);
        Some(place)
    }

    pub(super) fn each(&self, visit: &mut dyn FnMut(usize)) {
        self.named.values().flat_map(BTreeMap::values).copied().for_each(visit);
    }

    pub(super) fn each_in(&self, namespace: &str, visit: &mut dyn FnMut(usize)) {
        self.named.get(namespace).into_iter().flat_map(BTreeMap::values).copied().for_each(visit);
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (Key, usize)> {
        let of = |(namespace, named)| std::iter::repeat(namespace).zip::<&BTreeMap<String, usize>>(named);
        self.named.iter().flat_map(of).map(|(namespace, (name, place))| (Key::new(namespace, name), *place))
    }

    pub(super) fn keys_not_in(&self, kept: &HashSet<Key>) -> Vec<Key> {
        self.keys().map(|(key, _)| key).filter(|key| !kept.contains(key)).collect()
    }

    /// Begins an index, which has the number of those before it.
    pub(super) fn add_index(&mut self) {
        self.indexes.push(HashMap::new());
    }

    pub(super) fn file(&mut self, index: usize, key: &Key, terms: Vec<String>) {
        for term in terms {
            self.indexes[index].entry(term).or_default().insert(key.clone());
        }
    }

    pub(super) fn unfile(&mut self, index: usize, key: &Key, terms: Vec<String>) {
        let filed = &mut self.indexes[index];
        for term in terms {
            if let Some(keys) = filed.get_mut(&term) {
                keys.remove(key);
                if keys.is_empty() {
                    filed.remove(&term);
                }
            }
        }
    }

    /// What an index files under a term, by namespace and name.
    pub(super) fn filed(&self, index: usize, term: &str) -> Vec<usize> {
        let keys = self.indexes[index].get(term).into_iter().flatten();
        keys.filter_map(|key| self.find(&key.namespace, &key.name)).collect()
    }
}
