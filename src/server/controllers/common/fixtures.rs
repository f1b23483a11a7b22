//! Objects from YAML for tests, and a time to look at them.

use super::pods::WholePod;
use jiff::Timestamp;
use mk8s_client::{Kind, pod::Pod};
use serde::Deserialize;
use std::sync::Arc;

/// The time of all fixtures: 2026-01-01T12:00:00Z.
pub(crate) fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

/// The objects of one kind in a stream of YAML documents, in order.
pub(crate) fn objects<K: Kind>(yaml: &str) -> Vec<K> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let values = documents.map(|document| serde_json::Value::deserialize(document).expect("YAML"));
    let wanted = values.filter(|value| value["kind"] == *K::kind(&()));
    wanted.map(|value| serde_json::from_value(value).expect("an object of its kind")).collect()
}

pub(crate) fn shared<K: Kind>(yaml: &str) -> Vec<Arc<K>> {
    objects(yaml).into_iter().map(Arc::new).collect()
}

/// The only object of its kind.
pub(crate) fn one<K: Kind>(yaml: &str) -> K {
    objects(yaml).into_iter().next().expect("an object of this kind")
}

/// A pod that was written, as the informer shows it.
pub(crate) fn seen(pod: &WholePod) -> Pod {
    let text = serde_json::to_value(pod).expect("JSON");
    serde_json::from_value(text).expect("a pod")
}

/// A plan as lines.
pub(crate) fn lines<A: std::fmt::Debug>(actions: &[A]) -> String {
    actions.iter().map(|action| format!("{action:?}\n")).collect()
}
