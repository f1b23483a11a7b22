//! The `scale` subresource: the number of replicas of a kind, read and written without knowing the kind.

use serde_json::{Map, Value, json};

use super::at::{int, map, set, sub, sub_mut};
use crate::crd::ScalePaths;
use crate::meta;
use crate::select::LabelSelector;

/// Where a kind keeps what its `scale` shows.
#[derive(Debug)]
pub enum Scale {
    BuiltIn {
        /// Whether `spec.selector` is a plain map (ReplicationController) and no label selector.
        plain_selector: bool,
    },
    Custom(ScalePaths),
}

pub(super) static SELECTOR: Scale = Scale::BuiltIn { plain_selector: false };
pub(super) static PLAIN: Scale = Scale::BuiltIn { plain_selector: true };

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
        let (desired, present, selector) = match self {
            Scale::Custom(paths) => {
                let desired = paths.wanted(object).ok().flatten();
                (desired, paths.present(object).ok().flatten(), paths.selector(object).to_owned())
            }
            Scale::BuiltIn { plain_selector: true } => {
                let pairs =
                    map(spec, "selector").iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
                (int(spec, "replicas"), int(status, "replicas"), LabelSelector::from_set(pairs).to_string())
            }
            Scale::BuiltIn { plain_selector: false } => {
                let selector = LabelSelector::from_json(sub(spec, "selector"));
                let selector = selector.map(|selector| selector.to_string()).unwrap_or_default();
                (int(spec, "replicas"), int(status, "replicas"), selector)
            }
        };
        let mut shown = json!({"replicas": present.unwrap_or(0)});
        if !selector.is_empty() {
            set(&mut shown, "selector", selector);
        }
        let mut wanted = json!({});
        if let Some(replicas) = desired.filter(|replicas| *replicas != 0) {
            set(&mut wanted, "replicas", replicas);
        }
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": wanted, "status": shown})
    }

    /// The path of the replicas that are wanted, when a custom object does not say how many.
    pub fn missing(&self, object: &Value) -> Option<&str> {
        match self {
            Scale::Custom(paths) if paths.wanted(object) == Ok(None) => Some(paths.spec_path()),
            _ => None,
        }
    }

    /// Writes the replicas of a Scale into the object.
    pub fn write(&self, object: &mut Value, scale: &Value) {
        let replicas = int(sub(scale, "spec"), "replicas").unwrap_or(0);
        if let Scale::Custom(paths) = self {
            return paths.set_wanted(object, replicas);
        }
        if let Some(spec) = sub_mut(object, "spec") {
            set(spec, "replicas", replicas);
        }
    }
}
