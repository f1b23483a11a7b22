//! Devices that another claim holds can be looked at with `adminAccess`: only in namespaces whose label allows it.

use mk8s_api::{
    field::{FieldError, Path},
    status::Status,
};
use serde_json::Value;

use super::{
    Context, Operation, Plugin, Request,
    stored::{get, items},
};

const GROUP: &str = "resource.k8s.io";
const LABEL: &str = "resource.kubernetes.io/admin-access";

pub(super) struct DeviceAdminAccess;

impl Plugin for DeviceAdminAccess {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        let Some(path) = wanted(request, object) else { return Ok(()) };
        let namespace = get(context.view, "", "namespaces", "", request.namespace).unwrap_or_default();
        if namespace["metadata"]["labels"][LABEL] == "true" {
            return Ok(());
        }
        let why = format!("admin access to devices requires the `{LABEL}: true` label on the containing namespace");
        let errors = vec![FieldError::forbidden(&path, why)];
        Err(Status::invalid(GROUP, request.kind, request.name_of(Some(object)), errors))
    }
}

/// Where access is wanted that is not granted yet.
fn wanted(request: &Request<'_>, object: &Value) -> Option<Path> {
    if request.creates(GROUP, "resourceclaims") {
        return requested(&object["spec"], Path::new("spec"));
    }
    if request.creates(GROUP, "resourceclaimtemplates") {
        return requested(&object["spec"]["spec"], Path::new("spec").child("spec"));
    }
    let allocates = request.is(GROUP, "resourceclaims") && request.subresource == "status";
    if !allocates || request.operation != Operation::Update {
        return None;
    }
    let granted = |object: &Value| {
        let results = items(&object["status"]["allocation"]["devices"]["results"]);
        results.iter().position(|result| result["adminAccess"] == true)
    };
    let at = granted(object).filter(|_| request.old.and_then(granted).is_none())?;
    let results = Path::new("status").child("allocation").child("devices").child("results");
    Some(results.index(at).child("adminAccess"))
}

fn requested(spec: &Value, path: Path) -> Option<Path> {
    let requests = items(&spec["devices"]["requests"]);
    let at = requests.iter().position(|request| request["exactly"]["adminAccess"] == true)?;
    Some(path.child("devices").child("requests").index(at).child("adminAccess"))
}
