//! What is kept of one object.

use super::ApiKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use mk8s_client::Key;
use std::sync::Arc;

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) kind: Arc<ApiKind>,
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) finalizers: Vec<String>,
    pub(crate) is_being_deleted: bool,
}

impl Record {
    /// `None` for an object without a uid, which no server has.
    pub(crate) fn of(kind: &Arc<ApiKind>, meta: &ObjectMeta) -> Option<Record> {
        Some(Record {
            kind: kind.clone(),
            key: Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone()?),
            uid: meta.uid.clone()?,
            version: meta.resource_version.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            is_being_deleted: meta.deletion_timestamp.is_some(),
        })
    }

    fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|known| known == finalizer)
    }

    /// Its deletion waits for its dependents.
    pub(crate) fn waits_for_dependents(&self) -> bool {
        self.is_being_deleted && self.has(FOREGROUND)
    }

    /// Its deletion leaves its dependents behind, once they know that they have no owner.
    pub(crate) fn orphans_dependents(&self) -> bool {
        self.is_being_deleted && self.has(ORPHAN)
    }

    /// How it wants its dependents to be treated, as its finalizers say.
    pub(crate) fn has_finalizer(&self, finalizer: &str) -> bool {
        self.has(finalizer)
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Applied(Arc<Record>),
    Removed(Arc<Record>),
}
