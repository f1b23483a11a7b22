//! Writes that are no applies: who writes a field owns it from then on, and nobody else does.

use serde_json::Value;

use super::{
    compare::{Difference, compare},
    managers::{Manager, Managers, Operation, is_reset},
    prune::Versions,
    reconcile::reconcile,
    reset::Counted,
    set::FieldSet,
};
use crate::meta;

pub(super) const FIELD: &str = "managedFields";

/// Who writes, and how.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    /// The manager's name; empty when nobody said it.
    pub name: &'a str,
    /// The version of the kind in which the object is written.
    pub api_version: &'a str,
    pub subresource: &'a str,
    /// The time as it is noted.
    pub now: &'a str,
    pub counted: &'a Counted,
    pub versions: &'a dyn Versions,
}

impl Writer<'_> {
    pub(super) fn manager(&self, operation: Operation, fields: FieldSet) -> Manager {
        Manager {
            name: if self.name.is_empty() { "unknown".into() } else { self.name.into() },
            operation,
            subresource: self.subresource.into(),
            api_version: self.api_version.into(),
            time: Some(self.now.into()),
            fields,
        }
    }
}

/// Notes who owns the fields of a new object. `zero` is what the kind's objects look like before anything is set.
pub fn create(writer: &Writer<'_>, zero: &Value, object: &mut Value) {
    let said = take(object).filter(|said| !is_reset(said));
    let mut managers = said.and_then(|said| Managers::decode(said).ok()).unwrap_or_default();
    note(writer, &mut managers, zero, object);
    put(object, managers.encode());
}

/// Notes who owns the fields of an object that is about to replace `old`. What a client says of managers counts where it
/// can be understood, but not through a subresource. An object that nobody manages stays so until somebody applies.
pub fn update(writer: &Writer<'_>, old: &Value, new: &mut Value) {
    let said = take(new).filter(|_| writer.subresource.is_empty());
    let stored = meta::metadata(old).get(FIELD);
    let differs = said.as_ref().filter(|said| Some(*said) != stored);
    if differs.is_some_and(is_reset) {
        return;
    }
    let told = differs.and_then(|said| Managers::decode(said.clone()).ok()).filter(|managers| !managers.is_empty());
    let Some(node) = writer.versions.node(writer.api_version) else { return put(new, stored.cloned()) };
    match (told, stored) {
        (None, None) => {}
        (Some(mut managers), _) => {
            note(writer, &mut managers, old, new);
            put(new, managers.encode());
        }
        (None, Some(stored)) => {
            let difference = counted(writer, compare(node, old, new));
            if difference.is_empty() && !has_other_versions(writer, stored) {
                return put(new, Some(stored.clone()));
            }
            let mut managers = Managers::of_stored(stored.clone());
            if !managers.is_empty() {
                settle(writer, &mut managers, old, new, difference);
            }
            put(new, managers.encode());
        }
    }
}

fn has_other_versions(writer: &Writer<'_>, stored: &Value) -> bool {
    stored.as_array().into_iter().flatten().any(|entry| entry["apiVersion"] != writer.api_version)
}

/// Takes what the object says of its managers out of it.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(FIELD)
}

pub(super) fn put(object: &mut Value, entries: Option<Value>) {
    if let Some(entries) = entries {
        meta::set(object, FIELD, entries);
    }
}

fn counted(writer: &Writer<'_>, mut difference: Difference) -> Difference {
    writer.counted.keep(&mut difference.removed);
    writer.counted.keep(&mut difference.changed);
    difference
}

/// The difference between two states, as far as it counts.
pub(super) fn difference(writer: &Writer<'_>, old: &Value, new: &Value) -> Difference {
    match writer.versions.node(writer.api_version) {
        Some(node) => counted(writer, compare(node, old, new)),
        None => Difference::default(),
    }
}

pub(super) fn note(writer: &Writer<'_>, managers: &mut Managers, old: &Value, new: &Value) {
    let difference = difference(writer, old, new);
    settle(writer, managers, old, new, difference);
}

fn settle(writer: &Writer<'_>, managers: &mut Managers, old: &Value, new: &Value, difference: Difference) {
    adapt(writer, managers);
    let seen = seen(writer, managers, old, new, difference);
    for manager in &mut managers.0 {
        if let Some(difference) = seen.by(manager) {
            manager.fields.subtract(&difference.removed);
            manager.fields.subtract(&difference.changed);
        }
    }
    let difference = seen.into_own();
    if !difference.changed.is_empty() {
        let mut mine = writer.manager(Operation::Update, difference.changed);
        match managers.find(&mine) {
            Some(at) => {
                mine.fields.unite(&managers.0[at].fields);
                managers.0[at] = mine;
            }
            None => managers.0.push(mine),
        }
    }
    managers.drop_empty();
    managers.cap();
}

/// Brings all sets under today's schemas. Managers of versions that are gone go.
pub(super) fn adapt(writer: &Writer<'_>, managers: &mut Managers) {
    managers.0.retain_mut(|manager| {
        let Some(node) = writer.versions.node(&manager.api_version) else { return false };
        if let Some(fields) = reconcile(node, &manager.fields) {
            manager.fields = fields;
        }
        true
    });
}

/// The difference between two states as each version shows it in which a manager has fields. Managers of versions that the
/// object cannot be had in go.
pub(super) fn seen(
    writer: &Writer<'_>,
    managers: &mut Managers,
    old: &Value,
    new: &Value,
    difference: Difference,
) -> Seen {
    let mut versions = vec![(writer.api_version.to_owned(), Some(difference))];
    managers.0.retain(|manager| {
        let version = manager.api_version.as_str();
        if let Some((_, known)) = versions.iter().find(|(known, _)| known == version) {
            return known.is_some();
        }
        let compared = || {
            let node = writer.versions.node(version)?;
            let (old, new) = (writer.versions.convert(old, version)?, writer.versions.convert(new, version)?);
            Some(counted(writer, compare(node, &old, &new)))
        };
        let compared = compared();
        let is_there = compared.is_some();
        versions.push((version.into(), compared));
        is_there
    });
    Seen(versions)
}

/// A difference in the terms of several versions.
pub(super) struct Seen(Vec<(String, Option<Difference>)>);

impl Seen {
    /// As a manager sees it.
    pub(super) fn by(&self, manager: &Manager) -> Option<&Difference> {
        self.0.iter().find(|(version, _)| *version == manager.api_version).and_then(|(_, seen)| seen.as_ref())
    }

    /// As the writer sees it.
    pub(super) fn into_own(self) -> Difference {
        self.0.into_iter().next().and_then(|(_, own)| own).unwrap_or_default()
    }
}
