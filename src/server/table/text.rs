//! How single facts are worded in cells.

use jiff::Timestamp;
use mk8s_api::{
    meta,
    select::{LabelSelector, Operator, Requirement},
};
use serde_json::{Map, Value, json};

pub(super) const NONE: &str = "<none>";
pub(super) const UNSET: &str = "<unset>";
pub(super) const UNKNOWN: &str = "<unknown>";

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

pub(super) fn name(object: &Value) -> Value {
    json!(meta::name(object))
}

/// The text, or what stands for its absence.
pub(super) fn text_or<'a>(value: &'a Value, absent: &'a str) -> &'a str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or(absent)
}

/// A number or text as it is written; what stands for its absence otherwise.
pub(super) fn plain_or(value: &Value, absent: &str) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => absent.to_string(),
    }
}

/// How long ago the object was made.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(&object["metadata"]["creationTimestamp"], now))
}

/// How long ago a moment was; what is not a moment is unknown.
pub(super) fn since(moment: &Value, now: Timestamp) -> String {
    match moment.as_str().and_then(meta::parse_time) {
        Some(then) => duration(now.as_millisecond() - then.as_millisecond()),
        None => UNKNOWN.to_string(),
    }
}

/// How long between two moments, the second now when absent; empty when the first is absent.
pub(super) fn between(start: &Value, end: &Value, now: Timestamp) -> String {
    let Some(start) = start.as_str().and_then(meta::parse_time) else { return String::new() };
    let end = end.as_str().and_then(meta::parse_time).unwrap_or(now);
    duration(end.as_millisecond() - start.as_millisecond())
}

/// Two or three significant figures of a duration: `45s`, `3m20s`, `5h`, `2d4h`, `400d`, `3y5d`.
pub(super) fn duration(millis: i64) -> String {
    let seconds = millis / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match () {
        // Clocks may differ by two seconds; more than that is a mistake.
        () if seconds < -1 => "<invalid>".to_string(),
        () if seconds < 0 => "0s".to_string(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => two(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

/// `a=b,c=d`, sorted; `<none>` when empty.
pub(super) fn labels(labels: &Value) -> String {
    let pairs = |map: &Map<String, Value>| {
        map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(",")
    };
    labels.as_object().filter(|map| !map.is_empty()).map_or_else(|| NONE.to_string(), pairs)
}

/// A label selector as it would be typed: `a=b,c in (d,e)`; `None` when it cannot be read.
pub(super) fn typed_selector(selector: &Value) -> Option<String> {
    let parsed = LabelSelector::from_json(selector).ok()?;
    let labels = &selector["matchLabels"];
    let requirement = |requirement: &Requirement| match (requirement.operator, requirement.values.as_slice()) {
        // One value of `matchLabels` is an equality, however it was read.
        (Operator::In, [value]) if labels.get(&requirement.key).is_some_and(|label| label == value.as_str()) => {
            format!("{}={value}", requirement.key)
        }
        _ => requirement.to_string(),
    };
    Some(parsed.requirements().iter().map(requirement).collect::<Vec<_>>().join(","))
}

/// As [`typed_selector`], with `<none>` when it selects by nothing.
pub(super) fn selector(selector: &Value) -> String {
    match typed_selector(selector) {
        Some(typed) if typed.is_empty() => NONE.to_string(),
        Some(typed) => typed,
        None => "<error>".to_string(),
    }
}

/// Names and images of containers, each as one list.
pub(super) fn containers(pod_spec: &Value) -> [Value; 2] {
    let join =
        |field: &str| items(&pod_spec["containers"]).iter().map(|c| text(&c[field])).collect::<Vec<_>>().join(",");
    [json!(join("name")), json!(join("image"))]
}

/// `a,b,c + 2 more...`; the list may be longer than what is shown.
pub(super) fn shortened(list: &[String], shown: usize) -> String {
    match list.len() {
        0 => NONE.to_string(),
        count if count > shown => format!("{} + {} more...", list[..shown].join(","), count - shown),
        _ => list.join(","),
    }
}

pub(super) fn texts(value: &Value) -> Vec<String> {
    items(value).iter().filter_map(|v| v.as_str().map(str::to_string)).collect()
}

/// The condition of a type, from `status.conditions`.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&object["status"]["conditions"]).iter().find(|condition| condition["type"] == kind)
}

pub(super) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}
