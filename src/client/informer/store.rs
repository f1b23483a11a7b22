//! The objects of one informer and their indexes. Pure: no locks, no I/O.

use super::{Change, Kind};
use crate::Key;
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// What can be asked under one lock.
pub trait Lookup<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>>;
    fn each_in(&self, namespace: &str, visit: &mut dyn FnMut(&Arc<K>));
    fn each(&self, visit: &mut dyn FnMut(&Arc<K>));
}

struct Index<K> {
    name: &'static str,
    terms: fn(&K) -> Vec<String>,
    filed: HashMap<String, BTreeSet<Key>>,
}

impl<K> Index<K> {
    fn file(&mut self, key: &Key, object: &K) {
        for term in (self.terms)(object) {
            self.filed.entry(term).or_default().insert(key.clone());
        }
    }

    fn unfile(&mut self, key: &Key, object: &K) {
        for term in (self.terms)(object) {
            if let Some(keys) = self.filed.get_mut(&term) {
                keys.remove(key);
                if keys.is_empty() {
                    self.filed.remove(&term);
                }
            }
        }
    }
}

pub(super) struct Store<K> {
    objects: BTreeMap<String, BTreeMap<String, Arc<K>>>,
    owners: Option<Index<K>>,
    indexes: Vec<Index<K>>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Store { objects: BTreeMap::new(), owners: None, indexes: Vec::new() }
    }
}

impl<K> Lookup<K> for Store<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(namespace)?.get(name)
    }

    fn each_in(&self, namespace: &str, visit: &mut dyn FnMut(&Arc<K>)) {
        self.objects.get(namespace).into_iter().flat_map(BTreeMap::values).for_each(visit);
    }

    fn each(&self, visit: &mut dyn FnMut(&Arc<K>)) {
        self.objects.values().flat_map(BTreeMap::values).for_each(visit);
    }
}

impl<K: Kind> Store<K> {
    pub(super) fn list(&self) -> Vec<Arc<K>> {
        self.objects.values().flat_map(|named| named.values().cloned()).collect()
    }

    pub(super) fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.objects.get(namespace).map(|named| named.values().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn select_in(&self, namespace: &str, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let named = self.objects.get(namespace).into_iter().flat_map(BTreeMap::values);
        named.filter(|object| wanted(object)).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.values().map(BTreeMap::len).sum()
    }

    pub(super) fn keys_not_in(&self, kept: &HashSet<Key>) -> Vec<Key> {
        let keys =
            self.objects.iter().flat_map(|(namespace, named)| named.keys().map(move |name| Key::new(namespace, name)));
        keys.filter(|key| !kept.contains(key)).collect()
    }

    pub(super) fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let filed = self.owners.as_ref().and_then(|index| index.filed.get(uid));
        filed.into_iter().flatten().filter_map(|key| self.get(&key.namespace, &key.name)).cloned().collect()
    }

    pub(super) fn add_index(&mut self, name: &'static str, terms: fn(&K) -> Vec<String>) {
        if self.indexes.iter().any(|index| index.name == name) {
            return;
        }
        let mut index = Index { name, terms, filed: HashMap::new() };
        for object in self.objects.values().flat_map(BTreeMap::values) {
            index.file(&Key::of(object.as_ref()), object);
        }
        self.indexes.push(index);
    }

    pub(super) fn indexed(&self, name: &'static str, term: &str) -> Vec<Arc<K>> {
        let index = self.indexes.iter().find(|index| index.name == name);
        let index = index.unwrap_or_else(|| panic!("index {name:?} is added before it is asked"));
        let filed = index.filed.get(term).into_iter().flatten();
        filed.filter_map(|key| self.get(&key.namespace, &key.name)).cloned().collect()
    }

    /// `None` when this very version is here already, or a newer one.
    pub(super) fn apply(&mut self, object: K) -> Option<Change<K>> {
        let key = Key::of(&object);
        if let Some(old) = self.get(&key.namespace, &key.name)
            && !newer(&object, old)
        {
            return None;
        }
        let new = Arc::new(object);
        let named = self.objects.entry(key.namespace.clone()).or_default();
        let old = named.insert(key.name.clone(), new.clone());
        if let Some(old) = &old {
            self.unfile(&key, old);
        }
        self.file(&key, &new);
        Some(match old {
            None => Change::Added(new),
            Some(old) => Change::Updated { old, new },
        })
    }

    pub(super) fn remove(&mut self, key: &Key, last: Option<K>) -> Option<Change<K>> {
        let named = self.objects.get_mut(&key.namespace)?;
        let old = named.remove(&key.name)?;
        if named.is_empty() {
            self.objects.remove(&key.namespace);
        }
        self.unfile(key, &old);
        Some(Change::Deleted(last.map(Arc::new).unwrap_or(old)))
    }

    fn file(&mut self, key: &Key, object: &K) {
        let owners =
            self.owners.get_or_insert_with(|| Index { name: "owner", terms: owner_uids, filed: HashMap::new() });
        owners.file(key, object);
        self.indexes.iter_mut().for_each(|index| index.file(key, object));
    }

    fn unfile(&mut self, key: &Key, object: &K) {
        self.owners.iter_mut().chain(&mut self.indexes).for_each(|index| index.unfile(key, object));
    }
}

fn owner_uids<K: ResourceExt>(object: &K) -> Vec<String> {
    object.owner_references().iter().map(|owner| owner.uid.clone()).collect()
}

/// A list that answers late must not take back what a watch has told. Versions that are no numbers are only compared.
fn newer<K: ResourceExt>(new: &K, old: &K) -> bool {
    let version = |object: &K| object.resource_version().unwrap_or_default();
    let (new, old) = (version(new), version(old));
    match (new.parse::<u64>(), old.parse::<u64>()) {
        (Ok(new), Ok(old)) => new > old,
        _ => new.is_empty() || new != old,
    }
}
