//! ConfigMap: key names, size, and what `immutable` forbids.

use serde_json::Value;

use super::at::{flag, map, same, sub};
use super::check::Errors;
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::names;

/// The most bytes in the values of a ConfigMap or Secret.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

pub(super) static RULES: Rules =
    Rules { scope: Scope::Namespaced, validate, validate_update: Some(validate_update), ..GENERIC };

/// The bytes that a base64 text stands for.
pub(super) fn decoded_len(text: &str) -> usize {
    let text = text.trim_end_matches('=');
    text.len() * 3 / 4
}

fn validate(object: &Value, errors: &mut Errors) {
    let binary = map(object, "binaryData");
    let mut size = 0;
    for (key, value) in map(object, "data") {
        check_key(errors, "data", key);
        if binary.contains_key(key) {
            errors.push(FieldError::invalid(
                &Path::new("data").key(key),
                key.as_str(),
                "duplicate of key present in binaryData",
            ));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in binary {
        check_key(errors, "binaryData", key);
        size += value.as_str().map_or(0, decoded_len);
    }
    if size > MAX_BYTES {
        errors.push(FieldError::too_long(&Path::new(""), MAX_BYTES));
    }
}

pub(super) fn check_key(errors: &mut Errors, field: &'static str, key: &str) {
    for message in names::config_map_key(key) {
        errors.push(FieldError::invalid(&Path::new(field).key(key), key, message));
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    check_immutable(new, old, &["data", "binaryData"], errors);
    validate(new, errors);
}

/// What may not change once `immutable` is set.
pub(super) fn check_immutable(new: &Value, old: &Value, fields: &[&'static str], errors: &mut Errors) {
    const WHY: &str = "field is immutable when `immutable` is set";
    if flag(old, "immutable") != Some(true) {
        return;
    }
    if flag(new, "immutable") != Some(true) {
        errors.push(FieldError::forbidden(&Path::new("immutable"), WHY));
    }
    for field in fields {
        if !same(sub(new, field), sub(old, field)) {
            errors.push(FieldError::forbidden(&Path::new(*field), WHY));
        }
    }
}
