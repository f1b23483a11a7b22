//! Small checks that many kinds share, each pushing what it finds.

use serde_json::{Map, Value};

use super::at::{list, map, text, texts};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) type Errors = Vec<FieldError>;

/// The refusals of a field that may not change.
pub(super) const IMMUTABLE: &str = "field is immutable";

/// Makes each message an "invalid" error of the value; the path is only made when there are any.
pub(super) fn invalid_each(errors: &mut Errors, messages: Vec<String>, path: impl Fn() -> Path, value: &str) {
    for message in messages {
        errors.push(FieldError::invalid(&path(), value, message));
    }
}

pub(super) fn non_negative(errors: &mut Errors, number: Option<i64>, path: impl Fn() -> Path) {
    if let Some(number) = number.filter(|number| *number < 0) {
        errors.push(FieldError::invalid(&path(), number, "must be greater than or equal to 0"));
    }
}

pub(super) fn positive(errors: &mut Errors, number: i64, path: &Path) {
    if number <= 0 {
        errors.push(FieldError::invalid(path, number, "must be greater than zero"));
    }
}

/// One of a closed set of words; an empty one is "required".
pub(super) fn word(errors: &mut Errors, value: &str, allowed: &[&str], path: &Path) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !allowed.contains(&value) {
        errors.push(FieldError::not_supported(path, value, allowed));
    }
}

/// One of a closed set of words; an empty one is as wrong as any other.
pub(super) fn member(errors: &mut Errors, value: &str, allowed: &[&str], path: &Path) {
    if !allowed.contains(&value) {
        errors.push(FieldError::not_supported(path, value, allowed));
    }
}

pub(super) fn required(errors: &mut Errors, value: &str, path: &Path) -> bool {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    !value.is_empty()
}

pub(super) fn immutable(errors: &mut Errors, new: Option<&Value>, old: Option<&Value>, path: &Path) {
    let (new, old) = (new.unwrap_or(&Value::Null), old.unwrap_or(&Value::Null));
    if !super::at::same(new, old) {
        errors.push(FieldError::invalid(path, new.clone(), IMMUTABLE));
    }
}

pub(super) fn label_key(errors: &mut Errors, key: &str, path: impl Fn() -> Path) {
    invalid_each(errors, names::qualified_name(key), path, key);
}

pub(super) fn labels(errors: &mut Errors, labels: &Map<String, Value>, path: impl Fn() -> Path) {
    for (key, value) in labels {
        label_key(errors, key, &path);
        let value = value.as_str().unwrap_or("");
        invalid_each(errors, names::label_value(value), &path, value);
    }
}

pub(super) const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

pub(super) fn annotations(errors: &mut Errors, annotations: &Map<String, Value>, path: impl Fn() -> Path) {
    let mut size = 0;
    for (key, value) in annotations {
        let wrong = if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            names::qualified_name(&key.to_ascii_lowercase())
        } else {
            names::qualified_name(key)
        };
        invalid_each(errors, wrong, &path, key);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX_BYTES {
        errors.push(FieldError::too_long(&path(), ANNOTATIONS_MAX_BYTES));
    }
}

/// A `metav1.LabelSelector`; absent is fine.
pub(super) fn label_selector(errors: &mut Errors, selector: &Value, path: &Path) {
    labels(errors, map(selector, "matchLabels"), || path.child("matchLabels"));
    for (n, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(n);
        let operator = text(expression, "operator");
        let values = list(expression, "values");
        match operator {
            "In" | "NotIn" => {
                if values.is_empty() {
                    errors.push(FieldError::required(
                        &path.child("values"),
                        "must be specified when `operator` is 'In' or 'NotIn'",
                    ));
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    errors.push(FieldError::forbidden(
                        &path.child("values"),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    ));
                }
            }
            _ => errors.push(FieldError::invalid(&path.child("operator"), operator, "not a valid selector operator")),
        }
        label_key(errors, text(expression, "key"), || path.child("key"));
        for (n, value) in texts(expression, "values").enumerate() {
            invalid_each(errors, names::label_value(value), || path.child("values").index(n), value);
        }
    }
}

pub(super) fn selector_is_empty(selector: &Value) -> bool {
    map(selector, "matchLabels").is_empty() && list(selector, "matchExpressions").is_empty()
}

/// A port by number or name, as a probe or a Service names it. An absent one is the number 0.
pub(super) fn port_or_name(errors: &mut Errors, port: &Value, path: &Path) {
    match port {
        Value::String(name) => invalid_each(errors, names::port_name(name), || path.clone(), name),
        port => {
            let number = port.as_i64().unwrap_or(0);
            for message in names::port_number(number) {
                errors.push(FieldError::invalid(path, number, message));
            }
        }
    }
}

pub(super) fn port_number(errors: &mut Errors, number: i64, path: &Path) {
    for message in names::port_number(number) {
        errors.push(FieldError::invalid(path, number, message));
    }
}

pub(super) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// A number or a percentage, as `maxSurge` has it.
pub(super) fn positive_int_or_percent(errors: &mut Errors, value: &Value, path: &Path) {
    match value {
        Value::String(percent) => {
            invalid_each(errors, names::percent(percent), || path.clone(), percent);
        }
        value => non_negative(errors, value.as_i64(), || path.clone()),
    }
}

pub(super) fn at_most_100_percent(errors: &mut Errors, value: &Value, path: &Path) {
    if percent_of(value).is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(path, value.clone(), "must not be greater than 100%"));
    }
}

fn percent_of(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

/// The number of an int-or-percent when it counts as zero in every setting.
pub(super) fn int_or_percent_is_zero(value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(_)) => value.and_then(percent_of) == Some(0),
        Some(value) => value.as_i64().unwrap_or(0) == 0,
        None => true,
    }
}
