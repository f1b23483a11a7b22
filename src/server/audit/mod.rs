//! Audit: who asked for what, and what became of it, one JSON object a line. Off unless a policy is given.
//!
//! Reading order: [`Audit`], [`Record`] (one request on its way), `event` (what a line says), `policy` (what is wanted of
//! which request), `log`.
//!
//! Invariant: without a policy, a request costs one look at an `Option`.
//! Invariant: secrets are not looked for: what a level writes down is for the policy to decide, as in Kubernetes.

mod event;
mod log;
mod policy;

use std::{
    borrow::Cow,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderValue, Uri, header};
use jiff::{SignedDuration, Timestamp};
use mk8s_api::{duration, status::Status};
use serde_json::Value;

use self::{
    event::{Event, ObjectReference, Outcome},
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
    event: Event,
    /// The stage that ends it.
    last: Stage,
}

/// Who sent a request, and how.
pub(crate) struct Sent<'a> {
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// Who authenticated; nobody, where nobody did.
    pub(crate) caller: &'a Arc<User>,
    pub(crate) address: Option<IpAddr>,
}

impl Audit {
    /// Opens the log.
    pub(crate) fn open(options: AuditOptions) -> io::Result<Arc<Audit>> {
        let log = Log::open(options.log)?;
        Ok(Arc::new(Audit { policy: options.policy, log, events: AtomicU64::new(0) }))
    }

    /// The record of a request; none is wanted where the policy says so.
    fn record(self: &Arc<Self>, request: &Attributes<'_>, sent: &Sent<'_>) -> Option<Record> {
        let wanted = self.policy.wanted(request);
        if wanted.level == Level::None {
            return None;
        }
        let text = |name: &str| sent.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let id = match text(ID) {
            "" => uuid::Uuid::new_v4().to_string(),
            given => given.chars().take(ID_LENGTH).collect(),
        };
        let now = Timestamp::now();
        let event = Event {
            api_version: event::VERSION,
            level: wanted.level.word(),
            id,
            stage: Stage::RequestReceived.word(),
            uri: sent.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            verb: request.verb.to_owned(),
            user: sent.caller.clone(),
            impersonated: None,
            sources: sources(sent),
            agent: text(header::USER_AGENT.as_str()).to_owned(),
            object: request.is_resource.then(|| ObjectReference::of(request)),
            outcome: None,
            asked: None,
            answered: None,
            received: now,
            staged: now,
            annotations: Default::default(),
        };
        Some(Record { audit: self.clone(), wanted, event, last: Stage::ResponseComplete })
    }

    /// Waits until all is written.
    pub(crate) async fn flush(&self) {
        self.log.flush().await;
    }

    /// Begins the record of a request. When it is looked at again, what was found out before is forgotten.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        record: &mut Option<Record>,
        request: &Attributes<'_>,
        sent: &Sent<'_>,
    ) {
        match record {
            Some(begun) => begun.begin_again(sent),
            None => {
                *record = self.record(request, sent);
                if let Some(record) = record {
                    record.write(Stage::RequestReceived).await;
                }
            }
        }
    }

    /// Begins the record of a request of nobody known, which ends with the answer's beginning.
    pub(crate) fn begin_unauthenticated(
        self: &Arc<Self>,
        record: &mut Option<Record>,
        request: &Attributes<'_>,
        sent: &Sent<'_>,
        code: u16,
    ) {
        *record = record.take().or_else(|| self.record(request, sent));
        if let Some(record) = record {
            record.event.outcome = Some(Outcome::unauthenticated(code, &credentials(sent)));
            record.last = Stage::ResponseStarted;
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

/// From here on it is said how long a request took.
const SLOW: SignedDuration = SignedDuration::from_millis(500);
const TOTAL_LATENCY: &str = "apiserver.latency.k8s.io/total";

const EVENTS: &str = "apiserver_audit_event_total";
const ERRORS: &str = "apiserver_audit_error_total";

/// Where a request came from: what proxies say, then who is connected.
fn sources(sent: &Sent<'_>) -> Vec<IpAddr> {
    let told = sent.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let told = told.flat_map(|list| list.split(',')).filter_map(|text| text.trim().parse().ok());
    let mut all: Vec<IpAddr> = told.collect();
    let real = sent.headers.get("x-real-ip").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    all.extend(real.filter(|real| !all.contains(real)));
    let direct = sent.address.unwrap_or(Ipv4Addr::LOCALHOST.into());
    if all.last() != Some(&direct) {
        all.push(direct);
    }
    all
}

/// The kinds of credentials that came with a request.
fn credentials(sent: &Sent<'_>) -> Vec<&'static str> {
    let header = sent.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scheme = header.trim().split_once(' ').map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
    let query = sent.uri.query().unwrap_or_default().as_bytes();
    let token = form_urlencoded::parse(query).any(|(name, value)| name == "access_token" && !value.trim().is_empty());
    let found = [("basic", scheme == "basic"), ("bearer", scheme == "bearer"), ("access_token", token)];
    found.into_iter().filter(|(_, came)| *came).map(|(kind, _)| kind).collect()
}

impl Record {
    fn begin_again(&mut self, sent: &Sent<'_>) {
        self.event.user = sent.caller.clone();
        self.event.impersonated = None;
        self.event.outcome = None;
        self.event.annotations.clear();
        self.last = Stage::ResponseComplete;
    }

    /// Who asks acts as somebody else.
    pub(crate) fn act_as(&mut self, user: &Arc<User>) {
        self.event.impersonated = Some(user.clone());
    }

    /// Whether the body of the request is written down.
    pub(crate) fn wants_request(&self) -> bool {
        self.wanted.level >= Level::Request
    }

    /// Whether the body of the answer is written down.
    pub(crate) fn wants_response(&self) -> bool {
        self.wanted.level >= Level::RequestResponse
    }

    pub(crate) fn set_request(&mut self, object: Value) {
        self.event.asked = Some(self.shown(object));
    }

    pub(crate) fn set_response(&mut self, object: Value) {
        self.event.answered = Some(self.shown(object));
    }

    fn shown(&self, mut object: Value) -> Value {
        if self.wanted.omit_managed_fields {
            without_managers(&mut object);
            object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(without_managers);
        }
        object
    }

    /// The first value of a key stays.
    pub(crate) fn annotate(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
        self.event.annotations.entry(key.into()).or_insert_with(|| value.into());
    }

    /// What the answer says of it.
    pub(crate) fn label(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.event.id) {
            headers.insert(ID, id);
        }
    }

    /// What was refused; what was said of the answer before stays.
    pub(crate) fn refused(&mut self, refusal: &Status) {
        self.event.outcome.get_or_insert_with(|| Outcome::refused(refusal));
    }

    /// The code of an answer of which nothing else is known.
    pub(crate) fn answered(&mut self, code: u16) {
        self.event.outcome.get_or_insert_with(|| Outcome::of(code));
    }

    /// A stream has begun.
    pub(crate) async fn started(&mut self) {
        self.write(Stage::ResponseStarted).await;
    }

    /// All is said.
    pub(crate) async fn complete(mut self) {
        self.note_slowness();
        self.write(self.last).await;
    }

    /// All is said, and nobody can wait.
    pub(crate) fn complete_now(&mut self) {
        self.note_slowness();
        if let Some(line) = self.line(Stage::ResponseComplete) {
            self.audit.log.write_now(line);
        }
    }

    /// The handler broke off.
    pub(crate) async fn panicked(mut self) {
        self.refused(&Status::failure(500, "InternalError", "APIServer panic'd"));
        self.write(Stage::Panic).await;
    }

    /// Of a request that took long it is said how long.
    fn note_slowness(&mut self) {
        let took = Timestamp::now().duration_since(self.event.received);
        if took > SLOW {
            self.annotate(TOTAL_LATENCY, duration::text_of(took.unsigned_abs()));
        }
    }

    async fn write(&mut self, stage: Stage) {
        if let Some(line) = self.line(stage) {
            self.audit.log.write(line).await;
        }
    }

    fn line(&mut self, stage: Stage) -> Option<Vec<u8>> {
        if self.wanted.omits(stage) {
            return None;
        }
        self.audit.events.fetch_add(1, Relaxed);
        if stage != Stage::RequestReceived {
            self.event.staged = Timestamp::now();
        }
        self.event.stage = stage.word();
        Some(self.event.line())
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
