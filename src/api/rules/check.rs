//! Small checks that many kinds share, each pushing what it finds.

use serde_json::{Map, Value};

use super::at::{int, list, map, text, texts};
use crate::field::{FieldError, Path};
use crate::meta;
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

/// As [`immutable`], of a field that is one of Go's internal structs.
pub(super) fn immutable_struct(errors: &mut Errors, new: Option<&Value>, old: Option<&Value>, name: &str, path: &Path) {
    let before = errors.len();
    immutable(errors, new, old, path);
    if let Some(error) = errors.get_mut(before) {
        *error = error.clone().with_shown(name);
    }
}

/// Undoes what writing a status alone may not change in metadata.
pub(super) fn keep_metadata(new: &mut Value, old: &Value) {
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        match meta::metadata(old).get(field) {
            Some(value) => meta::set(new, field, value.clone()),
            None => meta::remove(new, field),
        }
    }
}

/// Conditions of the common form.
pub(super) fn conditions(errors: &mut Errors, conditions: &[Value], path: &Path) {
    for (n, condition) in conditions.iter().enumerate() {
        let path = path.index(n);
        let of = text(condition, "type");
        if conditions[..n].iter().any(|other| text(other, "type") == of) {
            errors.push(FieldError::duplicate(&path.child("type"), of));
        }
        invalid_each(errors, names::qualified_name(of), || path.child("type"), of);
        member(errors, text(condition, "status"), &["False", "True", "Unknown"], &path.child("status"));
        if let Some(generation) = int(condition, "observedGeneration").filter(|generation| *generation < 0) {
            let why = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(&path.child("observedGeneration"), generation, why));
        }
        required(errors, text(condition, "lastTransitionTime"), &path.child("lastTransitionTime"));
        let (reason, reason_path) = (text(condition, "reason"), path.child("reason"));
        if required(errors, reason, &reason_path) && !is_reason(reason) {
            let words = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
            let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
            let why = names::pattern_message(words, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples);
            errors.push(FieldError::invalid(&reason_path, reason, why));
        }
        for (field, max) in [("reason", 1024), ("message", 32 * 1024)] {
            if text(condition, field).len() > max {
                errors.push(FieldError::too_long(&path.child(field), max));
            }
        }
    }
}

fn is_reason(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| is_word(byte) || b",:".contains(&byte))
        && text.bytes().last().is_some_and(is_word)
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
    let digits = value.as_str()?.strip_suffix('%')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The number of an int-or-percent when it counts as zero in every setting.
pub(super) fn int_or_percent_is_zero(value: Option<&Value>) -> bool {
    match value {
        // What is neither a number nor a percentage counts nothing.
        Some(Value::String(text)) => {
            value.and_then(percent_of).unwrap_or_else(|| text.parse().unwrap_or_default()) == 0
        }
        Some(value) => value.as_i64().unwrap_or(0) == 0,
        None => true,
    }
}
