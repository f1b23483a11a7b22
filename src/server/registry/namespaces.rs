//! Deleting a namespace: it is marked Terminating and stays until the namespace controller has emptied it and taken its
//! finalizer off the spec.

use jiff::Timestamp;
use mk8s_api::{meta, status::Status};
use serde_json::{Value, json};

use super::{Call, Registry, Stored, Warnings};

/// What a delete of a namespace does before the ordinary steps: `Some(Some(_))` marks it, `Some(None)` leaves it as it
/// is, `None` lets the ordinary delete go on.
pub(super) fn step(old: &Value, now: Timestamp) -> Option<Option<Value>> {
    if !meta::is_deleting(old) {
        let mut object = old.clone();
        meta::set(&mut object, "deletionTimestamp", meta::format_time(now));
        if let Some(fields) = object.as_object_mut() {
            let status = fields.entry("status").or_insert_with(|| json!({}));
            status["phase"] = json!("Terminating");
        }
        return Some(Some(object));
    }
    has_finalizers(old).then_some(None)
}

pub(super) fn has_finalizers(namespace: &Value) -> bool {
    namespace["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

impl Registry {
    /// `namespaces/finalize`: only the spec's finalizers change; the last one takes the namespace with it.
    pub async fn finalize_namespace(
        &self,
        call: &Call<'_>,
        object: Value,
        warnings: &mut Warnings,
    ) -> Result<Stored, Status> {
        self.update_with(call, warnings, |_| Ok(object.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_marked_once() {
        let now = meta::parse_time("2026-01-01T00:00:00Z").expect("a time");
        let alive =
            json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        let marked = step(&alive, now).flatten().expect("marked");
        assert_eq!(
            (meta::deletion_timestamp(&marked), &marked["status"]["phase"]),
            (Some("2026-01-01T00:00:00Z"), &json!("Terminating"))
        );
        assert!(matches!(step(&marked, now), Some(None)));
        let mut empty = marked;
        empty["spec"]["finalizers"] = json!([]);
        assert!(step(&empty, now).is_none());
    }
}
