//! `Event` of `audit.k8s.io/v1`: what a line of the log says.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, sync::Arc};

use jiff::Timestamp;
use mk8s_api::status::Status;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::auth::{Attributes, User};

/// More than a line without bodies is long, in bytes.
const LINE: usize = 1024;

/// The version of the events.
pub(super) const VERSION: &str = "audit.k8s.io/v1";

/// What is known of a request so far.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub(super) struct Event {
    pub(super) api_version: &'static str,
    pub(super) level: &'static str,
    #[serde(rename = "auditID")]
    pub(super) id: String,
    pub(super) stage: &'static str,
    #[serde(rename = "requestURI")]
    pub(super) uri: String,
    pub(super) verb: String,
    pub(super) user: Arc<User>,
    /// Whom they act as.
    #[serde(rename = "impersonatedUser", skip_serializing_if = "Option::is_none")]
    pub(super) impersonated: Option<Arc<User>>,
    #[serde(rename = "sourceIPs")]
    pub(super) sources: Vec<IpAddr>,
    #[serde(rename = "userAgent", skip_serializing_if = "String::is_empty")]
    pub(super) agent: String,
    #[serde(rename = "objectRef", skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<ObjectReference>,
    #[serde(rename = "responseStatus", skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<Outcome>,
    #[serde(rename = "requestObject", skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Value>,
    #[serde(rename = "responseObject", skip_serializing_if = "Option::is_none")]
    pub(super) answered: Option<Value>,
    #[serde(rename = "requestReceivedTimestamp", serialize_with = "micro_time")]
    pub(super) received: Timestamp,
    #[serde(rename = "stageTimestamp", serialize_with = "micro_time")]
    pub(super) staged: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<Cow<'static, str>, Cow<'static, str>>,
}

/// What a request is about. Empty texts are not told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

impl ObjectReference {
    pub(super) fn of(request: &Attributes<'_>) -> ObjectReference {
        ObjectReference {
            resource: request.resource.to_owned(),
            namespace: request.namespace.to_owned(),
            name: request.name.to_owned(),
            api_group: request.group.to_owned(),
            api_version: request.version.to_owned(),
            subresource: request.subresource.to_owned(),
        }
    }
}

/// A `Status` without its details.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// Empty, and told, as Kubernetes does.
    metadata: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    code: u16,
}

impl Outcome {
    pub(super) fn of(code: u16) -> Outcome {
        Outcome { metadata: Map::new(), status: None, message: None, reason: None, code }
    }

    pub(super) fn refused(refusal: &Status) -> Outcome {
        Outcome {
            status: Some("Failure"),
            message: Some(refusal.message.clone()),
            reason: Some(refusal.reason.to_string()).filter(|reason| !reason.is_empty()),
            ..Outcome::of(refusal.code)
        }
    }

    /// Nobody was found behind these kinds of credentials.
    pub(super) fn unauthenticated(code: u16, credentials: &[&str]) -> Outcome {
        let message = match credentials {
            [] => "Authentication failed, no credentials provided".to_owned(),
            tried => format!("Authentication failed, attempted: {}", tried.join(", ")),
        };
        Outcome { message: Some(message), ..Outcome::of(code) }
    }
}

impl Event {
    /// The line, with its end.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(LINE);
        serde_json::to_writer(&mut line, self).expect("plain fields become JSON");
        line.push(b'\n');
        line
    }
}

fn micro_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}
