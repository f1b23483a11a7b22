//! Patch: an update whose new object is made from the stored one.
//!
//! A patch that names no version is tried again when the object moves, so that two patches of different fields both
//! take place.

use mk8s_api::{meta, patch, status::Status};
use serde_json::Value;

use super::{Call, Registry, Stored, Warnings};

/// How a patch is written, told by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchKind {
    pub const SUPPORTED: [&'static str; 4] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];

    pub fn of_content_type(content_type: &str) -> Option<PatchKind> {
        match content_type {
            "application/json-patch+json" => Some(PatchKind::Json),
            "application/merge-patch+json" => Some(PatchKind::Merge),
            "application/strategic-merge-patch+json" => Some(PatchKind::Strategic),
            "application/apply-patch+yaml" => Some(PatchKind::Apply),
            _ => None,
        }
    }
}

/// A patch that was read: what it does to an object is known once the object is.
pub struct Patch {
    kind: PatchKind,
    /// The bytes, for a JSON patch; it is read by its own library.
    bytes: Vec<u8>,
    document: Value,
}

impl Patch {
    /// Reads a body. What it cannot be is a 400.
    pub fn read(kind: PatchKind, bytes: &[u8]) -> Result<Patch, Status> {
        let document: Value = serde_json::from_slice(bytes).map_err(|error| Status::bad_request(error.to_string()))?;
        match (kind, &document) {
            (PatchKind::Json, Value::Array(_)) | (PatchKind::Merge | PatchKind::Strategic, Value::Object(_)) => {}
            (PatchKind::Json, _) => {
                return Err(Status::bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch"));
            }
            _ => {
                return Err(Status::bad_request("json: cannot unmarshal into Go value of type map[string]interface {}"));
            }
        }
        let bytes = if kind == PatchKind::Json { bytes.to_vec() } else { Vec::new() };
        Ok(Patch { kind, bytes, document })
    }

    /// The object that this patch makes of `old`.
    fn apply(&self, call: &Call<'_>, old: &Value) -> Result<Value, Status> {
        match self.kind {
            PatchKind::Json => patch::json_patch(old, &self.bytes).map_err(|error| unprocessable(call, &error)),
            PatchKind::Strategic => match call.resource.schema_of(call.subresource) {
                Some(schema) => patch::strategic::apply(schema, old.clone(), &self.document)
                    .map_err(|error| unprocessable(call, &error)),
                None => Err(Status::unsupported_media_type(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                ])),
            },
            PatchKind::Merge | PatchKind::Apply => Ok(patch::merge_patch(old.clone(), &self.document)),
        }
    }
}

fn unprocessable(call: &Call<'_>, error: &patch::PatchError) -> Status {
    let _ = call;
    match error.is_malformed() {
        true => Status::bad_request(error.to_string()),
        false => Status::failure(
            422,
            "Invalid",
            format!("the server rejected our request due to an error in our request: {error}"),
        ),
    }
}

impl Registry {
    pub async fn patch(&self, call: &Call<'_>, patch: &Patch, warnings: &mut Warnings) -> Result<Stored, Status> {
        let mut said = Warnings::new();
        let result = match call.subresource {
            "scale" => self.update_scale(call, warnings, |scale| patch.apply(call, scale)).await.map(Stored::Value),
            "ephemeralcontainers" => {
                self.update_ephemeral_containers(call, warnings, |old| patched(call, patch, old, &mut said)).await
            }
            _ => self.update_with(call, warnings, |old| patched(call, patch, old, &mut said)).await,
        };
        warnings.append(&mut said);
        result
    }
}

/// The patched object, pruned and defaulted as a decoded one is.
fn patched(call: &Call<'_>, patch: &Patch, old: &Value, warnings: &mut Warnings) -> Result<Value, Status> {
    let mut new = patch.apply(call, old)?;
    warnings.clear();
    if !new.is_object() {
        return Err(Status::bad_request("the patched object is not an object"));
    }
    let named = meta::resource_version(&new) == meta::resource_version(old) && !names_version(patch);
    if named {
        // The version came from what was read, not from the client: the update is for any version.
        meta::remove(&mut new, "resourceVersion");
    }
    let mut new = call.resource.conform(call.subresource, new, Vec::new(), call.options.validation, warnings)?;
    if named {
        meta::set(&mut new, "resourceVersion", "0");
    }
    Ok(new)
}

fn names_version(patch: &Patch) -> bool {
    match patch.kind {
        PatchKind::Json => {
            patch.document.as_array().into_iter().flatten().any(|op| op["path"] == "/metadata/resourceVersion")
        }
        _ => patch.document["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_patch_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[{]?[\"a-z/:,{}\\[\\]0-9 ]{0,60}") {
            for kind in [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic] {
                let _ = Patch::read(kind, &bytes);
                let _ = Patch::read(kind, text.as_bytes());
            }
        }
    }
}
