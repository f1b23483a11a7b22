//! Between the version a client speaks and the version objects are stored in.
//!
//! Nearly all kinds have one version, and nothing is done. Two have another: horizontal pod autoscalers are stored as
//! `autoscaling/v2`, of which `v2beta2` is but another name and `v1` a part, and events of `events.k8s.io/v1` as those of the core group (one store for both).

mod autoscaler;
mod event;

use serde_json::Value;

use crate::{
    kinds::{self, Kind},
    schema,
};

/// Whether the kind is stored in another form than it is served in.
pub fn is_converted(kind: &Kind) -> bool {
    kind.storage_group != kind.group || kind.storage_version != kind.version
}

/// Makes the stored form of an object of `kind`.
pub fn to_storage(kind: &Kind, object: &mut Value) {
    if is_converted(kind) {
        match kind.kind.as_str() {
            "Event" => event::to_core(object),
            "HorizontalPodAutoscaler" if kind.version == "v1" => autoscaler::to_v2(object),
            _ => {}
        }
        settle(&kind.storage_group, &kind.storage_version, &kind.kind, object);
    }
}

/// Makes the form in which `kind` is served from the stored one.
pub fn from_storage(kind: &Kind, object: &mut Value) {
    if is_converted(kind) {
        match kind.kind.as_str() {
            "Event" => event::from_core(object),
            "HorizontalPodAutoscaler" if kind.version == "v1" => autoscaler::to_v1(object),
            _ => {}
        }
        settle(&kind.group, &kind.version, &kind.kind, object);
    }
}

/// The name in the stored form of a field that selectors may name.
pub fn storage_field<'a>(kind: &Kind, field: &'a str) -> &'a str {
    if is_converted(kind) && kind.kind == "Event" { event::core_field(field) } else { field }
}

/// Says the new version, and lets the target's schema write and omit what belongs so.
fn settle(group: &str, version: &str, kind: &str, object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), kinds::api_version(group, version).into());
    }
    if let Some(schema) = schema::schema_of(group, version, kind) {
        schema.prune(object);
    }
}

#[cfg(test)]
mod tests;
