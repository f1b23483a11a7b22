//! Volumes and claims carry a finalizer from birth, so that what is in use outlives its deletion.

use mk8s_api::{meta, status::Status};
use serde_json::{Value, json};

use super::{Context, Plugin, Request, stored::items};

pub(super) struct StorageObjectInUseProtection;

const FINALIZERS: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

impl Plugin for StorageObjectInUseProtection {
    fn mutate(&self, request: &Request<'_>, object: &mut Value, _context: &Context<'_>) -> Result<(), Status> {
        let wanted = FINALIZERS.iter().find(|(group, resource, _)| request.creates(group, resource));
        let Some((.., finalizer)) =
            wanted.filter(|(.., finalizer)| !meta::finalizers(object).any(|known| known == *finalizer))
        else {
            return Ok(());
        };
        let mut finalizers = items(&object["metadata"]["finalizers"]).to_vec();
        finalizers.push(json!(finalizer));
        meta::set(object, "finalizers", Value::Array(finalizers));
        Ok(())
    }
}
