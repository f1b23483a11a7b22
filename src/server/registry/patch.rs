//! Patch: an update whose new object is made from the stored one.
//!
//! A patch that names no version is tried again when the object moves, so that two patches of different fields both
//! take place.

use std::fmt::Display;

use mk8s_api::{
    decode::{self, Body, FieldValidation, Media, Refusal},
    field::{FieldError, Path},
    meta, patch,
    status::{Details, Status},
};
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

    /// Nothing tells how the lists of custom resources merge.
    pub const CUSTOM: [&'static str; 3] =
        ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

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
    /// What is wrong with the patch, but not so wrong that it could not be understood.
    complaints: Vec<String>,
}

impl Patch {
    /// Reads a body. What it cannot be is a 400.
    pub fn read(kind: PatchKind, bytes: &[u8]) -> Result<Patch, Status> {
        let refused = |why: &dyn Display| match kind {
            PatchKind::Strategic => Status::bad_request(why.to_string()),
            _ => Status::bad_request(format!("error decoding patch: {why}")),
        };
        let Body { value: document, duplicates, .. } =
            decode::parse(bytes, Media::Json).map_err(|error| refused(&error.reason()))?;
        let wanted = match (kind, &document) {
            (PatchKind::Json, Value::Array(_)) | (PatchKind::Merge | PatchKind::Strategic, Value::Object(_)) => None,
            (PatchKind::Json, _) => Some("[]handlers.jsonPatchOp"),
            _ => Some("map[string]interface {}"),
        };
        if let Some(wanted) = wanted {
            let found = decode::json_type(&document);
            return Err(refused(&format_args!("json: cannot unmarshal {found} into Go value of type {wanted}")));
        }
        let (bytes, complaints) = match kind {
            PatchKind::Json => (bytes.to_vec(), complaints_of_operations(&document, &duplicates)),
            _ => (Vec::new(), decode::duplicate_fields(&duplicates)),
        };
        Ok(Patch { kind, bytes, document, complaints })
    }

    /// The object that this patch makes of `old`.
    fn apply(&self, call: &Call<'_>, old: &Value) -> Result<Value, Status> {
        match self.kind {
            PatchKind::Json => patch::json_patch(old, &self.bytes).map_err(|error| unprocessable(&error)),
            PatchKind::Strategic => match call.resource.schema_of(call.subresource) {
                Some(schema) => {
                    patch::strategic::apply(schema, old.clone(), &self.document).map_err(|error| unprocessable(&error))
                }
                None => Err(Status::unsupported_media_type(&[
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                ])),
            },
            PatchKind::Merge | PatchKind::Apply => Ok(patch::merge_patch(old.clone(), &self.document)),
        }
    }

    /// The 422 of a patch that makes something which is not of the object's kind. The object is shown as the patch
    /// left it, or the strategic patch itself.
    fn refused(&self, call: &Call<'_>, old: &Value, why: &Refusal) -> Status {
        let shown = match self.kind {
            PatchKind::Strategic => patch::strategic::go_text(&self.document),
            _ => self.apply(call, old).unwrap_or_default().to_string(),
        };
        let error = FieldError::invalid(&Path::new("patch"), shown, why.to_string());
        Status::invalid("", "", "", vec![error])
    }
}

/// Fields of JSON patch operations that stand twice or mean nothing.
fn complaints_of_operations(operations: &Value, duplicates: &[String]) -> Vec<String> {
    let mut complaints = decode::duplicate_fields(duplicates);
    for (index, operation) in operations.as_array().into_iter().flatten().enumerate() {
        let fields = operation.as_object().into_iter().flatten().map(|(field, _)| field.as_str());
        let unknown = fields.filter(|field| !matches!(*field, "op" | "path" | "from" | "value"));
        complaints.extend(unknown.map(|field| format!("unknown field \"[{index}].{field}\"")));
    }
    complaints.into_iter().map(|complaint| format!("json patch {complaint}")).collect()
}

fn unprocessable(error: &patch::PatchError) -> Status {
    if error.is_too_large() {
        return Status::failure(413, "RequestEntityTooLarge", error.to_string());
    }
    match error.is_malformed() {
        true => Status::bad_request(error.to_string()),
        // Kubernetes does not say which error; clients compare this text.
        false => Status::failure(422, "Invalid", "the server rejected our request due to an error in our request")
            .with_details(Details::default()),
    }
}

impl Registry {
    pub async fn patch(&self, call: &Call<'_>, patch: &Patch, warnings: &mut Warnings) -> Result<Stored, Status> {
        let mut said = Warnings::new();
        let transform = |old: &Value| patched(call, patch, old, &mut said);
        let result = match call.subresource {
            "scale" => self.update_scale(call, warnings, transform).await.map(Stored::Value),
            "ephemeralcontainers" => self.update_ephemeral_containers(call, warnings, transform).await,
            _ => self.update_with(call, warnings, transform).await,
        };
        said.append(warnings);
        *warnings = said;
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
    let validation = call.options.validation;
    let complaints = if validation == FieldValidation::Ignore { Vec::new() } else { patch.complaints.clone() };
    let conformed = call.resource.conform_patched(call.subresource, new, complaints, validation, warnings);
    let mut new = conformed.map_err(|refusal| match refusal {
        Refusal::Kind(status) => status,
        why => patch.refused(call, old, &why),
    })?;
    let uid = meta::uid(&new);
    if !uid.is_empty() && uid != meta::uid(old) {
        let error = FieldError::invalid(&Path::new("metadata").child("uid"), uid, "field is immutable");
        return Err(call.resource.invalid(call.name, vec![error]));
    }
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
