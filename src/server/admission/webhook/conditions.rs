//! `matchConditions`: expressions that must hold for a webhook to be asked.

use mk8s_api::{cel::admission::Activation, status::Status};
use serde_json::Value;

use super::{hook::Hook, rules::Asked};
use crate::{
    admission::{
        Request,
        policy::{authorize::Asker, conditions, inputs},
    },
    auth::Authorization,
};

/// Whether all conditions of a webhook hold. One that cannot be told is a refusal, or a no where failures are ignored.
pub(super) fn hold(
    hook: &Hook,
    request: &Request<'_>,
    asked: &Asked,
    object: &Value,
    old: Option<&Value>,
    authorization: &Authorization,
) -> Result<bool, Status> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let question = inputs::request(request, asked);
    let asker = Asker { authorization, user: request.user };
    let inputs = inputs::Given { request: &question, object, old, namespace: None, params: None };
    let activation = Activation::new(inputs.to_expressions(request, asked, &asker), None);
    match conditions::hold(&hook.conditions, &activation, false) {
        conditions::Outcome::Hold => Ok(true),
        conditions::Outcome::Fail => Ok(false),
        conditions::Outcome::Unknown(_) if hook.ignores_failure => Ok(false),
        conditions::Outcome::Unknown(why) => Err(request.forbidden(Some(object), &why)),
    }
}
