//! Audit: who asked for what, and what became of it, one JSON object a line. Off unless a policy is given.
//!
//! Reading order: [`Audit`], [`Record`] (one request on its way), `policy` (what is wanted of which request), `log`.
//!
//! Invariant: without a policy, a request costs one look at an `Option`.
//! Invariant: secrets are not looked for: what a level writes down is for the policy to decide, as in Kubernetes.

mod log;
mod policy;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderValue, Uri, header};
use jiff::{Timestamp, tz::TimeZone};
use mk8s_api::status::Status;
use serde_json::{Map, Value, json};

use self::{
    log::Log,
    policy::{Level, Stage, Wanted},
};
use crate::auth::{Attributes, User};

pub use self::{
    log::LogOptions,
    policy::{Policy, PolicyError},
};

const ID: &str = "audit-id";
/// The longest name that a client may give its request.
const ID_LENGTH: usize = 64;

/// What is needed to write down requests.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    pub policy: Policy,
    pub log: LogOptions,
}

/// Writes down requests.
#[derive(Debug)]
pub(crate) struct Audit {
    policy: Policy,
    log: Log,
    events: AtomicU64,
}

/// One request on its way.
#[derive(Debug)]
pub(crate) struct Record {
    audit: Arc<Audit>,
    wanted: Wanted,
    id: String,
    event: Map<String, Value>,
    annotations: BTreeMap<String, String>,
}

/// Who sent a request, and how.
pub(crate) struct Sent<'a> {
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// Who authenticated; another one than the request's user when they act as somebody else.
    pub(crate) user: &'a User,
    pub(crate) address: Option<std::net::IpAddr>,
}

impl Audit {
    /// Opens the log.
    pub(crate) fn open(options: AuditOptions) -> io::Result<Arc<Audit>> {
        let log = Log::open(options.log)?;
        Ok(Arc::new(Audit { policy: options.policy, log, events: AtomicU64::new(0) }))
    }

    /// Begins the record of a request; none is wanted where the policy says so.
    async fn begin(self: &Arc<Self>, request: &Attributes<'_>, sent: &Sent<'_>) -> Option<Record> {
        let wanted = self.policy.wanted(request);
        if wanted.level == Level::None {
            return None;
        }
        let text = |name: &str| sent.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let id = match text(ID) {
            "" => uuid::Uuid::new_v4().to_string(),
            given => given.chars().take(ID_LENGTH).collect(),
        };
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": wanted.level.word(),
            "auditID": id,
            "requestURI": sent.uri.path_and_query().map_or("/", |path| path.as_str()),
            "verb": request.verb,
            "user": sent.user.to_user_info(),
            "sourceIPs": sources(sent),
            "requestReceivedTimestamp": now(),
        });
        if !std::ptr::eq(sent.user, request.user) {
            event["impersonatedUser"] = request.user.to_user_info();
        }
        if !text(header::USER_AGENT.as_str()).is_empty() {
            event["userAgent"] = text(header::USER_AGENT.as_str()).into();
        }
        if request.is_resource {
            event["objectRef"] = object_ref(request);
        }
        let Value::Object(event) = event else { return None };
        let record = Record { audit: self.clone(), wanted, id, event, annotations: BTreeMap::new() };
        record.write(Stage::RequestReceived).await;
        Some(record)
    }

    /// Waits until all is written.
    pub(crate) async fn flush(&self) {
        self.log.flush().await;
    }

    /// As [`Audit::begin`], for a request that may be looked at again: what was found out before is forgotten.
    pub(crate) async fn begin_once(
        self: &Arc<Self>,
        record: &mut Option<Record>,
        request: &Attributes<'_>,
        sent: &Sent<'_>,
    ) {
        match record {
            Some(begun) => begun.annotations.clear(),
            None => *record = self.begin(request, sent).await,
        }
    }

    pub(crate) fn metrics_text(&self) -> String {
        let (events, lost) = (self.events.load(Relaxed), self.log.lost.load(Relaxed));
        format!(
            "# HELP {EVENTS} Audit events written.\n# TYPE {EVENTS} counter\n{EVENTS} {events}\n\
             # HELP {ERRORS} Audit events lost.\n# TYPE {ERRORS} counter\n{ERRORS}{{plugin=\"log\"}} {lost}\n"
        )
    }
}

const EVENTS: &str = "apiserver_audit_event_total";
const ERRORS: &str = "apiserver_audit_error_total";

fn now() -> String {
    Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Where a request came from: what proxies say, then who is connected.
fn sources(sent: &Sent<'_>) -> Vec<String> {
    let told = sent.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let told = told.flat_map(|list| list.split(',')).filter_map(|text| text.trim().parse().ok());
    let mut all: Vec<std::net::IpAddr> = told.collect();
    let real = sent.headers.get("x-real-ip").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    all.extend(real.filter(|real| !all.contains(real)));
    let direct = sent.address.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
    if all.last() != Some(&direct) {
        all.push(direct);
    }
    all.iter().map(ToString::to_string).collect()
}

fn object_ref(request: &Attributes<'_>) -> Value {
    let fields = [
        ("resource", request.resource),
        ("namespace", request.namespace),
        ("name", request.name),
        ("apiGroup", request.group),
        ("apiVersion", request.version),
        ("subresource", request.subresource),
    ];
    let told = fields.into_iter().filter(|(_, value)| !value.is_empty());
    Value::Object(told.map(|(field, value)| (field.to_owned(), value.into())).collect())
}

impl Record {
    /// Whether the body of the request is written down.
    pub(crate) fn wants_request(&self) -> bool {
        self.wanted.level >= Level::Request
    }

    /// Whether the body of the answer is written down.
    pub(crate) fn wants_response(&self) -> bool {
        self.wanted.level >= Level::RequestResponse
    }

    pub(crate) fn set_request(&mut self, object: Value) {
        let object = self.shown(object);
        self.event.insert("requestObject".into(), object);
    }

    pub(crate) fn set_response(&mut self, object: Value) {
        let object = self.shown(object);
        self.event.insert("responseObject".into(), object);
    }

    fn shown(&self, mut object: Value) -> Value {
        if self.wanted.omit_managed_fields {
            without_managers(&mut object);
            object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(without_managers);
        }
        object
    }

    pub(crate) fn annotate(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.annotations.entry(key.into()).or_insert_with(|| value.into());
    }

    /// What the answer says of it.
    pub(crate) fn label(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(ID, id);
        }
    }

    /// The code of the answer, and what was refused.
    pub(crate) fn set_status(&mut self, code: u16, refusal: Option<&Status>) {
        let mut status = json!({"metadata": {}, "code": code});
        if let Some(refusal) = refusal {
            status["status"] = "Failure".into();
            status["message"] = refusal.message.clone().into();
            if !refusal.reason.is_empty() {
                status["reason"] = refusal.reason.clone().into();
            }
        }
        self.event.insert("responseStatus".into(), status);
    }

    /// The code of an answer of which nothing else is known.
    pub(crate) fn answered(&mut self, code: u16) {
        if !self.event.contains_key("responseStatus") {
            self.set_status(code, None);
        }
    }

    /// A stream has begun.
    pub(crate) async fn started(&self) {
        self.write(Stage::ResponseStarted).await;
    }

    /// All is said.
    pub(crate) async fn complete(self) {
        self.write(Stage::ResponseComplete).await;
    }

    /// All is said, and nobody can wait.
    pub(crate) fn complete_now(&self) {
        if let Some(line) = self.line(Stage::ResponseComplete) {
            self.audit.log.write_now(line);
        }
    }

    /// The handler broke off.
    pub(crate) async fn panicked(mut self) {
        self.set_status(500, Some(&Status::failure(500, "InternalError", "APIServer panic'd")));
        self.write(Stage::Panic).await;
    }

    async fn write(&self, stage: Stage) {
        if let Some(line) = self.line(stage) {
            self.audit.log.write(line).await;
        }
    }

    fn line(&self, stage: Stage) -> Option<String> {
        if self.wanted.omits(stage) {
            return None;
        }
        self.audit.events.fetch_add(1, Relaxed);
        let mut event = self.event.clone();
        event.insert("stage".into(), stage.word().into());
        event.insert("stageTimestamp".into(), now().into());
        if !self.annotations.is_empty() {
            event.insert("annotations".into(), json!(self.annotations));
        }
        Some(format!("{}\n", Value::Object(event)))
    }
}

fn without_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// A record that is completed when a stream ends, however it does.
#[derive(Debug)]
pub(crate) struct UntilEnd(pub(crate) Record);

impl Drop for UntilEnd {
    fn drop(&mut self) {
        self.0.complete_now();
    }
}
