//! The ordered map of one version of the keyspace, how many keys each directory of it holds, and which keys say which term.
//!
//! A directory is a prefix that ends in `/`. Its count answers "how many more are there" of a paged read without a walk
//! over them. A term is what the index finds in a value.
//!
//! Invariant: versions share their unchanged parts; a clone is O(1).

use super::{Entry, Index, Term, Terms};
use bytes::Bytes;
use imbl::{HashMap, OrdMap, OrdSet};
use std::{ops::Bound, sync::Arc};

#[derive(Debug, Clone, Default)]
pub(crate) struct Root {
    entries: OrdMap<Bytes, Arc<Entry>>,
    directories: HashMap<Bytes, usize>,
    index: Option<Index>,
    /// `None` in versions of the past, where entries are looked into instead: which keys say which term changes all over.
    terms: Option<OrdSet<(Term, Bytes)>>,
}

impl Root {
    pub(crate) fn new(index: Option<Index>, entries: impl IntoIterator<Item = Arc<Entry>>) -> Root {
        let mut root = Root { index, terms: Some(OrdSet::new()), ..Root::default() };
        for entry in entries {
            root.insert(entry);
        }
        root
    }

    pub(crate) fn entries(&self) -> &OrdMap<Bytes, Arc<Entry>> {
        &self.entries
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts an entry in the place of what its key had; what the two say.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) -> Terms {
        let key = entry.key.clone();
        let is = self.term_of(&entry);
        let previous = self.entries.insert(key.clone(), entry);
        let terms = Terms { was: previous.as_deref().and_then(|previous| self.term_of(previous)), is };
        if terms.was != terms.is {
            self.note(&key, &terms);
        }
        if previous.is_none() {
            for directory in directories(&key) {
                match self.directories.get_mut(directory) {
                    Some(count) => *count += 1,
                    None => drop(self.directories.insert(Bytes::copy_from_slice(directory), 1)),
                }
            }
        }
        terms
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<(Arc<Entry>, Terms)> {
        let entry = self.entries.remove(key)?;
        let terms = Terms { was: self.term_of(&entry), is: None };
        self.note(&entry.key, &terms);
        for directory in directories(key) {
            match self.directories.get_mut(directory) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.directories.remove(directory)),
            }
        }
        Some((entry, terms))
    }

    fn term_of(&self, entry: &Entry) -> Option<Term> {
        self.index.and_then(|index| index.term_of(entry))
    }

    fn note(&mut self, key: &Bytes, changed: &Terms) {
        let Some(terms) = &mut self.terms else { return };
        if let Some(was) = &changed.was {
            terms.remove(&(was.clone(), key.clone()));
        }
        if let Some(is) = &changed.is {
            terms.insert((is.clone(), key.clone()));
        }
    }

    /// The same for the past.
    pub(crate) fn past(&self) -> Root {
        Root { terms: None, ..self.clone() }
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.terms.is_some()
    }

    /// The entries that say a term, from a key on, in the order of their keys.
    pub(crate) fn saying(&self, term: &str, from: &[u8]) -> Box<dyn Iterator<Item = &Arc<Entry>> + '_> {
        let (term, from) = (Term::from(term), Bytes::copy_from_slice(from));
        let Some(terms) = &self.terms else {
            let entries = self.entries.range((Bound::Included(from), Bound::Unbounded)).map(|(_, entry)| entry);
            return Box::new(entries.filter(move |entry| self.term_of(entry).as_ref() == Some(&term)));
        };
        let from = Bound::Included((term.clone(), from));
        let said = terms.range((from, Bound::Unbounded)).take_while(move |(other, _)| *other == term);
        Box::new(said.filter_map(|(_, key)| self.entries.get(key)))
    }

    /// How many keys start with a directory's name, which ends in `/`.
    pub(crate) fn count(&self, directory: &[u8]) -> usize {
        self.directories.get(directory).copied().unwrap_or(0)
    }
}

fn directories(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = key.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    ends.map(|(at, _)| &key[..=at])
}
