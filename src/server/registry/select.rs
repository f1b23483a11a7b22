//! Which objects a list or watch shows: the cheapest test that decides goes first.
//!
//! Name and namespace stand in the key, pods of a node are found by the store's index, labels are read without decoding
//! the rest, and only other fields need the whole object.

use std::sync::Arc;

use mk8s_api::{
    select::{FieldSelector, LabelSelector},
    status::Status,
};
use mk8s_store::{Compacted, Entry, Store, View, Watcher};

use super::{ListOptions, Resource, encode, keys, pods::BY_NODE};

/// A selection of the objects of one kind.
pub(super) struct Filter {
    resource: Arc<Resource>,
    labels: LabelSelector,
    fields: FieldSelector,
    everything: bool,
    /// Some selected field is neither the name nor the namespace.
    deep: bool,
    /// What the store's index finds all matches by.
    term: Option<String>,
}

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";
const NODE: &str = "spec.nodeName";

impl Filter {
    /// Refuses fields that the kind cannot be selected by.
    pub(super) fn new(store: &Store, resource: &Arc<Resource>, options: &ListOptions) -> Result<Filter, Status> {
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
        let is_indexed = resource.prefix.as_bytes() == BY_NODE.prefix && store.has_index_of(BY_NODE.prefix);
        // Pods without a node say no term.
        let node = fields.exact(NODE).filter(|node| is_indexed && !node.is_empty());
        let term = node.map(str::to_owned);
        Ok(Filter { resource: resource.clone(), labels, fields, everything, deep, term })
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

    /// The entries from a key on and below another among which all matches are.
    pub(super) fn range<'v>(
        &self,
        view: &'v View,
        from: &[u8],
        end: &[u8],
    ) -> Box<dyn Iterator<Item = &'v Arc<Entry>> + 'v> {
        match &self.term {
            Some(term) => Box::new(view.range_saying(term, from, end)),
            None => Box::new(view.range(from, end)),
        }
    }

    /// Whether [`Filter::range`] is long, and each of its entries is to be looked into.
    pub(super) fn takes_long(&self, view: &View, scope: &str) -> bool {
        const LONG: usize = 1000;
        let is_found = self.term.is_some() && view.is_indexed();
        !is_found && !self.everything && view.count(scope.as_bytes()) > LONG
    }

    /// Follows the keys below a prefix among which all matches are.
    pub(super) fn watch(&self, store: &Store, prefix: &str, after: u64) -> Result<Watcher, Compacted> {
        match &self.term {
            Some(term) => store.watch_saying(term, prefix.as_bytes(), after),
            None => store.watch(prefix.as_bytes(), after),
        }
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
