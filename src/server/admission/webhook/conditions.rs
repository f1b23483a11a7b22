//! `matchConditions`: expressions that must hold for a webhook to be asked.

use mk8s_api::status::{GroupResource, Status};
use serde_json::Value;

use super::{hook::Hook, rules::Asked};
use crate::admission::Request;

/// Whether all conditions of a webhook hold. One that cannot be evaluated counts as the failure policy says.
pub(super) fn hold(
    hook: &Hook,
    request: &Request<'_>,
    _asked: &Asked,
    _object: &Value,
    _old: Option<&Value>,
) -> Result<bool, Status> {
    let Some(condition) = hook.conditions.first() else { return Ok(true) };
    if hook.ignores_failure {
        return Ok(false);
    }
    let resource = GroupResource::new(request.group, request.resource);
    let why = format!("condition {:?} cannot be evaluated: {}", condition.name, condition.expression);
    Err(Status::forbidden(&resource, request.name, why))
}
