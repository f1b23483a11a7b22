//! Who depends on whom, and who must be looked at after a change. Pure.
//!
//! Until all kinds have been listed, owners are missing only because they were not listed yet: nothing is to be looked at.

use super::plan::Owner;
use crate::inventory::Record;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// Owners remembered as gone, so that the server is not asked about each of their dependents.
const ABSENT_MAX: usize = 1000;

#[derive(Default)]
pub(super) struct Graph {
    records: HashMap<String, Arc<Record>>,
    /// Uids of dependents by the uid of their owner, whether it is there or not.
    dependents: HashMap<String, BTreeSet<String>>,
    absent: HashSet<String>,
    absent_order: VecDeque<String>,
    complete: bool,
}

impl Graph {
    /// All kinds have been listed: who must be looked at now.
    pub(super) fn complete(&mut self) -> Vec<String> {
        self.complete = true;
        let records: Vec<Arc<Record>> = self.records.values().cloned().collect();
        records.iter().filter(|record| self.is_due(record)).map(|record| record.uid.clone()).collect()
    }

    /// An owner is unknown, waits for this one or is another than the reference says; or its own deletion waits.
    fn is_due(&self, record: &Record) -> bool {
        let solid = |owner: &OwnerReference| matches!(self.owner(record, owner), Some(Owner::Exists));
        record.waits_for_dependents() || record.orphans_dependents() || !record.owners.iter().all(solid)
    }

    /// Takes in a new or newer record; the uids that must be looked at.
    pub(super) fn apply(&mut self, record: Arc<Record>) -> Vec<String> {
        let old = self.records.insert(record.uid.clone(), record.clone());
        let owners = |record: &Record| record.owners.iter().map(|owner| owner.uid.clone()).collect::<HashSet<_>>();
        let (before, after) = (old.as_deref().map(owners).unwrap_or_default(), owners(&record));
        for owner in before.difference(&after) {
            self.unlink(owner, &record.uid);
        }
        for owner in after.difference(&before) {
            self.dependents.entry(owner.clone()).or_default().insert(record.uid.clone());
        }
        if !self.complete {
            return Vec::new();
        }
        let mut uids = BTreeSet::new();
        if self.is_due(&record) {
            uids.insert(record.uid.clone());
        }
        // Owners that wait may wait no longer for this one.
        if old.as_ref().is_none_or(|old| old.owners != record.owners) {
            uids.extend(before.into_iter().chain(after).filter(|owner| self.waits(owner)));
        }
        let waited = old.is_some_and(|old| old.waits_for_dependents());
        if record.waits_for_dependents() && !waited {
            uids.extend(self.dependents.get(&record.uid).into_iter().flatten().cloned());
        }
        uids.into_iter().collect()
    }

    /// Takes out a record; the uids that must be looked at.
    pub(super) fn remove(&mut self, record: &Record) -> Vec<String> {
        let Some(record) = self.records.remove(&record.uid) else { return Vec::new() };
        for owner in &record.owners {
            self.unlink(&owner.uid, &record.uid);
        }
        let dependents = self.dependents.get(&record.uid).cloned().unwrap_or_default();
        if !dependents.is_empty() {
            self.remember_absent(&record.uid);
        }
        if !self.complete {
            return Vec::new();
        }
        let waiting = record.owners.iter().map(|owner| owner.uid.clone()).filter(|owner| self.waits(owner));
        dependents.into_iter().chain(waiting).collect()
    }

    pub(super) fn is_absent(&mut self, reference: &OwnerReference) {
        // An owner that lives under another name is not absent, the reference is wrong.
        if !self.records.contains_key(&reference.uid) {
            self.remember_absent(&reference.uid);
        }
    }

    fn remember_absent(&mut self, uid: &str) {
        if self.absent.insert(uid.to_owned()) {
            self.absent_order.push_back(uid.to_owned());
        }
        while self.absent_order.len() > ABSENT_MAX
            && let Some(oldest) = self.absent_order.pop_front()
        {
            self.absent.remove(&oldest);
        }
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    fn waits(&self, uid: &str) -> bool {
        self.records.get(uid).is_some_and(|record| record.waits_for_dependents())
    }

    /// A record and what depends on it.
    pub(super) fn look(&self, uid: &str) -> Option<(Arc<Record>, Vec<Arc<Record>>)> {
        let record = self.records.get(uid)?.clone();
        let dependents = self.dependents.get(uid).into_iter().flatten();
        Some((record, dependents.filter_map(|uid| self.records.get(uid)).cloned().collect()))
    }

    /// Whether it waits for a dependent that waits for it, over however many others: none of them would ever go.
    pub(super) fn waits_for_itself(&self, uid: &str) -> bool {
        let blocks = |owner: &str, record: &Record| {
            let mut owners = record.owners.iter();
            owners.any(|known| known.uid == owner && known.block_owner_deletion == Some(true))
        };
        let (mut seen, mut next) = (HashSet::new(), vec![uid]);
        while let Some(owner) = next.pop() {
            let dependents = self.dependents.get(owner).into_iter().flatten();
            for record in dependents.filter_map(|uid| self.records.get(uid)) {
                if record.waits_for_dependents() && blocks(owner, record) {
                    if record.uid == uid {
                        return true;
                    }
                    if seen.insert(record.uid.as_str()) {
                        next.push(&record.uid);
                    }
                }
            }
        }
        false
    }

    /// Whether an owner lives where the record cannot have an owner: in another namespace, or in any where the record is
    /// in none.
    pub(super) fn is_elsewhere(&self, record: &Record, reference: &OwnerReference) -> bool {
        let owner = self.records.get(&reference.uid);
        owner.is_some_and(|owner| owner.kind.namespaced && owner.key.namespace != record.key.namespace)
    }

    /// What is known of an owner; `None` when the server must be asked.
    pub(super) fn owner(&self, record: &Record, reference: &OwnerReference) -> Option<Owner> {
        if self.absent.contains(&reference.uid) {
            return Some(Owner::Absent);
        }
        let owner = self.records.get(&reference.uid)?;
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        let meant = owner.kind.kind == reference.kind
            && owner.kind.group == group
            && owner.key.name == reference.name
            && (!owner.kind.namespaced || owner.key.namespace == record.key.namespace);
        meant.then(|| if owner.waits_for_dependents() { Owner::WaitsForDependents } else { Owner::Exists })
    }
}
