//! Looking up objects in a view of the store.

use std::sync::Arc;

use mk8s_store::{Entry, View};
use serde_json::Value;

fn key(group: &str, plural: &str, namespace: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    match namespace {
        "" => format!("/registry/{group}/{plural}/"),
        namespace => format!("/registry/{group}/{plural}/{namespace}/"),
    }
}

pub(crate) fn entry(view: &View, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Entry>> {
    view.get((key(group, plural, namespace) + name).as_bytes()).cloned()
}

/// All entries of a kind, in a namespace when one is given.
pub(crate) fn entries<'a>(
    view: &'a View,
    group: &str,
    plural: &str,
    namespace: &str,
) -> impl Iterator<Item = Arc<Entry>> + use<'a> {
    view.prefix(key(group, plural, namespace).as_bytes()).cloned()
}

pub(crate) fn get(view: &View, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
    let entry = view.get((key(group, plural, namespace) + name).as_bytes())?;
    serde_json::from_slice(&entry.value).ok()
}

/// All objects of a kind, in a namespace when one is given. Unreadable ones are left out.
pub(crate) fn list(view: &View, group: &str, plural: &str, namespace: &str) -> Vec<Value> {
    view.prefix(key(group, plural, namespace).as_bytes())
        .filter_map(|entry| serde_json::from_slice(&entry.value).ok())
        .collect()
}

/// The elements of a list field; none when it is missing.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The elements of a list field, to change them. (Indexing a missing field for writing would make it: `null`.)
pub(crate) fn items_mut<'a>(holder: &'a mut Value, field: &str) -> &'a mut [Value] {
    holder.get_mut(field).and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default()
}
