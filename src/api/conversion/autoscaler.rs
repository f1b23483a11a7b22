//! `autoscaling/v1` and `v2` horizontal pod autoscalers.
//!
//! `v1` knows one metric, CPU utilization. All else that a `v2` object says travels in annotations, as `v1` types in JSON, so
//! that a client of `v1` writes back what it read.

use serde_json::{Map, Value, json};

use crate::decode::{DEPTH, nests_within};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const DEFAULT_CPU_UTILIZATION: i32 = 80;

/// Where the parts of a metric are: its source, then pairs of places in `v1` and in `v2`. In a status, `target` and
/// `Target` read `current` and `Current`.
const SOURCES: [(&str, &[(&str, &str)]); 5] = [
    (
        "resource",
        &[
            ("name", "name"),
            ("targetAverageUtilization", "target.averageUtilization"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
    (
        "containerResource",
        &[
            ("name", "name"),
            ("container", "container"),
            ("targetAverageUtilization", "target.averageUtilization"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
    (
        "object",
        &[
            ("target", "describedObject"),
            ("metricName", "metric.name"),
            ("selector", "metric.selector"),
            ("targetValue", "target.value"),
            ("averageValue", "target.averageValue"),
        ],
    ),
    (
        "external",
        &[
            ("metricName", "metric.name"),
            ("metricSelector", "metric.selector"),
            ("targetValue", "target.value"),
            ("targetAverageValue", "target.averageValue"),
        ],
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Spec,
    Status,
}

impl Part {
    /// The places of one source's parts.
    fn places(self, source: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let rename = |(old, new): &(&str, &str)| match self {
            // The object a metric is about is `target` in a status too.
            Part::Status if *old != "target" => (old.replace("target", "current"), new.replace("target", "current")),
            _ => ((*old).to_owned(), (*new).to_owned()),
        };
        source.iter().map(rename).collect()
    }
}

pub(super) fn to_v2(object: &mut Value) {
    let target = take(object, "spec.targetCPUUtilizationPercentage");
    let current = take(object, "status.currentCPUUtilizationPercentage");
    let mut metrics: Vec<Value> = carried(object, METRICS).unwrap_or_default();
    metrics.iter_mut().for_each(|metric| metric_to_v2(metric, Part::Spec));
    if let Some(percent) = target {
        metrics.push(cpu("target", json!({ "type": "Utilization", "averageUtilization": percent })));
    }
    if metrics.is_empty() {
        let target = json!({ "type": "Utilization", "averageUtilization": DEFAULT_CPU_UTILIZATION });
        metrics.push(cpu("target", target));
    }
    put(object, "spec.metrics", Value::Array(metrics));
    if let Some(behavior) = carried::<Map<String, Value>>(object, BEHAVIOR).filter(|behavior| !behavior.is_empty()) {
        put(
            object,
            "spec.behavior",
            with_keys(Value::Object(behavior), &|key| first_letter(key, char::to_ascii_lowercase)),
        );
    }
    let mut statuses: Option<Vec<Value>> = carried(object, CURRENT_METRICS);
    match &mut statuses {
        Some(statuses) => statuses.iter_mut().for_each(|metric| metric_to_v2(metric, Part::Status)),
        None => {
            statuses = current.map(|percent| vec![cpu("current", json!({ "averageUtilization": percent }))]);
        }
    }
    if let Some(statuses) = statuses {
        put(object, "status.currentMetrics", Value::Array(statuses));
    }
    if let Some(conditions) = carried::<Vec<Value>>(object, CONDITIONS) {
        put(object, "status.conditions", Value::Array(conditions));
    }
    drop_annotations(object);
}

pub(super) fn to_v1(object: &mut Value) {
    drop_annotations(object);
    let list = |value: Option<Value>| match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let (cpu, mut others): (Vec<Value>, Vec<Value>) =
        list(take(object, "spec.metrics")).into_iter().partition(|metric| utilization(metric, "target").is_some());
    if let Some(percent) = cpu.first().and_then(|metric| utilization(metric, "target")) {
        put(object, "spec.targetCPUUtilizationPercentage", percent.clone());
    }
    let mut current = list(take(object, "status.currentMetrics"));
    if let Some(percent) = current.iter().rev().find_map(|metric| utilization(metric, "current")) {
        put(object, "status.currentCPUUtilizationPercentage", percent.clone());
    }
    others.iter_mut().for_each(|metric| metric_to_v1(metric, Part::Spec));
    current.iter_mut().for_each(|metric| metric_to_v1(metric, Part::Status));
    carry(object, METRICS, Value::Array(others));
    carry(object, CURRENT_METRICS, Value::Array(current));
    if let Some(behavior) = take(object, "spec.behavior") {
        carry(object, BEHAVIOR, with_keys(behavior, &|key| first_letter(key, char::to_ascii_uppercase)));
    }
    if let Some(conditions) = take(object, "status.conditions") {
        carry(object, CONDITIONS, conditions);
    }
}

fn cpu(field: &str, value: Value) -> Value {
    json!({ "type": "Resource", "resource": { "name": "cpu", field: value } })
}

/// The percentage of a metric that `v1` has a field for.
fn utilization<'a>(metric: &'a Value, field: &str) -> Option<&'a Value> {
    let resource = &metric["resource"];
    let found = &resource[field]["averageUtilization"];
    (metric["type"] == "Resource" && resource["name"] == "cpu" && found.is_number()).then_some(found)
}

fn metric_to_v2(metric: &mut Value, part: Part) {
    for (source, places) in SOURCES {
        let Some(old) = metric.get_mut(source).map(Value::take).filter(Value::is_object) else { continue };
        let (mut old, mut new) = (old, json!({}));
        for (from, to) in part.places(places) {
            if let Some(value) = take(&mut old, &from) {
                put(&mut new, &to, value);
            }
        }
        if part == Part::Spec {
            set_target_type(&mut new["target"], source);
        }
        metric[source] = new;
    }
}

/// `v1` does not say which of its values counts.
fn set_target_type(target: &mut Value, source: &str) {
    let has = |field: &str| target.get(field).is_some_and(|value| !value.is_null());
    let kind = match source {
        "resource" | "containerResource" if has("averageUtilization") => "Utilization",
        "object" if !has("averageValue") => "Value",
        "external" if has("value") => "Value",
        _ => "AverageValue",
    };
    // An object's value cannot be absent in v1.
    if source == "object" && kind == "AverageValue" && target["value"] == "0" {
        take(target, "value");
    }
    put(target, "type", kind.into());
}

fn metric_to_v1(metric: &mut Value, part: Part) {
    for (source, places) in SOURCES {
        let Some(new) = metric.get_mut(source).map(Value::take).filter(Value::is_object) else { continue };
        let (mut new, mut old) = (new, json!({}));
        for (to, from) in part.places(places) {
            if let Some(value) = take(&mut new, &from) {
                put(&mut old, &to, value);
            }
        }
        metric[source] = old;
    }
}

/// Takes the value at a dotted path.
fn take(object: &mut Value, path: &str) -> Option<Value> {
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let parent =
        parents.split('.').filter(|name| !name.is_empty()).try_fold(object, |value, name| value.get_mut(name))?;
    parent.as_object_mut()?.remove(last).filter(|value| !value.is_null())
}

/// Puts a value at a dotted path; what is no object on the way becomes one.
fn put(object: &mut Value, path: &str, new: Value) {
    let mut place = object;
    for name in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = new;
}

/// What an annotation carries, unless it is something else, or so deep that it could not be read again.
fn carried<T: serde::de::DeserializeOwned>(object: &Value, annotation: &str) -> Option<T> {
    let value: Value = serde_json::from_str(object["metadata"]["annotations"][annotation].as_str()?).ok()?;
    if nests_within(&value, DEPTH / 2) { serde_json::from_value(value).ok() } else { None }
}

fn carry(object: &mut Value, annotation: &str, value: Value) {
    let is_empty = value.as_array().is_some_and(Vec::is_empty);
    if is_empty || value.is_null() {
        return;
    }
    if !object["metadata"]["annotations"].is_object() {
        put(object, "metadata.annotations", json!({}));
    }
    object["metadata"]["annotations"][annotation] = Value::from(value.to_string());
}

fn drop_annotations(object: &mut Value) {
    let annotations = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        for name in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR] {
            annotations.remove(name);
        }
    }
}

/// Behaviors travel with capital keys, because Kubernetes encodes a type without JSON names there.
fn with_keys(value: Value, rename: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (rename(&key), with_keys(value, rename))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(|item| with_keys(item, rename)).collect()),
        other => other,
    }
}

fn first_letter(key: &str, change: fn(&char) -> char) -> String {
    let mut letters = key.chars();
    letters.next().map(|first| change(&first)).into_iter().chain(letters).collect()
}
