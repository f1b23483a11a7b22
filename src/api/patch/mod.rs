//! The three patches of the API that are not apply: JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes'
//! strategic merge.
//!
//! All take the object as it is stored and give the object as it should be; decoding, defaults and validation of the
//! result are the caller's, as for any update.

use serde_json::{Map, Value};

use crate::decode::DEPTH;

mod json;
pub mod strategic;

pub use json::json_patch;

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
    #[error(
        "Request entity too large: The allowed maximum operations in a JSON patch is {JSON_PATCH_MAX_OPERATIONS}, got {0}"
    )]
    TooManyOperations(usize),
    #[error(
        "Unable to complete the copy, the accumulated size increase of copy is {0}, exceeding the limit {JSON_PATCH_MAX_COPIED}"
    )]
    TooMuchCopied(usize),
    #[error("unable to {0}, the object would nest deeper than {DEPTH} levels")]
    TooDeep(String),
    /// An operation of a JSON patch does not fit the object.
    #[error("{0}")]
    NotApplicable(String),
    #[error("testing value {0} failed: test failed")]
    TestFailed(String),
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

    /// Whether a `test` of a JSON patch found something else.
    pub fn is_failed_test(&self) -> bool {
        matches!(self, PatchError::TestFailed(_))
    }

    pub fn is_too_large(&self) -> bool {
        matches!(self, PatchError::TooManyOperations(_))
    }
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
