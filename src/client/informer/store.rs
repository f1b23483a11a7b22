//! The objects of one informer and their indexes. Pure: no locks, no I/O.

use super::{Change, Kind, places::Places};
use crate::Key;
use kube::ResourceExt;
use std::{collections::HashSet, sync::Arc};

/// What can be asked under one lock.
pub trait Lookup<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>>;
    fn each_in(&self, namespace: &str, visit: &mut dyn FnMut(&Arc<K>));
    fn each(&self, visit: &mut dyn FnMut(&Arc<K>));
}

/// What an index files an object under.
struct Index<K> {
    name: &'static str,
    terms: fn(&K) -> Vec<String>,
}

/// The index of the owners' uids.
const OWNERS: usize = 0;

pub(super) struct Store<K> {
    places: Places,
    /// By the numbers that [`Places`] gives.
    objects: Vec<Option<Arc<K>>>,
    /// By their numbers in [`Places`].
    indexes: Vec<Index<K>>,
}

impl<K: Kind> Default for Store<K> {
    fn default() -> Self {
        let mut store = Store { places: Places::default(), objects: Vec::new(), indexes: Vec::new() };
        store.add_index("owner", owner_uids);
        store
    }
}

impl<K> Store<K> {
    fn at(&self, place: usize) -> Option<&Arc<K>> {
        self.objects.get(place)?.as_ref()
    }

    fn all_at(&self, places: impl IntoIterator<Item = usize>) -> Vec<Arc<K>> {
        places.into_iter().filter_map(|place| self.at(place)).cloned().collect()
    }
}

impl<K> Lookup<K> for Store<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.at(self.places.find(namespace, name)?)
    }

    fn each_in(&self, namespace: &str, visit: &mut dyn FnMut(&Arc<K>)) {
        self.places.each_in(namespace, &mut |place| self.at(place).into_iter().for_each(&mut *visit));
    }

    fn each(&self, visit: &mut dyn FnMut(&Arc<K>)) {
        self.places.each(&mut |place| self.at(place).into_iter().for_each(&mut *visit));
    }
}

impl<K: Kind> Store<K> {
    pub(super) fn list(&self) -> Vec<Arc<K>> {
        let mut list = Vec::with_capacity(self.len());
        self.each(&mut |object| list.push(object.clone()));
        list
    }

    pub(super) fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.select_in(namespace, |_| true)
    }

    pub(super) fn select_in(&self, namespace: &str, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let mut list = Vec::new();
        self.each_in(namespace, &mut |object| {
            if wanted(object) {
                list.push(object.clone());
            }
        });
        list
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn keys_not_in(&self, kept: &HashSet<Key>) -> Vec<Key> {
        self.places.keys_not_in(kept)
    }

    pub(super) fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.all_at(self.places.filed(OWNERS, uid))
    }

    pub(super) fn add_index(&mut self, name: &'static str, terms: fn(&K) -> Vec<String>) {
        if self.indexes.iter().any(|index| index.name == name) {
            return;
        }
        let number = self.indexes.len();
        self.indexes.push(Index { name, terms });
        self.places.add_index();
        let keys: Vec<_> = self.places.keys().collect();
        for (key, place) in keys {
            let terms = self.at(place).map(|object| terms(object)).unwrap_or_default();
            self.places.file(number, &key, terms);
        }
    }

    pub(super) fn indexed(&self, name: &'static str, term: &str) -> Vec<Arc<K>> {
        let index = self.indexes.iter().position(|index| index.name == name);
        let index = index.unwrap_or_else(|| panic!("index {name:?} is added before it is asked"));
        self.all_at(self.places.filed(index, term))
    }

    /// `None` when this very version is here already, or a newer one.
    pub(super) fn apply(&mut self, object: K) -> Option<Change<K>> {
        let key = Key::of(&object);
        let version = |object: &K| object.meta().resource_version.clone().unwrap_or_default();
        if let Some(old) = self.get(&key.namespace, &key.name)
            && !newer(&version(&object), &version(old))
        {
            return None;
        }
        let new = Arc::new(object);
        let place = self.places.take(&key);
        if self.objects.len() <= place {
            self.objects.resize(place + 1, None);
        }
        let old = self.objects[place].replace(new.clone());
        if let Some(old) = &old {
            self.unfile(&key, old);
        }
        for (number, index) in self.indexes.iter().enumerate() {
            self.places.file(number, &key, (index.terms)(&new));
        }
        Some(match old {
            None => Change::Added(new),
            Some(old) => Change::Updated { old, new },
        })
    }

    pub(super) fn remove(&mut self, key: &Key, last: Option<K>) -> Option<Change<K>> {
        let place = self.places.leave(key)?;
        let old = self.objects.get_mut(place)?.take()?;
        self.unfile(key, &old);
        Some(Change::Deleted(last.map(Arc::new).unwrap_or(old)))
    }

    fn unfile(&mut self, key: &Key, object: &K) {
        for (number, index) in self.indexes.iter().enumerate() {
            self.places.unfile(number, key, (index.terms)(object));
        }
    }
}

fn owner_uids<K: ResourceExt>(object: &K) -> Vec<String> {
    object.owner_references().iter().map(|owner| owner.uid.clone()).collect()
}

/// A list that answers late must not take back what a watch has told. Versions that are no numbers are only compared.
fn newer(new: &str, old: &str) -> bool {
    match (new.parse::<u64>(), old.parse::<u64>()) {
        (Ok(new), Ok(old)) => new > old,
        _ => new.is_empty() || new != old,
    }
}
