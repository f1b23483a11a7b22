//! Who owns which fields of an object that admission changed: what cannot be read as that is taken back.

use mk8s_api::{apply::Managers, meta};
use serde_json::Value;

use super::Request;

const FIELD: &str = "managedFields";

/// Restores the managers as they were `before` where what a webhook or policy made of them is none, and warns of it.
pub(super) fn keep_readable(request: &Request<'_>, before: &Value, after: &mut Value) {
    let of = |object: &Value| meta::metadata(object).get(FIELD).cloned();
    if meta::metadata(before).get(FIELD) == meta::metadata(after).get(FIELD) {
        return;
    }
    let Err(error) = Managers::decode(of(after).unwrap_or_default()) else { return };
    match of(before) {
        Some(managers) => meta::set(after, FIELD, managers),
        None => meta::remove(after, FIELD),
    }
    request.notes.warn(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating \
         admission controller; please fix your requests: {error}"
    ));
}
