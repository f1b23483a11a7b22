//! Which objects a list or watch shows: the cheapest test that decides goes first.
//!
//! Name and namespace stand in the key, labels are read without decoding the rest, and only other fields need the
//! whole object.

use std::sync::Arc;

use mk8s_api::{
    select::{FieldSelector, LabelSelector},
    status::Status,
};
use mk8s_store::Entry;

use super::{ListOptions, Resource, encode, keys};

/// A selection of the objects of one kind.
pub(super) struct Filter {
    resource: Arc<Resource>,
    labels: LabelSelector,
    fields: FieldSelector,
    everything: bool,
    /// Some selected field is neither the name nor the namespace.
    deep: bool,
}

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

impl Filter {
    /// Refuses fields that the kind cannot be selected by.
    pub(super) fn new(resource: &Arc<Resource>, options: &ListOptions) -> Result<Filter, Status> {
        let (labels, fields) = (options.labels.clone(), options.fields.clone());
        let mut deep = false;
        for term in fields.terms() {
            let name_or_namespace = term.field == NAME || (term.field == NAMESPACE && resource.kind.namespaced);
            if !name_or_namespace {
                resource.check_selectable(&term.field)?;
            }
            deep |= !name_or_namespace;
        }
        let everything = labels.is_everything() && fields.is_everything();
        Ok(Filter { resource: resource.clone(), labels, fields, everything, deep })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether objects must be in the form of the version that was asked for before they are looked at.
    pub(super) fn needs_presented(&self) -> bool {
        self.deep && self.resource.as_custom().is_some()
    }

    pub(super) fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    /// The name that every match must have.
    pub(super) fn single_name(&self) -> Option<&str> {
        self.fields.exact(NAME)
    }

    pub(super) fn matches(&self, entry: &Arc<Entry>) -> bool {
        self.everything || (self.fields_match(entry) && self.labels_match(entry))
    }

    fn labels_match(&self, entry: &Entry) -> bool {
        self.labels.is_everything() || self.labels.matches(&encode::labels(&entry.value))
    }

    fn fields_match(&self, entry: &Entry) -> bool {
        if self.fields.is_everything() {
            return true;
        }
        let (namespace, name) = keys::namespace_and_name(&self.resource.prefix, entry);
        let stored = if self.deep { encode::decode(&entry.value) } else { serde_json::Value::Null };
        self.fields.terms().iter().all(|term| {
            let equal = match term.field.as_str() {
                NAME => name == term.value,
                NAMESPACE => namespace == term.value,
                field => self.resource.field_of(&stored, field).unwrap_or_default() == term.value,
            };
            equal == term.equal
        })
    }
}
