//! Who may ask for more storage: bound claims, of classes that allow it.

use mk8s_api::{meta, quantity::Quantity, status::Status};
use serde_json::Value;

use super::{Context, Operation, Plugin, Request, stored};

pub(super) struct PersistentVolumeClaimResize;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

impl Plugin for PersistentVolumeClaimResize {
    fn validate(&self, request: &Request<'_>, claim: &Value, context: &Context<'_>) -> Result<(), Status> {
        let update = request.operation == Operation::Update && request.whole("", "persistentvolumeclaims");
        let Some(old) = request.old.filter(|old| update && requested(claim) > requested(old)) else { return Ok(()) };
        if old["status"]["phase"] != "Bound" {
            return Err(request.forbidden(Some(claim), "Only bound persistent volume claims can be expanded"));
        }
        if !is_expandable(class_of(claim), class_of(old), context) {
            let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
                       support resize";
            return Err(request.forbidden(Some(claim), why));
        }
        Ok(())
    }
}

fn requested(claim: &Value) -> Option<Quantity> {
    Quantity::from_json(&claim["spec"]["resources"]["requests"]["storage"]).ok()
}

fn class_of(claim: &Value) -> &str {
    meta::annotation(claim, CLASS).or_else(|| claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
}

fn is_expandable(class: &str, old: &str, context: &Context<'_>) -> bool {
    if class.is_empty() || class != old {
        return false;
    }
    let class = stored::get(context.view, "storage.k8s.io", "storageclasses", "", class);
    class.is_some_and(|class| class["allowVolumeExpansion"] == true)
}
