//! What clients saw, and whether one store that does one thing after the other could have shown it to them.
//!
//! Each change has a revision, so the order in which things happened is known and need not be searched for, as a tester
//! of histories without one must. What is left to check is that this order explains everything:
//!
//! - a revision is the same change on every replica, and each replica shows them without a gap;
//! - a write is there once, or not at all if nobody was told that it is;
//! - whatever began after something was acknowledged has a later revision, or sees that one or a later one;
//! - what was read is what the changes up to its revision come to.

use crate::{
    CommitError, EventKind, View,
    mvcc::{Entry, Event},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

/// One change, as every replica must show it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    key: Bytes,
    /// `None` for a delete.
    value: Option<Bytes>,
}

/// What a client wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Puts or deletes, which carry the operation's number as their value.
    Write {
        keys: Vec<Bytes>,
    },
    Read,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// A write took place; per key, the revision of its entry.
    Written {
        revision: u64,
        modified: Vec<Option<u64>>,
    },
    /// A key was something else; `None` when it was absent.
    Conflict {
        key: Bytes,
        current: Option<Arc<Entry>>,
    },
    Read(View),
    /// It may have taken place or not.
    Unknown,
}

#[derive(Debug)]
struct Operation {
    id: u64,
    wanted: Wanted,
    /// The newest revision that was acknowledged to anyone when it began.
    floor: u64,
    /// The newest revision anywhere when it ended.
    ceiling: u64,
    ended: Ended,
}

/// See the module.
#[derive(Default)]
pub(super) struct History {
    shown: BTreeMap<u64, Shown>,
    operations: Vec<Operation>,
    /// The newest revision that was acknowledged to anyone.
    acknowledged: u64,
    newest: u64,
    next_id: u64,
}

/// Something that must not be.
pub(super) type Violation = String;

impl History {
    pub(super) fn begin(&mut self) -> (u64, u64) {
        self.next_id += 1;
        (self.next_id, self.acknowledged)
    }

    /// How many operations had an answer.
    pub(super) fn answered(&self) -> u64 {
        self.operations.iter().filter(|operation| !matches!(operation.ended, Ended::Unknown)).count() as u64
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn end(&mut self, id: u64, floor: u64, wanted: Wanted, ended: Ended) {
        match &ended {
            Ended::Written { revision, .. } => self.acknowledged = self.acknowledged.max(*revision),
            Ended::Read(view) => self.acknowledged = self.acknowledged.max(view.revision()),
            Ended::Conflict { current: Some(entry), .. } => {
                self.acknowledged = self.acknowledged.max(entry.modified);
            }
            Ended::Conflict { current: None, .. } | Ended::Unknown => {}
        }
        self.operations.push(Operation { id, wanted, floor, ceiling: self.newest, ended });
    }

    /// A replica shows changes.
    pub(super) fn shows(&mut self, node: u64, before: u64, events: &[Arc<Event>]) -> Result<(), Violation> {
        let mut last = before;
        for event in events {
            if event.revision != last + 1 {
                return Err(format!("replica {node} shows revision {} after {last}", event.revision));
            }
            last = event.revision;
            let value = (event.kind == EventKind::Put).then(|| event.entry.value.clone());
            let shown = Shown { key: event.entry.key.clone(), value };
            if let Some(other) = self.shown.get(&event.revision)
                && *other != shown
            {
                return Err(format!("revision {} is {shown:?} on replica {node}, elsewhere {other:?}", event.revision));
            }
            self.shown.insert(event.revision, shown);
        }
        self.newest = self.newest.max(last);
        Ok(())
    }

    /// A replica is in a state that came from another one, or from its disk.
    pub(super) fn is_at(&mut self, node: u64, view: &View) -> Result<(), Violation> {
        match self.newest < view.revision() {
            true => {
                Err(format!("replica {node} has revision {}, and only {} were shown", view.revision(), self.newest))
            }
            false => Ok(()),
        }
    }

    /// Everything at the end.
    pub(super) fn check(&self) -> Result<(), Violation> {
        let states = States::new(&self.shown);
        let mut by_value: BTreeMap<&Bytes, Vec<(u64, &Bytes)>> = BTreeMap::new();
        for (revision, shown) in &self.shown {
            if let Some(value) = &shown.value {
                by_value.entry(value).or_default().push((*revision, &shown.key));
            }
        }
        for operation in &self.operations {
            let value = Bytes::from(operation.id.to_string());
            let took = by_value.get(&value).map_or(&[][..], Vec::as_slice);
            let places: BTreeSet<&Bytes> = took.iter().map(|(_, key)| *key).collect();
            let said =
                |what: String| Err(format!("operation {} {what}: {operation:?}, seen at {took:?}", operation.id));
            if places.len() < took.len() {
                return said("took place twice".to_owned());
            }
            if took.iter().any(|(revision, _)| *revision <= operation.floor) {
                return said("took place before it began".to_owned());
            }
            match (&operation.ended, &operation.wanted) {
                (Ended::Unknown, _) => {}
                (Ended::Written { revision, modified }, Wanted::Write { keys }) => {
                    if modified.iter().any(Option::is_some) && *revision <= operation.floor {
                        return said("has an older revision than what was acknowledged before".to_owned());
                    }
                    if *revision < operation.floor {
                        return said("saw less than what was acknowledged before".to_owned());
                    }
                    for (key, modified) in keys.iter().zip(modified) {
                        let Some(modified) = modified else { continue };
                        let shown = self.shown.get(modified);
                        if shown.is_none_or(|shown| shown.key != *key || shown.value.as_ref() != Some(&value)) {
                            return said(format!("is lost: revision {modified} is {shown:?}"));
                        }
                    }
                }
                (Ended::Conflict { key, current }, _) => {
                    if !took.is_empty() {
                        return said("took place, although it was refused".to_owned());
                    }
                    if !states.held(key, current.as_deref(), operation.floor, operation.ceiling) {
                        return said("was refused for a state that was not there".to_owned());
                    }
                }
                (Ended::Read(view), _) => {
                    if view.revision() < operation.floor {
                        return said(format!("read revision {}, older than what was acknowledged", view.revision()));
                    }
                    if let Err(wrong) = states.is(view) {
                        return said(wrong);
                    }
                }
                (Ended::Written { .. }, Wanted::Read) => return said("is no write".to_owned()),
            }
        }
        Ok(())
    }

    /// Whether a view is what all changes up to its revision come to.
    pub(super) fn is(&self, view: &View) -> Result<(), Violation> {
        States::new(&self.shown).is(view)
    }
}

/// By key, its changes by revision.
struct States<'a>(BTreeMap<&'a Bytes, BTreeMap<u64, Option<&'a Bytes>>>);

impl<'a> States<'a> {
    fn new(shown: &'a BTreeMap<u64, Shown>) -> Self {
        let mut keys: BTreeMap<&Bytes, BTreeMap<u64, Option<&Bytes>>> = BTreeMap::new();
        for (revision, change) in shown {
            keys.entry(&change.key).or_default().insert(*revision, change.value.as_ref());
        }
        Self(keys)
    }

    fn is(&self, view: &View) -> Result<(), Violation> {
        let expected: Vec<(&Bytes, u64, &Bytes)> = self
            .0
            .iter()
            .filter_map(|(key, changes)| {
                let (modified, value) = changes.range(..=view.revision()).next_back()?;
                Some((*key, *modified, (*value)?))
            })
            .collect();
        let found: Vec<(&Bytes, u64, &Bytes)> =
            view.prefix(b"").map(|entry| (&entry.key, entry.modified, &entry.value)).collect();
        match expected == found {
            true => Ok(()),
            false => Err(format!("revision {} is {found:?} instead of {expected:?}", view.revision())),
        }
    }

    /// Whether a key was in a state at some revision from `floor` to `ceiling`.
    fn held(&self, key: &Bytes, state: Option<&Entry>, floor: u64, ceiling: u64) -> bool {
        let none = BTreeMap::new();
        let changes = self.0.get(key).unwrap_or(&none);
        let from = changes.range(..=floor).next_back().map_or((0, None), |(revision, value)| (*revision, *value));
        let mut states = std::iter::once(from).chain(
            changes
                .range((Bound::Excluded(floor), Bound::Included(ceiling.max(floor))))
                .map(|(revision, value)| (*revision, *value)),
        );
        states.any(|(revision, value)| match state {
            None => value.is_none(),
            Some(entry) => entry.modified == revision && value == Some(&entry.value),
        })
    }
}

/// What an answer to a write comes to.
pub(super) fn ended(keys: &[Bytes], outcome: Result<crate::Commit, CommitError>) -> Ended {
    match outcome {
        Ok(commit) => {
            // Of a delete the entry is what is gone: it says nothing about this operation.
            let modified = commit.entries.iter().map(|entry| entry.as_ref().map(|entry| entry.modified)).collect();
            Ended::Written { revision: commit.revision, modified }
        }
        Err(CommitError::Conflict { op, current }) => Ended::Conflict { key: keys[op].clone(), current },
        Err(_) => Ended::Unknown,
    }
}
