//! ControllerRevision: what a controller's template was.

use serde_json::Value;

use super::at::{get, int, sub};
use super::check::{Errors, immutable, non_negative};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    validate: |revision, errors| {
        check_number(revision, errors);
        match sub(revision, "data") {
            Value::Null => errors.push(FieldError::required(&Path::new("data"), "data is mandatory")),
            Value::Object(_) => {}
            _ => errors.push(FieldError::required(&Path::new("data"), "data must be a valid JSON object")),
        }
    },
    validate_update: Some(|new, old, errors| {
        check_number(new, errors);
        immutable(errors, get(new, "data"), get(old, "data"), &Path::new("data"));
    }),
    ..GENERIC
};

fn check_number(revision: &Value, errors: &mut Errors) {
    non_negative(errors, int(revision, "revision"), || Path::new("revision"));
}
