//! AdmissionReview: the question to a webhook, and what it answers.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mk8s_api::{
    field::quote,
    status::{Cause, Details, Status},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    hook::ReviewVersion,
    rules::{self, Asked},
};
use crate::admission::Request;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: &'static str,
    request: Question<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    uid: &'a str,
    kind: GroupVersionKind<'a>,
    resource: GroupVersionResource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub_resource: &'a str,
    request_kind: GroupVersionKind<'a>,
    request_resource: GroupVersionResource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_sub_resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    operation: &'static str,
    user_info: Value,
    object: &'a Value,
    old_object: &'a Value,
    dry_run: bool,
    options: Value,
}

#[derive(Serialize)]
struct GroupVersionKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
struct GroupVersionResource<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
}

/// The question about a request, as JSON.
pub(super) fn question(
    version: ReviewVersion,
    uid: &str,
    asked: &Asked,
    request: &Request<'_>,
    object: &Value,
) -> Result<Bytes, serde_json::Error> {
    const NOTHING: Value = Value::Null;
    let (kind_group, kind_version) = request.kind_version;
    let (object, old) = match &asked.other {
        Some(other) => (&other.object, other.old.as_ref()),
        None => (object, request.old),
    };
    let review = Review {
        kind: "AdmissionReview",
        api_version: version.api_version(),
        request: Question {
            uid,
            kind: GroupVersionKind { group: &asked.kind.0, version: &asked.kind.1, kind: &asked.kind.2 },
            resource: GroupVersionResource { group: &asked.group, version: &asked.version, resource: request.resource },
            sub_resource: request.subresource,
            request_kind: GroupVersionKind { group: kind_group, version: kind_version, kind: request.kind },
            request_resource: GroupVersionResource {
                group: request.group,
                version: request.version,
                resource: request.resource,
            },
            request_sub_resource: request.subresource,
            name: request.name,
            namespace: rules::namespace(request),
            operation: request.operation.word(),
            user_info: request.user.to_user_info(),
            object,
            old_object: old.unwrap_or(&NOTHING),
            dry_run: request.dry_run,
            options: request.options_value(),
        },
    };
    serde_json::to_vec(&review).map(Bytes::from)
}

/// What a webhook says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// A JSON patch, or nothing.
    pub(super) patch: Vec<u8>,
    pub(super) audit_annotations: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
    /// Why it refuses.
    pub(super) status: Option<Value>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq)]
pub(super) enum BadAnswer {
    /// It is no AdmissionReview: the call failed.
    Unreadable(String),
    /// It is one that says what may not be said.
    Invalid(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Answered {
    kind: String,
    api_version: String,
    response: Option<Response>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Value>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// Reads an answer and checks that it is one to this question.
pub(super) fn answer(version: ReviewVersion, uid: &str, mutating: bool, bytes: &[u8]) -> Result<Answer, BadAnswer> {
    let answered: Answered =
        serde_json::from_slice(bytes).map_err(|error| BadAnswer::Unreadable(format!("json parse error: {error}")))?;
    let invalid = |why: String| Err(BadAnswer::Invalid(why));
    let Some(response) = answered.response else { return invalid("webhook response was absent".into()) };
    let patch = match &response.patch {
        Some(text) => {
            STANDARD.decode(text).map_err(|_| BadAnswer::Unreadable("illegal base64 data in response.patch".into()))?
        }
        None => Vec::new(),
    };
    if version == ReviewVersion::V1 {
        if response.uid != uid {
            return invalid(format!("expected response.uid={}, got {}", quote(uid), quote(&response.uid)));
        }
        let expected = ReviewVersion::V1.api_version();
        if answered.api_version != expected || answered.kind != "AdmissionReview" {
            let got = format!("{}, Kind={}", answered.api_version, answered.kind);
            return invalid(format!("expected webhook response of {expected}, Kind=AdmissionReview, got {got}"));
        }
        if let Some(why) = patch_complaint(mutating, !patch.is_empty(), response.patch_type.as_deref()) {
            return invalid(why);
        }
    }
    let Response { allowed, status, audit_annotations, warnings, .. } = response;
    Ok(Answer {
        allowed,
        patch: if mutating { patch } else { Vec::new() },
        audit_annotations: audit_annotations.unwrap_or_default(),
        warnings: warnings.unwrap_or_default(),
        status,
    })
}

/// What is wrong about a patch and its type together.
fn patch_complaint(mutating: bool, patch: bool, patch_type: Option<&str>) -> Option<String> {
    let why = match (mutating, patch, patch_type) {
        (false, true, _) => "validating webhook may not return response.patch",
        (false, false, Some(_)) => "validating webhook may not return response.patchType",
        (true, true, None) => "webhook returned response.patch but not response.patchType",
        (true, false, Some(_)) => "webhook returned response.patchType but not response.patch",
        (true, true, Some("")) => "webhook returned invalid response.patchType of \"\"",
        (true, true, Some(other)) if other != "JSONPatch" => return Some(format!("unsupported patch type {other:?}")),
        _ => return None,
    };
    Some(why.to_string())
}

/// The refusal that a client sees.
pub(super) fn denial(name: &str, status: Option<&Value>) -> Status {
    let nothing = Value::Null;
    let status = status.unwrap_or(&nothing);
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_string();
    let denied_by = format!("admission webhook {} denied the request", quote(name));
    let (message, reason) = (text(status, "message"), text(status, "reason"));
    let message = match (message.as_str(), reason.as_str()) {
        ("", "") => format!("{denied_by} without explanation"),
        ("", reason) => format!("{denied_by}: {reason}"),
        (message, _) => format!("{denied_by}: {message}"),
    };
    let code =
        status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let refused = Status::failure(code.unwrap_or(400), reason, message);
    let details = &status["details"];
    if !details.is_object() {
        return refused;
    }
    let causes = details["causes"].as_array().into_iter().flatten().map(|cause| Cause {
        reason: text(cause, "reason").into(),
        message: text(cause, "message"),
        field: text(cause, "field"),
    });
    refused.with_details(Details {
        name: text(details, "name"),
        group: text(details, "group"),
        kind: text(details, "kind"),
        uid: text(details, "uid"),
        causes: causes.collect(),
        retry_after_seconds: details["retryAfterSeconds"].as_u64().and_then(|s| u32::try_from(s).ok()).unwrap_or(0),
    })
}

/// Reads what a webhook may answer, for fuzzing: whatever arrives, this returns. How much of it is understood.
pub fn read_answer(document: &[u8]) -> usize {
    let versions = [ReviewVersion::V1, ReviewVersion::V1Beta1];
    let ways = versions.into_iter().flat_map(|version| [(version, true), (version, false)]);
    let read = ways.filter_map(|(version, mutating)| answer(version, "uid", mutating, document).ok());
    read.map(|answer| {
        let patched = mk8s_api::patch::json_patch(&serde_json::json!({"metadata": {"name": "n"}}), &answer.patch);
        let denied = denial("a.example.com", answer.status.as_ref());
        usize::from(patched.is_ok()) + denied.to_json().len()
    })
    .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_checked() {
        let review = |response: Value| json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
        let cases = [
            (true, review(json!({"uid": "u", "allowed": true})), Ok(true)),
            (true, review(json!({"uid": "u", "allowed": false})), Ok(false)),
            (
                true,
                json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}),
                Err("webhook response was absent"),
            ),
            (true, review(json!({"uid": "x", "allowed": true})), Err("expected response.uid=\"u\", got \"x\"")),
            (
                true,
                json!({"kind": "Pod", "apiVersion": "v1", "response": {"uid": "u"}}),
                Err("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=Pod"),
            ),
            (
                true,
                review(json!({"uid": "u", "allowed": true, "patch": "W10="})),
                Err("webhook returned response.patch but not response.patchType"),
            ),
            (
                true,
                review(json!({"uid": "u", "allowed": true, "patchType": "JSONPatch"})),
                Err("webhook returned response.patchType but not response.patch"),
            ),
            (true, review(json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"})), Ok(true)),
            (
                false,
                review(json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"})),
                Err("validating webhook may not return response.patch"),
            ),
            (
                false,
                review(json!({"uid": "u", "allowed": true, "patchType": "JSONPatch"})),
                Err("validating webhook may not return response.patchType"),
            ),
            (
                true,
                json!(7),
                Err("json parse error: invalid type: integer `7`, expected struct Answered at line 1 column 1"),
            ),
        ];
        for (mutating, body, expected) in cases {
            let got = answer(ReviewVersion::V1, "u", mutating, body.to_string().as_bytes());
            let got = got.map(|answer| answer.allowed).map_err(|bad| match bad {
                BadAnswer::Unreadable(why) | BadAnswer::Invalid(why) => why,
            });
            assert_eq!(got.as_ref().map_err(String::as_str).copied(), expected, "{body}");
        }
    }

    #[test]
    fn denials_carry_what_the_webhook_says() {
        let cases = [
            (None, 400, "", "admission webhook \"a.b.c\" denied the request without explanation"),
            (
                Some(json!({"message": "no", "code": 200})),
                400,
                "",
                "admission webhook \"a.b.c\" denied the request: no",
            ),
            (
                Some(json!({"reason": "Forbidden", "code": 403})),
                403,
                "Forbidden",
                "admission webhook \"a.b.c\" denied the request: Forbidden",
            ),
            (
                Some(json!({"reason": "R", "message": "m", "code": 422})),
                422,
                "R",
                "admission webhook \"a.b.c\" denied the request: m",
            ),
        ];
        for (status, code, reason, message) in cases {
            let refused = denial("a.b.c", status.as_ref());
            assert_eq!((refused.code, &*refused.reason, refused.message.as_str()), (code, reason, message));
        }
    }
}
