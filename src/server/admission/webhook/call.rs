//! Asking one webhook, and applying what it answers.

use mk8s_api::{patch, status::Status};
use serde_json::Value;

use super::{
    hook::{Hook, SideEffects},
    review::{self, BadAnswer},
    rules::Asked,
};
use crate::{
    admission::{Operation, Request, managers},
    registry::{FieldValidation, Warnings},
    webhook::Client,
};

pub(super) use review::Answer;

/// Why a webhook did not let a request through.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not reached or talked nonsense; its failure policy decides.
    Calling { why: String, code: u16 },
    /// It said no.
    Denied(Box<Status>),
    /// What it said cannot be done.
    Broken(Box<Status>),
}

impl Failure {
    fn calling(code: u16, why: impl Into<String>) -> Failure {
        Failure::Calling { why: why.into(), code }
    }

    fn broken(why: impl std::fmt::Display) -> Failure {
        Failure::Broken(Box::new(Status::internal(why)))
    }
}

/// Asks a webhook about a request. A refusal is a failure.
pub(super) async fn ask(
    client: &Client,
    hook: &Hook,
    asked: &Asked,
    request: &Request<'_>,
    object: &Value,
    mutating: bool,
) -> Result<Answer, Failure> {
    if request.dry_run {
        match hook.side_effects {
            SideEffects::NoneOnDryRun => {}
            SideEffects::Unsaid => return Err(Failure::calling(400, "Webhook SideEffects is nil")),
            SideEffects::Some => {
                let why = format!("admission webhook {:?} does not support dry run", hook.name);
                return Err(Failure::Broken(Box::new(Status::bad_request(why))));
            }
        }
    }
    let Some(version) = hook.review else {
        let why =
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return Err(Failure::calling(400, why));
    };
    let Some(endpoint) = &hook.endpoint else {
        let why = "could not get REST client: webhook configuration must have either service or URL";
        return Err(Failure::calling(500, why));
    };
    let uid = uuid::Uuid::new_v4().to_string();
    let question = review::question(version, &uid, asked, request, object).map_err(Failure::broken)?;
    let answered = client.post(endpoint, question, hook.timeout).await;
    let bytes = answered.map_err(|error| Failure::calling(error.code(), format!("failed to call webhook: {error}")))?;
    let answer = review::answer(version, &uid, mutating, &bytes).map_err(|bad| match bad {
        BadAnswer::Unreadable(why) => Failure::calling(503, format!("failed to call webhook: {why}")),
        BadAnswer::Invalid(why) => Failure::calling(503, format!("received invalid webhook response: {why}")),
    })?;
    for (key, value) in &answer.audit_annotations {
        request.notes.annotate(format!("{}/{key}", hook.name), value.clone());
    }
    for warning in &answer.warnings {
        request.notes.warn(warning.clone());
    }
    match answer.allowed {
        true => Ok(answer),
        false => Err(Failure::Denied(Box::new(review::denial(&hook.name, answer.status.as_ref())))),
    }
}

/// Applies the patch of an answer. Says whether the object changed.
pub(super) async fn apply(
    hook: &Hook,
    asked: &Asked,
    request: &Request<'_>,
    object: &mut Value,
    answer: &Answer,
) -> Result<bool, Failure> {
    if answer.patch.is_empty() {
        return Ok(false);
    }
    let operations = serde_json::from_slice::<Vec<Value>>(&answer.patch)
        .map_err(|error| Failure::calling(503, format!("received undecodable patch in webhook response: {error}")))?;
    if operations.is_empty() {
        return Ok(false);
    }
    if object.is_null() {
        let name = &hook.name;
        return Err(Failure::broken(format!(
            "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
        )));
    }
    let before = asked.other.as_ref().map_or(&*object, |other| &other.object);
    let patched = patch::json_patch(before, &answer.patch).map_err(Failure::broken)?;
    let changed = patched != *before;
    let patched = match &asked.other {
        Some(other) => {
            other.version.to_own(request, patched).await.map_err(|status| Failure::Broken(Box::new(status)))?
        }
        None => patched,
    };
    let mut patched = conform(request, patched)?;
    managers::keep_readable(request, object, &mut patched);
    *object = patched;
    Ok(changed)
}

/// What a patch made, pruned and with defaults, as if a client had sent it.
fn conform(request: &Request<'_>, object: Value) -> Result<Value, Failure> {
    let Some(resource) = request.target.filter(|_| request.operation != Operation::Connect) else { return Ok(object) };
    let ignore = FieldValidation::Ignore;
    let conformed = resource.conform(request.subresource, object, Vec::<String>::new(), ignore, &mut Warnings::new());
    conformed.map_err(|status| Failure::broken(status.message))
}
