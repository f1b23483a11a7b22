//! Which old value belongs to a new one, and whether anything changed: what has not changed is not held against an update.

use serde_json::Value as Json;

use crate::at;

/// A new value and the old one it belongs to, if any, with the nearest pair around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'o> {
    /// Nothing where the place cannot be told apart from others.
    current: Option<(&'o Json, &'o Json)>,
    around: Option<(&'o Json, &'o Json)>,
}

impl<'o> Pair<'o> {
    pub(super) fn root(new: &'o Json, old: Option<&'o Json>) -> Pair<'o> {
        Pair { current: old.map(|old| (new, old)), around: None }
    }

    /// Whether the value, or the nearest one around it that had an old value, is as before.
    pub(super) fn unchanged(&self) -> bool {
        self.current.or(self.around).is_some_and(|(new, old)| new == old)
    }

    pub(super) fn key(&self, name: &str) -> Pair<'o> {
        let Some((new, old)) = self.current else { return *self };
        if self.around.is_none() && matches!(name, "apiVersion" | "kind") {
            return Pair { current: None, around: None };
        }
        Pair { current: at::get(new, name).zip(at::get(old, name)), around: self.current }
    }

    /// The element of a list; `old` is the old element with the same keys.
    pub(super) fn element(&self, new: &'o Json, old: Option<&'o Json>) -> Pair<'o> {
        match self.current {
            None => *self,
            Some(_) => Pair { current: old.map(|old| (new, old)), around: self.current },
        }
    }

    /// For the parts of an `allOf`, which only what is around excuses.
    pub(super) fn around_only(&self) -> Pair<'o> {
        Pair { current: None, around: self.around }
    }
}

/// The element of the old list that has the keys of the new element.
pub(super) fn old_element<'o>(keys: &[String], old: &'o [Json], new: &Json) -> Option<&'o Json> {
    old.iter()
        .find(|old| old.is_object() && new.is_object() && keys.iter().all(|key| at::get(old, key) == at::get(new, key)))
}
