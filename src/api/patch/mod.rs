//! The three patches of the API that are not apply: JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes'
//! strategic merge.
//!
//! All take the object as it is stored and give the object as it should be; decoding, defaults and validation of the
//! result are the caller's, as for any update.

use serde_json::{Map, Value};

use crate::decode::{DEPTH, nests_within};

pub mod strategic;

#[cfg(test)]
mod tests;

/// The most operations that a JSON patch may have.
pub const JSON_PATCH_MAX_OPERATIONS: usize = 10_000;

/// How many bytes all `copy` operations of a JSON patch may add.
pub const JSON_PATCH_MAX_COPIED: usize = 3 << 20;

/// Why a patch cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The body is no patch at all.
    #[error("error decoding patch: {0}")]
    Malformed(String),
    #[error("Request entity too large: The allowed maximum operations in a JSON patch is {JSON_PATCH_MAX_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    #[error("unable to copy, the accumulated size increase of patch is {0}, exceeding limit {JSON_PATCH_MAX_COPIED}")]
    TooMuchCopied(usize),
    #[error("unable to {0}, the object would nest deeper than {DEPTH} levels")]
    TooDeep(String),
    /// An operation of a JSON patch does not fit the object, or a test failed.
    #[error("{0}")]
    NotApplicable(String),
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// A directive of a strategic merge is none, or the patch does not fit its directives.
    #[error("{0}")]
    Directive(String),
}

impl PatchError {
    /// Whether the patch itself is wrong, whatever the object (400); else it does not fit the object (422).
    pub fn is_malformed(&self) -> bool {
        matches!(self, PatchError::Malformed(_) | PatchError::Directive(_))
    }

    pub fn is_too_large(&self) -> bool {
        matches!(self, PatchError::TooManyOperations(_))
    }
}

/// Applies a JSON patch given as its JSON text.
pub fn json_patch(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations: Vec<Value> =
        serde_json::from_slice(patch).map_err(|error| PatchError::Malformed(error.to_string()))?;
    if operations.len() > JSON_PATCH_MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in operations {
        let told = told(&operation);
        check_growth(&told, &operation, &patched, &mut copied)?;
        let operation: json_patch::PatchOperation =
            serde_json::from_value(operation).map_err(|error| PatchError::Malformed(error.to_string()))?;
        json_patch::patch(&mut patched, &[operation])
            .map_err(|error| PatchError::NotApplicable(not_applicable(&told, &error)))?;
    }
    Ok(patched)
}

struct Told {
    op: String,
    path: String,
    from: String,
}

/// Refuses what would make a small patch a huge object, or one too deep to be read again.
fn check_growth(told: &Told, operation: &Value, object: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let from = || object.pointer(&told.from);
    let value = match told.op.as_str() {
        "add" | "replace" => operation.get("value"),
        "copy" => from(),
        // What does not go down gets no deeper.
        "move" if told.path.matches('/').count() > told.from.matches('/').count() => from(),
        _ => None,
    };
    let Some(value) = value else { return Ok(()) };
    let left = DEPTH.checked_sub(told.path.matches('/').count());
    if left.is_none_or(|left| !nests_within(value, left)) {
        return Err(PatchError::TooDeep(told.op.clone()));
    }
    if told.op == "copy" {
        *copied += value.to_string().len();
        if *copied > JSON_PATCH_MAX_COPIED {
            return Err(PatchError::TooMuchCopied(*copied));
        }
    }
    Ok(())
}

fn told(operation: &Value) -> Told {
    let text = |field: &str| operation.get(field).and_then(Value::as_str).unwrap_or("").to_string();
    Told { op: text("op"), path: text("path"), from: text("from") }
}

/// The refusal in the words of the library that Kubernetes uses.
fn not_applicable(told: &Told, error: &json_patch::PatchError) -> String {
    let path = &told.path;
    match (told.op.as_str(), &error.kind) {
        ("test", json_patch::PatchErrorKind::TestFailed) => format!("testing value {path} failed: test failed"),
        ("test", _) => format!("error in test for path: '{path}': missing value"),
        ("move", _) => format!("error in move for path: '{}': missing value", told.from),
        ("copy", _) => format!("error in copy for from: '{}': missing value", told.from),
        ("remove", _) => format!("Unable to remove nonexistent key: {}: missing value", last_segment(path)),
        ("replace", _) => format!("replace operation does not apply: doc is missing key: {path}: missing value"),
        ("add", _) => format!("add operation does not apply: doc is missing path: {path:?}: missing value"),
        (_, kind) => kind.to_string(),
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Applies a merge patch: maps are merged, `null` removes, everything else replaces.
pub fn merge_patch(mut object: Value, patch: &Value) -> Value {
    merge_into(&mut object, patch);
    object
}

fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (field, value) in patch {
        if value.is_null() {
            fields.remove(field);
        } else {
            merge_into(fields.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}
