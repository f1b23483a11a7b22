//! Reading and writing `metadata` of an object that is held as JSON, and the text form of times.
//!
//! A missing field reads as its zero value (`""`, no entries), as it does for a Go client.

use std::{cmp::Ordering, sync::LazyLock};

use serde_json::{Map, Value};

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

fn map_or_empty(value: Option<&Value>) -> &Map<String, Value> {
    value.and_then(Value::as_object).unwrap_or(&EMPTY)
}

/// The object's `metadata`, empty when absent.
pub fn metadata(object: &Value) -> &Map<String, Value> {
    map_or_empty(object.get("metadata"))
}

/// The object's `metadata` for change; made when absent. `None` when the object is no map.
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let fields = object.as_object_mut()?;
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).get(field).and_then(Value::as_str).unwrap_or("")
}

pub fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or("")
}

pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or("")
}

/// The group and version of an `apiVersion`: `("apps", "v1")`, `("", "v1")`.
pub fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

pub fn name(object: &Value) -> &str {
    text(object, "name")
}

pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// Which of two versions of objects of a resource is the older one; they are numbers of any length.
pub fn compare_versions(one: &str, other: &str) -> Result<Ordering, String> {
    for version in [one, other] {
        if version.is_empty() || version.starts_with('0') || !version.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("resource version is not well formed: {version}"));
        }
    }
    Ok(one.len().cmp(&other.len()).then_with(|| one.cmp(other)))
}

pub fn creation_timestamp(object: &Value) -> Option<&str> {
    metadata(object).get("creationTimestamp").and_then(Value::as_str)
}

pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    metadata(object).get("deletionTimestamp").and_then(Value::as_str)
}

pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    metadata(object).get("deletionGracePeriodSeconds").and_then(Value::as_i64)
}

pub fn is_deleting(object: &Value) -> bool {
    deletion_timestamp(object).is_some()
}

pub fn generation(object: &Value) -> i64 {
    metadata(object).get("generation").and_then(Value::as_i64).unwrap_or(0)
}

pub fn labels(object: &Value) -> &Map<String, Value> {
    map_or_empty(metadata(object).get("labels"))
}

pub fn annotations(object: &Value) -> &Map<String, Value> {
    map_or_empty(metadata(object).get("annotations"))
}

pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object).get(key).and_then(Value::as_str)
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object).get(key).and_then(Value::as_str)
}

/// The finalizers in their order.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(metadata(object).get("finalizers")).iter().filter_map(Value::as_str)
}

pub fn has_finalizers(object: &Value) -> bool {
    finalizers(object).next().is_some()
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerReference<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

pub fn owner_references(object: &Value) -> impl Iterator<Item = OwnerReference<'_>> {
    list(metadata(object).get("ownerReferences")).iter().map(|reference| {
        let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or("");
        let flag = |field: &str| reference.get(field).and_then(Value::as_bool).unwrap_or(false);
        OwnerReference {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            controller: flag("controller"),
            block_owner_deletion: flag("blockOwnerDeletion"),
        }
    })
}

/// The owner with `controller: true`, if any.
pub fn controller(object: &Value) -> Option<OwnerReference<'_>> {
    owner_references(object).find(|owner| owner.controller)
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Sets a field of `metadata`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(metadata) = metadata_mut(object) {
        metadata.insert(field.to_string(), value.into());
    }
}

/// Removes a field of `metadata`.
pub fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

pub fn set_name(object: &mut Value, name: &str) {
    set(object, "name", name);
}

pub fn set_namespace(object: &mut Value, namespace: &str) {
    set(object, "namespace", namespace);
}

/// `metav1.Time`: RFC 3339 in UTC with whole seconds.
pub fn format_time(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metav1.MicroTime`: RFC 3339 in UTC with six digits of the second.
pub fn format_micro_time(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads an RFC 3339 time.
pub fn parse_time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

/// Seconds after the epoch as a timestamp; out of range reads as the epoch.
pub fn timestamp_from_seconds(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_metadata_reads_as_zero() {
        for object in [json!({}), json!(null), json!({"metadata": 3}), json!({"metadata": null})] {
            assert_eq!((name(&object), namespace(&object), generation(&object)), ("", "", 0));
            assert!(labels(&object).is_empty() && !has_finalizers(&object) && controller(&object).is_none());
        }
    }

    #[test]
    fn accessors_read_what_is_there() {
        let mut object = json!({"metadata": {"name": "a", "labels": {"k": "v"}, "ownerReferences": [
            {"kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}]}});
        assert_eq!(label(&object, "k"), Some("v"));
        assert_eq!(controller(&object).map(|owner| owner.name), Some("r"));
        set_name(&mut object, "b");
        assert_eq!(name(&object), "b");
    }

    #[test]
    fn times_have_the_wire_form() {
        let now = jiff::Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        assert_eq!(format_time(now), "2023-11-14T22:13:20Z");
        assert_eq!(format_micro_time(now), "2023-11-14T22:13:20.123456Z");
        assert_eq!(parse_time("2023-11-14T22:13:20Z").map(|t| t.as_second()), Some(1_700_000_000));
        assert_eq!(parse_time("yesterday"), None);
    }
}
