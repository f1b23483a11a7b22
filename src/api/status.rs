//! `metav1.Status` as the error type of the API: every refusal of the server is one of these.
//!
//! The constructors carry Kubernetes' messages, reasons and codes (apimachinery `api/errors`), because clients
//! branch on them.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde::Serialize;

use crate::field::{FieldError, aggregate, quote};

/// A resource of a group, displayed as `deployments.apps` or, for the core group, `pods`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    pub group: String,
    pub resource: String,
}

impl GroupResource {
    pub fn new(group: impl Into<String>, resource: impl Into<String>) -> GroupResource {
        GroupResource { group: group.into(), resource: resource.into() }
    }

    pub fn is_empty(&self) -> bool {
        self.group.is_empty() && self.resource.is_empty()
    }
}

impl Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// An answer that is not an object. `code` is the HTTP code; an empty `reason` is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub code: u16,
    pub reason: Cow<'static, str>,
    pub message: String,
    /// Boxed, because a `Status` is the error of nearly every function that answers a request.
    pub details: Option<Box<Details>>,
    /// `true` only for the answer to a successful delete and its like.
    pub success: bool,
    /// How a list goes on that cannot be continued as it was begun.
    pub list_continue: Option<String>,
    /// What was advised about the object before it was refused: headers of the answer, no part of its body.
    pub warnings: Vec<String>,
}

/// What a Status is about. `kind` holds the resource for most errors, as upstream has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// One cause of a Status.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cause {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Cow<'static, str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl Status {
    /// A failure with the code, reason and message given.
    pub fn failure(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Status {
        Status {
            code,
            reason: reason.into(),
            message: message.into(),
            details: None,
            success: false,
            list_continue: None,
            warnings: Vec::new(),
        }
    }

    /// As this one, with what was advised about the object.
    pub fn with_warnings(self, warnings: Vec<String>) -> Status {
        Status { warnings, ..self }
    }

    /// `Success` about one object.
    pub fn success(details: Option<Details>) -> Status {
        Status {
            code: 200,
            reason: Cow::Borrowed(""),
            message: String::new(),
            details: details.map(Box::new),
            success: true,
            list_continue: None,
            warnings: Vec::new(),
        }
    }

    pub fn with_details(mut self, details: Details) -> Status {
        self.details = Some(Box::new(details));
        self
    }

    fn about(self, resource: &GroupResource, name: &str) -> Status {
        self.with_details(Details {
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            name: name.to_string(),
            ..Details::default()
        })
    }

    pub fn not_found(resource: &GroupResource, name: &str) -> Status {
        Status::failure(404, "NotFound", format!("{resource} {} not found", quote(name))).about(resource, name)
    }

    /// The path names no resource at all.
    pub fn resource_not_found() -> Status {
        Status::failure(404, "NotFound", "the server could not find the requested resource")
            .with_details(Details::default())
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Status {
        Status::failure(409, "AlreadyExists", format!("{resource} {} already exists", quote(name)))
            .about(resource, name)
    }

    /// A name made from `generateName` was taken.
    pub fn generate_name_conflict(resource: &GroupResource, name: &str, retry_after_s: u32) -> Status {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        Status::failure(409, "AlreadyExists", message).about(resource, name).retry_after(retry_after_s)
    }

    pub fn conflict(resource: &GroupResource, name: &str, why: impl Display) -> Status {
        let message = format!("Operation cannot be fulfilled on {resource} {}: {why}", quote(name));
        Status::failure(409, "Conflict", message).about(resource, name)
    }

    /// The conflict of an update whose `resourceVersion` is not the newest.
    pub fn stale(resource: &GroupResource, name: &str) -> Status {
        Status::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn apply_conflict(causes: Vec<Cause>, message: impl Into<String>) -> Status {
        Status::failure(409, "Conflict", message).with_details(Details { causes, ..Details::default() })
    }

    pub fn invalid(group: &str, kind: &str, name: &str, errors: Vec<FieldError>) -> Status {
        let dot = if group.is_empty() { "" } else { "." };
        let mut message = format!("{kind}{dot}{group} {} is invalid", quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&aggregate(&errors));
        }
        let causes = errors
            .into_iter()
            .map(|error| Cause {
                reason: Cow::Borrowed(error.kind.reason()),
                message: error.body(),
                field: error.field,
            })
            .collect();
        Status::failure(422, "Invalid", message).with_details(Details {
            group: group.to_string(),
            kind: kind.to_string(),
            name: name.to_string(),
            causes,
            ..Details::default()
        })
    }

    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::failure(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Status {
        Status::failure(401, "Unauthorized", "Unauthorized")
    }

    pub fn forbidden(resource: &GroupResource, name: &str, why: impl Display) -> Status {
        let message = if resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {} is forbidden: {why}", quote(name))
        };
        Status::failure(403, "Forbidden", message).about(resource, name)
    }

    pub fn gone(message: impl Into<String>) -> Status {
        Status::failure(410, "Gone", message)
    }

    pub fn expired(message: impl Into<String>) -> Status {
        Status::failure(410, "Expired", message)
    }

    /// The verb is not served on this path.
    pub fn method_not_allowed() -> Status {
        Status::failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(Details::default())
    }

    /// The verb is not served by this resource.
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Status {
        let message = format!("{action} is not supported on resources of kind {}", quote(&resource.to_string()));
        Status::failure(405, "MethodNotAllowed", message).about(resource, "")
    }

    /// The body is in none of the `supported` media types.
    pub fn unsupported_media_type(supported: &[&str]) -> Status {
        Status::failure(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                supported.join(", ")
            ),
        )
    }

    /// None of the `supported` media types is accepted by the client.
    pub fn not_acceptable(supported: &[&str]) -> Status {
        Status::failure(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {}", supported.join(", ")),
        )
    }

    pub fn too_large(message: impl Display) -> Status {
        Status::failure(413, "RequestEntityTooLarge", format!("Request entity too large: {message}"))
    }

    pub fn internal(message: impl Display) -> Status {
        let message = message.to_string();
        Status::failure(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_details(Details { causes: vec![Cause { message, ..Cause::default() }], ..Details::default() })
    }

    pub fn timeout(message: impl Display, retry_after_s: u32) -> Status {
        Status::failure(504, "Timeout", format!("Timeout: {message}")).retry_after(retry_after_s)
    }

    /// The server could not finish the operation in time; trying again may help.
    pub fn server_timeout(resource: &GroupResource, operation: &str, retry_after_s: u32) -> Status {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Status::failure(500, "ServerTimeout", message).about(resource, operation).retry_after(retry_after_s)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_s: u32) -> Status {
        Status::failure(429, "TooManyRequests", message).retry_after(retry_after_s)
    }

    pub fn unavailable(message: impl Into<String>) -> Status {
        Status::failure(503, "ServiceUnavailable", message)
    }

    fn retry_after(mut self, seconds: u32) -> Status {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// Seconds for the `Retry-After` header, if any.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0)
    }

    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound"
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// The wire form, fields in the order in which Kubernetes writes them.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.wire()).expect("a Status holds only texts and numbers")
    }

    /// The wire form as a value.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self.wire()).expect("a Status holds only texts and numbers")
    }

    fn wire(&self) -> Wire<'_> {
        Wire {
            kind: "Status",
            api_version: "v1",
            metadata: ListMeta { next: self.list_continue.as_deref() },
            status: if self.success { "Success" } else { "Failure" },
            message: &self.message,
            reason: &self.reason,
            details: self.details.as_deref(),
            code: if self.success { 0 } else { u32::from(self.code) },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta<'a>,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    #[serde(skip_serializing_if = "is_zero")]
    code: u32,
}

#[derive(Serialize)]
struct ListMeta<'a> {
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;

    #[test]
    fn statuses_read_as_upstream() {
        let deployments = GroupResource::new("apps", "deployments");
        let pods = GroupResource::new("", "pods");
        let cases = [
            (Status::not_found(&deployments, "web"), 404, "deployments.apps \"web\" not found"),
            (Status::already_exists(&pods, "a"), 409, "pods \"a\" already exists"),
            (
                Status::stale(&pods, "a"),
                409,
                "Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again",
            ),
            (Status::forbidden(&pods, "", "no"), 403, "pods is forbidden: no"),
            (Status::forbidden(&pods, "x", "no"), 403, "pods \"x\" is forbidden: no"),
            (Status::forbidden(&GroupResource::default(), "", "no"), 403, "forbidden: no"),
            (
                Status::invalid("apps", "Deployment", "w", vec![FieldError::required(&Path::new("spec"), "")]),
                422,
                "Deployment.apps \"w\" is invalid: spec: Required value",
            ),
            (Status::too_large("limit is 3"), 413, "Request entity too large: limit is 3"),
            (Status::timeout("x", 1), 504, "Timeout: x"),
        ];
        for (status, code, message) in cases {
            assert_eq!((status.code, status.message.as_str()), (code, message));
        }
    }

    #[test]
    fn the_wire_form_keeps_the_order() {
        let status = Status::not_found(&GroupResource::new("", "pods"), "x");
        assert_eq!(
            String::from_utf8(status.to_json()).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"x\" not found","reason":"NotFound","details":{"name":"x","kind":"pods"},"code":404}"#
        );
        assert_eq!(
            String::from_utf8(Status::success(None).to_json()).unwrap(),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#
        );
    }
}
