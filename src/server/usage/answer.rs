//! `NodeMetrics` and `PodMetrics` of the nodes and pods that there are.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use mk8s_api::{
    meta::format_time,
    quantity::{Format, Quantity},
    status::Status,
};
use mk8s_store::Entry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Usage, readings::Rate};
use crate::registry::{List, ListOptions, Registry, Resource, Stored, type_prefix};

/// What is used by all that a selection of nodes or pods shows.
pub async fn list(
    usage: &Usage,
    registry: &Registry,
    resource: &Resource,
    namespace: &str,
    options: &ListOptions,
) -> Result<List, Status> {
    // As in metrics-server: all at once, and as of now.
    let options =
        ListOptions { labels: options.labels.clone(), fields: options.fields.clone(), ..ListOptions::default() };
    let measured = measured_resource(registry, resource)?;
    let mut found = registry.list(&measured, namespace, &options).await?;
    let now = Timestamp::now();
    found.entries = found.entries.iter().filter_map(|entry| of(usage, resource, entry, now)).collect();
    Ok(found)
}

/// What one node or pod uses.
pub async fn get(
    usage: &Usage,
    registry: &Registry,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Stored, Status> {
    let shown = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let missing = || Status::not_found(&resource.group_resource, &shown);
    let found = registry.get(&measured_resource(registry, resource)?, namespace, name, None).await;
    let entry = found.map_err(|status| if status.is_not_found() { missing() } else { status })?;
    of(usage, resource, &entry, Timestamp::now()).map(Stored::Entry).ok_or_else(missing)
}

/// The core group's resource of the same name.
fn measured_resource(registry: &Registry, resource: &Resource) -> Result<Arc<Resource>, Status> {
    registry.resources().find("", "v1", &resource.kind.plural).ok_or_else(Status::resource_not_found)
}

/// What is looked at of a node or pod.
#[derive(Deserialize)]
struct Measured {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: State,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
}

#[derive(Default, Deserialize)]
struct State {
    #[serde(default)]
    phase: String,
}

fn of(usage: &Usage, resource: &Resource, entry: &Entry, now: Timestamp) -> Option<Arc<Entry>> {
    let measured: Measured = serde_json::from_slice(&entry.value).ok()?;
    let fields = match resource.kind.namespaced {
        true => pod(usage, &measured)?,
        false => node(usage, &measured)?,
    };
    let value = encode(&type_prefix(&resource.kind.kind, &resource.api_version), &measured.metadata, fields, now);
    Some(Arc::new(Entry { key: entry.key.clone(), value, created: entry.created, modified: entry.modified }))
}

fn node(usage: &Usage, node: &Measured) -> Option<Value> {
    let rate = usage.0.read().get(&node.metadata.name)?.node()?;
    Some(json!({
        "timestamp": format_time(rate.at),
        "window": window(rate.window),
        "usage": used(&rate),
    }))
}

fn pod(usage: &Usage, pod: &Measured) -> Option<Value> {
    let Metadata { name, namespace, uid, .. } = &pod.metadata;
    if pod.status.phase != "Running" {
        return None;
    }
    let nodes = usage.0.read();
    let rates = nodes.get(&pod.spec.node_name)?.pod(namespace, name, uid)?;
    // One interval for all: that of the container that was read first.
    let first = rates.iter().map(|(_, rate)| rate).min_by_key(|rate| rate.at)?;
    let containers: Vec<Value> = rates.iter().map(|(name, rate)| json!({"name": name, "usage": used(rate)})).collect();
    Some(json!({
        "timestamp": format_time(first.at),
        "window": window(first.window),
        "containers": containers,
    }))
}

/// The object's text, its type first as the store has it.
fn encode(prefix: &str, of: &Metadata, fields: Value, now: Timestamp) -> Bytes {
    let mut metadata = json!({"name": of.name, "creationTimestamp": format_time(now)});
    if !of.namespace.is_empty() {
        metadata["namespace"] = json!(of.namespace);
    }
    if !of.labels.is_empty() {
        metadata["labels"] = json!(of.labels);
    }
    let mut object = fields;
    object["metadata"] = metadata;
    let text = object.to_string();
    // The object's own brace is in the prefix.
    Bytes::from(format!("{prefix}{}", text.trim_start_matches('{')))
}

/// What a rate is as quantities.
pub(super) fn used(rate: &Rate) -> Value {
    let memory = i64::try_from(rate.memory_bytes).unwrap_or(i64::MAX);
    json!({
        "cpu": Quantity::from_nanos(rate.cpu_nanocores.into()).to_string(),
        "memory": Quantity::from_units(memory, Format::Binary).to_string(),
    })
}

/// Go's text of a duration, to the millisecond.
pub(super) fn window(window: SignedDuration) -> String {
    let millis = u128::try_from(window.as_millis()).unwrap_or_default();
    let (minutes, millis) = (millis / 60_000, millis % 60_000);
    let seconds = match millis % 1000 {
        0 => format!("{}s", millis / 1000),
        rest => format!("{}.{}s", millis / 1000, format!("{rest:03}").trim_end_matches('0')),
    };
    if minutes == 0 { seconds } else { format!("{minutes}m{seconds}") }
}
