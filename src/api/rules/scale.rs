//! The `scale` subresource: the number of replicas of a kind, read and written without knowing the kind.

use serde_json::{Map, Value, json};

use super::at::{int, map, set, sub, sub_mut};
use crate::meta;
use crate::select::LabelSelector;

/// Where a kind keeps what its `scale` shows.
#[derive(Debug)]
pub struct Scale {
    /// Whether `spec.selector` is a plain map (ReplicationController) and no label selector.
    pub(super) plain_selector: bool,
}

pub(super) static SELECTOR: Scale = Scale { plain_selector: false };
pub(super) static PLAIN: Scale = Scale { plain_selector: true };

impl Scale {
    /// The `autoscaling/v1` Scale of an object.
    pub fn read(&self, object: &Value) -> Value {
        let mut metadata = Map::new();
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = meta::metadata(object).get(field) {
                metadata.insert(field.into(), value.clone());
            }
        }
        let (spec, status) = (sub(object, "spec"), sub(object, "status"));
        let mut shown = json!({"replicas": int(status, "replicas").unwrap_or(0)});
        let selector = if self.plain_selector {
            let pairs = map(spec, "selector").iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
            LabelSelector::from_set(pairs).to_string()
        } else {
            LabelSelector::from_json(sub(spec, "selector")).map(|selector| selector.to_string()).unwrap_or_default()
        };
        if !selector.is_empty() {
            set(&mut shown, "selector", selector);
        }
        let mut wanted = json!({});
        if let Some(replicas) = int(spec, "replicas").filter(|replicas| *replicas != 0) {
            set(&mut wanted, "replicas", replicas);
        }
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": wanted, "status": shown})
    }

    /// Writes the replicas of a Scale into the object.
    pub fn write(&self, object: &mut Value, scale: &Value) {
        let replicas = int(sub(scale, "spec"), "replicas").unwrap_or(0);
        if let Some(spec) = sub_mut(object, "spec") {
            set(spec, "replicas", replicas);
        }
    }
}
