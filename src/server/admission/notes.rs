//! What admission says besides yes and no: warnings for the author, annotations for the audit, and what must still hold
//! when the object is written.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use mk8s_store::{Op, Store};
use parking_lot::Mutex;

/// A key and a value for the audit.
pub(super) type Annotation = (Cow<'static, str>, Cow<'static, str>);

/// Gathers what is said about one request, from whichever part of it.
#[derive(Debug, Default)]
pub struct Notes {
    warnings: Mutex<Vec<String>>,
    conditions: Mutex<Vec<Op>>,
    /// Something was decided that nobody else was asked about, because there was nobody.
    alone: AtomicBool,
    /// What was decided does not hold any more; nothing was written.
    outdated: AtomicBool,
    annotations: Mutex<Vec<Annotation>>,
}

/// What the write depends on holds no more: the request begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outdated;

impl Notes {
    /// For the client, as a `Warning` header, whatever becomes of the request.
    pub fn warn(&self, warning: String) {
        self.warnings.lock().push(warning);
    }

    /// For the audit.
    pub fn annotate(&self, key: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
        self.annotations.lock().push((key.into(), value.into()));
    }

    /// The annotations so far.
    pub(crate) fn take_annotations(&self) -> Vec<Annotation> {
        std::mem::take(&mut *self.annotations.lock())
    }

    /// The warnings so far.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }

    /// The object may be written only while this holds.
    pub(crate) fn depend_on(&self, condition: Op) {
        let mut conditions = self.conditions.lock();
        if !conditions.contains(&condition) {
            conditions.push(condition);
        }
    }

    /// The object may be written only while no other server takes part.
    pub(crate) fn depend_on_being_alone(&self) {
        self.alone.store(true, Relaxed);
    }

    /// What is to be added to the transaction that writes the object.
    pub(crate) fn conditions(&self, store: &Store) -> Result<Vec<Op>, Outdated> {
        if self.alone.load(Relaxed) && !store.is_alone() {
            self.outdate();
            return Err(Outdated);
        }
        Ok(self.conditions.lock().clone())
    }

    /// The request is to begin anew.
    pub(crate) fn outdate(&self) {
        self.outdated.store(true, Relaxed);
    }

    pub(crate) fn are_outdated(&self) -> bool {
        self.outdated.load(Relaxed)
    }
}
