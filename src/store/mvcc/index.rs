//! What entries are found by besides their key.

use super::Entry;
use std::sync::Arc;

/// What the value of an entry says of itself, by which it can be found.
pub type Term = Arc<str>;

/// Entries below a prefix can be read and watched by the term that they say.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    pub prefix: &'static [u8],
    /// Not asked of other entries, and of each value the same whenever it is asked.
    pub term: fn(&[u8]) -> Option<Term>,
}

impl Index {
    pub(crate) fn term_of(&self, entry: &Entry) -> Option<Term> {
        if entry.key.starts_with(self.prefix) { (self.term)(&entry.value) } else { None }
    }
}

/// What a key's entry said before a change, and says after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    pub(crate) was: Option<Term>,
    pub(crate) is: Option<Term>,
}

impl Terms {
    /// Each of them once.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Term> {
        let was = self.was.as_ref().filter(|was| self.is.as_ref() != Some(*was));
        was.into_iter().chain(&self.is)
    }

    pub(crate) fn contain(&self, term: &str) -> bool {
        self.each().any(|other| **other == *term)
    }
}
