//! The way of a request: authenticate, authorize, dispatch; every way out is an answer.
//!
//! The router is a tower service. Sockets and clients inside the process call the same one; the latter carry a
//! [`Caller`], which no socket can.

use std::{
    any::Any,
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, Uri, header, request::Parts};
use http_body_util::BodyExt;
use jiff::Timestamp;
use mk8s_api::status::Status;
use tokio_util::sync::CancellationToken;

use super::{
    again, answer,
    body::{Body, BoxError, RequestBody, request_body},
    decode,
    dispatch::{self, Asked},
    documents::Documents,
    gzip, health,
    metrics::Metrics,
    negotiate,
    path::{self, ResourcePath, Route},
    pretty,
    query::Query,
};
use crate::{
    admission::Notes,
    aggregation::{Aggregation, Forwarded},
    audit::{Audit, Record, Sent, UntilEnd},
    auth::{Attributes, Authentication, Authorization, Decision, Peer, TokenIssuer, User, impersonate},
    flow::{Admitted, Flow, Running, Schema},
    registry::{Registry, when_full},
    relay::Relay,
    usage::Usage,
};

/// What a router is made of.
pub struct RouterParts {
    pub registry: Registry,
    pub authentication: Authentication,
    pub authorization: Authorization,
    pub tokens: TokenIssuer,
    pub relay: Relay,
    pub aggregation: Aggregation,
    /// How many requests are served at once; 0 serves all.
    pub seats: u32,
    /// Watches end and no more are begun once this is cancelled.
    pub stop: CancellationToken,
}

pub(super) struct Inner {
    pub(super) registry: Registry,
    pub(super) authentication: Authentication,
    pub(super) authorization: Authorization,
    pub(super) tokens: TokenIssuer,
    pub(super) relay: Relay,
    pub(super) aggregation: Aggregation,
    pub(super) flow: Arc<Flow>,
    /// Set when requests are written down.
    audit: OnceLock<Arc<Audit>>,
    /// Set when this server may come to schedule.
    scheduling: OnceLock<Arc<mk8s_scheduler::metrics::Metrics>>,
    pub(super) documents: Documents,
    pub(super) usage: Usage,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ready: AtomicBool,
    /// Why this server answers no more.
    retired: OnceLock<String>,
    pub(super) stop: CancellationToken,
}

/// The API as a tower service. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

/// Marks a request of a client inside the process, which needs no credentials.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<User>);

impl Router {
    pub fn new(parts: RouterParts) -> Router {
        let RouterParts { registry, authentication, authorization, tokens, relay, aggregation, seats, stop } = parts;
        let metrics = Arc::default();
        let documents = Documents::default();
        Router(Arc::new(Inner {
            registry,
            authentication,
            authorization,
            tokens,
            relay,
            aggregation,
            flow: Arc::new(Flow::new(seats)),
            audit: OnceLock::new(),
            scheduling: OnceLock::new(),
            documents,
            usage: Usage::default(),
            metrics,
            ready: AtomicBool::new(false),
            retired: OnceLock::new(),
            stop: stop.child_token(),
        }))
    }

    /// `/readyz` says yes from now on.
    pub fn set_ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// From now on every request is refused with this, and watches end.
    pub fn retire(&self, why: String) {
        // The first reason stays.
        let _ = self.0.retired.set(why);
        self.0.stop.cancel();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.0.retired.get().is_some()
    }

    pub fn relay(&self) -> &Relay {
        &self.0.relay
    }

    pub fn usage(&self) -> &Usage {
        &self.0.usage
    }

    pub fn aggregation(&self) -> &Aggregation {
        &self.0.aggregation
    }

    /// Requests are written down from now on.
    pub(crate) fn audit_to(&self, audit: Arc<Audit>) {
        // The first one stays: there is one log.
        let _ = self.0.audit.set(audit);
    }

    /// What the scheduler counts is shown from now on.
    pub(crate) fn show_scheduling(&self, metrics: Arc<mk8s_scheduler::metrics::Metrics>) {
        // The first one stays: there is one scheduler.
        let _ = self.0.scheduling.set(metrics);
    }

    /// Waits until all that was noted is written down.
    pub(crate) async fn flush_audit(&self) {
        if let Some(audit) = self.0.audit.get() {
            audit.flush().await;
        }
    }

    pub(crate) fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    pub(crate) fn authorization(&self) -> &Authorization {
        &self.0.authorization
    }

    pub(crate) fn flow(&self) -> Arc<Flow> {
        self.0.flow.clone()
    }

    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A client inside the process that acts as `user`.
    pub fn client(&self, user: User) -> kube::Client {
        self.client_of(user, false)
    }

    /// As [`Router::client`]; it may write when the disk is full, and is to write little.
    pub(crate) fn client_when_full(&self, user: User) -> kube::Client {
        self.client_of(user, true)
    }

    fn client_of(&self, user: User, when_full: bool) -> kube::Client {
        let program = HeaderValue::from_static(program_of(&user.name));
        kube::Client::new(InProcess { router: self.clone(), user: Arc::new(user), program, when_full }, "default")
    }

    /// Answers a request. Never fails; a panic on the way is a 500.
    pub async fn answer(&self, request: Request<RequestBody>) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let _in_flight = self.0.metrics.begin();
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let accepted = parts.headers.get(http::header::ACCEPT_ENCODING).cloned();
        let of_status = negotiate::of_status(&parts.headers);
        let pretty = pretty::is_wanted(&uri, &parts.headers);
        if let Some(why) = self.0.retired.get() {
            return answer::status(of_status, &Status::unavailable(why.clone()));
        }
        let mut record = None;
        let outcome = AssertUnwindSafe(again::handle(&self.0, parts, body, &mut record)).catch_unwind().await;
        let (verb, labels, mut response, schema, is_long_running) = match outcome {
            Ok(Handled { verb, labels, result, schema, is_long_running, .. }) => {
                if let (Some(record), Err(status)) = (&mut record, &result) {
                    record.refused(status);
                }
                let response = result.unwrap_or_else(|status| answer::status(of_status, &status));
                (verb, labels, response, schema, is_long_running)
            }
            Err(panic) => {
                if let Some(record) = record.take() {
                    record.panicked().await;
                }
                self.0.metrics.panicked();
                tracing::error!(%method, path = uri.path(), panic = panic_text(&*panic), "a request handler panicked");
                (
                    "PANIC",
                    String::new(),
                    answer::status(
                        of_status,
                        &Status::internal("this request caused apiserver to panic. Look in the logs for details"),
                    ),
                    None,
                    false,
                )
            }
        };
        if let Some(schema) = schema {
            schema.label(response.headers_mut());
        }
        if let Some(record) = record {
            response = audited(record, is_long_running, response).await;
        }
        let took = started.elapsed();
        self.0.metrics.answered(verb, &labels, response.status().as_u16(), took);
        tracing::trace!(target: "mk8s::access", %method, %uri, code = response.status().as_u16(), took_us = took.as_micros(), "answered");
        let response = if pretty { pretty::print(response).await } else { response };
        match accepted {
            Some(encoding) => {
                gzip::compress(&HeaderMap::from_iter([(http::header::ACCEPT_ENCODING, encoding)]), response)
            }
            None => response,
        }
    }
}

/// An answer, and what it is counted as.
pub(super) struct Handled {
    verb: &'static str,
    /// Those of its [`metrics::Subject`]; empty where it has none.
    labels: String,
    pub(super) result: Result<Response<Body>, Status>,
    /// Who answered.
    pub(super) by: By,
    /// As what it was classified.
    schema: Option<Arc<Schema>>,
    /// Whether the answer is a stream, which the audit log tells the beginning of.
    is_long_running: bool,
}

impl Handled {
    /// Refused before anything was asked of it.
    pub(super) fn refused(status: Status) -> Handled {
        let labels = String::new();
        Handled { verb: "OTHER", labels, result: Err(status), by: By::Us, schema: None, is_long_running: false }
    }
}

/// Who answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// This server, from what it knows.
    Us,
    /// This server, and what it had decided did not hold when it was to be written.
    UsTooLate,
    /// Somebody else, whom it was passed on to.
    Another,
}

/// Answers a request from what is known here at the moment.
pub(super) async fn handle(
    inner: &Arc<Inner>,
    mut parts: Parts,
    mut body: RequestBody,
    record: &mut Option<Record>,
) -> Handled {
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let address = parts.extensions.get::<Arc<Peer>>().and_then(|peer| peer.addr).map(|address| address.ip());
    let (caller, stranger) = match identify(inner, &parts).await {
        Ok(caller) => (caller, None),
        Err(status) => (Arc::default(), Some(status)),
    };
    let Parts { method, uri, headers, .. } = parts;
    let sent = Sent { uri: &uri, headers: &headers, caller: &caller, address };
    let handled =
        |verb, labels, result| Handled { verb, labels, result, by: By::Us, schema: None, is_long_running: false };
    let passed_on = |handled| Handled { by: By::Another, ..handled };
    match path::parse(uri.path()) {
        None => {
            let why = "the path of the request is not valid UTF-8 once decoded";
            Handled::refused(stranger.unwrap_or_else(|| Status::bad_request(why)))
        }
        Some(Route::Other(path)) => {
            let verb = method.as_str().to_ascii_lowercase();
            let asked = Attributes::for_path(&caller, &verb, path);
            let user = match enter(inner, &asked, &sent, stranger, record).await {
                Ok(user) => user,
                Err(status) => return Handled::refused(status),
            };
            let attributes = Attributes { user: &user, ..asked };
            let (schema, running) = match turn(inner, &attributes, || 0).await {
                Ok(turn) => turn,
                Err(schema) => {
                    return Handled { schema: Some(schema), ..handled("OTHER", String::new(), Ok(too_many())) };
                }
            };
            let result = match permitted(inner, &attributes, record).await {
                Ok(()) => other(inner, &method, path, &uri, &headers, &user, body).await,
                Err(status) => Err(status),
            };
            drop(running);
            Handled { schema, ..handled("OTHER", String::new(), result) }
        }
        Some(Route::Resource(path)) => {
            let query = Query::parse(uri.query());
            let Some(verb) = dispatch::verb(&method, &path, &query) else {
                return Handled::refused(stranger.unwrap_or_else(Status::method_not_allowed));
            };
            let selects = matches!(verb, "list" | "watch" | "deletecollection");
            let selected = query
                .get("fieldSelector")
                .filter(|_| selects && path.name.is_empty())
                .and_then(dispatch::selected_name);
            let asked = Attributes {
                version: path.version,
                subresource: &path.subresource,
                namespace: &path.namespace,
                name: selected.as_deref().unwrap_or(&path.name),
                path: uri.path(),
                label_selector: query.get("labelSelector").filter(|_| selects),
                field_selector: query.get("fieldSelector").filter(|_| selects),
                ..Attributes::for_resource(&caller, verb, path.group, &path.resource)
            };
            let user = match enter(inner, &asked, &sent, stranger, record).await {
                Ok(user) => user,
                Err(status) => return Handled::refused(status),
            };
            let attributes = Attributes { user: &user, ..asked };
            let known = inner.registry.resources().find(path.group, path.version, &path.resource);
            let shown_verb = dispatch::metric_verb(verb, &path, &headers);
            let labels =
                known.as_ref().map(|known| dispatch::subject(known, &path, &query, verb).labels()).unwrap_or_default();
            let is_endless = is_endless(&path.subresource);
            let is_long_running = is_endless || verb == "watch";
            let handled = |verb, labels, result| Handled { is_long_running, ..handled(verb, labels, result) };
            if let Some(record) =
                record.as_mut().filter(|record| record.wants_request() && dispatch::sends_object(verb))
            {
                body = match written_down(record, &headers, body).await {
                    Ok(body) => body,
                    Err(status) => return handled(shown_verb, labels, Err(status)),
                };
            }
            let objects = || objects_read(inner, verb, &path, &query);
            let (schema, running) = match is_endless {
                true => (None, None),
                false => match turn(inner, &of_flow(&attributes), objects).await {
                    Ok(turn) => turn,
                    Err(schema) => {
                        return Handled { schema: Some(schema), ..handled(shown_verb, labels, Ok(too_many())) };
                    }
                },
            };
            let handled = |verb, labels, result| Handled { schema, ..handled(verb, labels, result) };
            if let Err(status) = permitted(inner, &attributes, record).await {
                return handled(shown_verb, labels, Err(status));
            }
            let Some(resource) = known else {
                if let Some(remote) = inner.aggregation.remote(path.group, path.version) {
                    let forwarded = Forwarded { method: &method, uri: &uri, headers: &headers, user: &user, upgrade };
                    let result = inner.aggregation.forward(&remote, forwarded, body).await;
                    return passed_on(handled(shown_verb, String::new(), result));
                }
                return handled(shown_verb, String::new(), Err(Status::resource_not_found()));
            };
            let notes = Notes::default();
            let asked = Asked {
                inner: inner.clone(),
                resource,
                path,
                verb,
                query,
                headers: &headers,
                uri: &uri,
                method: &method,
                user: &user,
                upgrade,
                notes: &notes,
            };
            let relays = dispatch::relays(&asked);
            let result = dispatch::dispatch(asked, body).await;
            drop(running);
            if let Some(record) = record {
                notes.take_annotations().into_iter().for_each(|(key, value)| record.annotate(key, value));
            }
            let handled = handled(shown_verb, labels, with_warnings(result, &headers, &notes.take_warnings()));
            match (relays, notes.are_outdated()) {
                (true, _) => passed_on(handled),
                (false, true) => Handled { by: By::UsTooLate, ..handled },
                (false, false) => handled,
            }
        }
    }
}

/// Whether the request is allowed, which the audit log learns with the reason.
async fn permitted(inner: &Inner, attributes: &Attributes<'_>, record: &mut Option<Record>) -> Result<(), Status> {
    let verdict = inner.authorization.decide(attributes).await;
    if let Some(record) = record {
        let allowed = verdict.decision == Decision::Allow;
        match &verdict.error {
            Some(_) if !allowed => record.annotate(REASON, "internal error"),
            _ => {
                record.annotate(DECISION, if allowed { "allow" } else { "forbid" });
                record.annotate(REASON, inner.authorization.reason(attributes, &verdict));
            }
        }
    }
    verdict.permit(attributes)
}

/// Waits until it is a request's turn. The error is the schema for which there are too many.
async fn turn(
    inner: &Inner,
    attributes: &Attributes<'_>,
    objects: impl FnOnce() -> usize,
) -> Result<(Option<Arc<Schema>>, Option<Running>), Arc<Schema>> {
    match inner.flow.admit(attributes, objects).await {
        Admitted::Unclassified => Ok((None, None)),
        Admitted::Running(schema, running) => Ok((Some(schema), Some(running))),
        Admitted::Rejected(schema) => Err(schema),
    }
}

/// A request as it is classified: what is asked of a namespace itself is asked in it.
fn of_flow<'a>(attributes: &Attributes<'a>) -> Attributes<'a> {
    match (attributes.group, attributes.resource, attributes.namespace) {
        ("", "namespaces", "") => Attributes { namespace: attributes.name, ..*attributes },
        _ => *attributes,
    }
}

/// Streams without an end, which would hold their seats for ever. Watches let go of theirs once they have begun.
fn is_endless(subresource: &str) -> bool {
    matches!(subresource, "attach" | "exec" | "log" | "portforward" | "proxy")
}

/// How many objects a request reads, as far as lists go.
fn objects_read(inner: &Inner, verb: &str, path: &ResourcePath<'_>, query: &Query) -> usize {
    let reads = match verb {
        "list" | "deletecollection" => true,
        "watch" => matches!(query.get("resourceVersion"), None | Some("" | "0")) || query.flag("sendInitialEvents"),
        _ => false,
    };
    if !reads || !path.name.is_empty() {
        return 0;
    }
    let count = inner.registry.count(path.group, path.version, &path.resource);
    match query.get("limit").and_then(|limit| limit.parse().ok()) {
        None | Some(0) => count,
        Some(limit) => count.min(limit),
    }
}

/// The answer to a request for which there is no room.
fn too_many() -> Response<Body> {
    let mut response = answer::text(429, "Too many requests, please try again later.\n".to_owned());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The answer with what admission warned of, which refusals carry as well.
fn with_warnings(
    result: Result<Response<Body>, Status>,
    headers: &HeaderMap,
    warnings: &[String],
) -> Result<Response<Body>, Status> {
    if warnings.is_empty() {
        return result;
    }
    let refused = |status| answer::status(negotiate::of_status(headers), &status);
    Ok(answer::warn(result.unwrap_or_else(refused), warnings))
}

const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";

/// Notes the body of a request, and gives it back.
async fn written_down(record: &mut Record, headers: &HeaderMap, body: RequestBody) -> Result<RequestBody, Status> {
    let bytes = decode::read(headers, body).await?;
    let object = match decode::content_type(headers).ends_with("-patch+json") {
        true => serde_json::from_slice(&bytes).ok(),
        false => decode::object(headers, &bytes, "").map(|parsed| parsed.value).ok(),
    };
    let object = object.or_else(|| decode::yaml(&bytes, "").map(|parsed| parsed.value).ok());
    if let Some(object) = object.filter(|_| !bytes.is_empty()) {
        record.set_request(object);
    }
    Ok(request_body(http_body_util::Full::new(bytes)))
}

/// Notes the answer; a stream is noted when it begins and when it ends.
async fn audited(mut record: Record, is_long_running: bool, mut response: Response<Body>) -> Response<Body> {
    record.label(response.headers_mut());
    record.answered(response.status().as_u16());
    if is_long_running {
        record.started().await;
        let (parts, body) = response.into_parts();
        let noted = futures::stream::unfold((body, UntilEnd(record)), |(mut body, until)| async move {
            let piece = body.next_piece().await?;
            Some((piece, (body, until)))
        });
        return Response::from_parts(parts, Body::stream(noted));
    }
    if record.wants_response() {
        let (parts, body) = response.into_parts();
        match body.collect().await {
            Ok(all) => {
                let bytes = all.to_bytes();
                if let Ok(parsed) = decode::object(&parts.headers, &bytes, "") {
                    record.set_response(parsed.value);
                }
                response = Response::from_parts(parts, Body::from(bytes));
            }
            Err(error) => {
                let broken = futures::stream::iter([Err(error)]);
                response = Response::from_parts(parts, Body::stream(broken));
            }
        }
    }
    record.complete().await;
    response
}

/// Who sent a request: the caller inside the process, or what its credentials say.
async fn identify(inner: &Inner, parts: &Parts) -> Result<Arc<User>, Status> {
    if let Some(Caller(user)) = parts.extensions.get::<Caller>() {
        return Ok(user.clone());
    }
    let nobody = Peer::default();
    let peer = parts.extensions.get::<Arc<Peer>>().map_or(&nobody, |peer| peer);
    inner.authentication.identify(parts, peer).await.map_err(|error| {
        tracing::debug!(%error, path = parts.uri.path(), "unable to authenticate the request");
        Status::from(error)
    })
}

/// Notes who asks for what, and finds out as whom: themselves, or whom they may act as. A stranger is refused.
async fn enter(
    inner: &Inner,
    asked: &Attributes<'_>,
    sent: &Sent<'_>,
    stranger: Option<Status>,
    record: &mut Option<Record>,
) -> Result<Arc<User>, Status> {
    match (inner.audit.get(), &stranger) {
        (Some(audit), Some(refused)) => audit.begin_unauthenticated(record, asked, sent, refused.code),
        (Some(audit), None) => audit.begin(record, asked, sent).await,
        (None, _) => {}
    }
    if let Some(refused) = stranger {
        return Err(refused);
    }
    if !impersonate::is_asked_for(sent.headers) {
        return Ok(sent.caller.clone());
    }
    let Some(user) = impersonate::impersonated(sent.headers, sent.caller, &inner.authorization)? else {
        return Ok(sent.caller.clone());
    };
    if let Some(record) = record {
        record.act_as(&user);
    }
    Ok(user)
}

/// Paths that name no resource.
async fn other(
    inner: &Arc<Inner>,
    method: &Method,
    path: &str,
    uri: &Uri,
    headers: &HeaderMap,
    user: &User,
    body: RequestBody,
) -> Result<Response<Body>, Status> {
    if let Some(remote) = inner.aggregation.remote_of_path(path.trim_end_matches('/')) {
        let forwarded = Forwarded { method, uri, headers, user, upgrade: None };
        return inner.aggregation.forward(&remote, forwarded, body).await;
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(match inner.documents.exists(path, &inner.registry.resources().table()) {
            true => Status::method_not_allowed(),
            false => Status::resource_not_found(),
        });
    }
    let query = Query::parse(uri.query());
    let trimmed = path.trim_end_matches('/');
    match trimmed.split('/').nth(1).unwrap_or_default() {
        "healthz" | "livez" | "readyz" => Ok(health::report(trimmed, &checks(inner, trimmed), &query)),
        "version" if trimmed == "/version" => Ok(answer::value(200, Default::default(), &health::version())),
        "metrics" if trimmed == "/metrics" => Ok(metrics(inner)),
        ".well-known" if trimmed == "/.well-known/openid-configuration" => {
            let server =
                headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("kubernetes.default.svc");
            Ok(answer::value(200, Default::default(), &inner.tokens.openid_configuration(&format!("https://{server}"))))
        }
        "openid" if trimmed == "/openid/v1/jwks" => Ok(answer::value(200, Default::default(), &inner.tokens.jwks())),
        _ => {
            let table = inner.registry.resources().table();
            let local = |headers: &HeaderMap| inner.documents.answer(trimmed, &query, headers, &table);
            match inner.aggregation.concerns(trimmed) {
                true => inner.aggregation.document(trimmed, headers, local).await,
                false => local(headers),
            }
        }
    }
}

fn metrics(inner: &Inner) -> Response<Body> {
    let registry = &inner.registry;
    let texts = [
        inner.metrics.render(),
        registry.admission().metrics_text(),
        registry.metrics_text(),
        inner.flow.metrics_text(),
        inner.authentication.metrics_text(),
        inner.authorization.metrics_text(),
        inner.audit.get().map(|audit| audit.metrics_text()).unwrap_or_default(),
        inner.scheduling.get().map(|scheduling| scheduling.render()).unwrap_or_default(),
        registry.store().metrics_text(),
    ];
    answer::text(200, texts.concat())
}

fn checks(inner: &Inner, path: &str) -> Vec<health::Check> {
    let stopping = inner.stop.is_cancelled();
    let led = inner.registry.store().leadership().borrow().leader.is_some();
    let store = if led { Ok(()) } else { Err("the store has no leader, or its disk failed".to_string()) };
    // Under the name that monitoring of Kubernetes asks for.
    let mut checks: Vec<health::Check> = vec![("ping", Ok(())), ("log", Ok(())), ("etcd", store)];
    if path.starts_with("/readyz") {
        let booted =
            if inner.ready.load(Ordering::Acquire) { Ok(()) } else { Err("the server is still starting".to_string()) };
        checks.push(("poststarthook/bootstrap", booted));
        checks.push(("shutdown", if stopping { Err("the server is stopping".to_string()) } else { Ok(()) }));
    }
    checks
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl<B> tower::Service<Request<B>> for Router
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let router = self.clone();
        Box::pin(async move { Ok(router.answer(request.map(request_body)).await) })
    }
}

/// The service under a client inside the process.
#[derive(Clone)]
struct InProcess {
    router: Router,
    user: Arc<User>,
    /// Who is noted as the manager of what is written.
    program: HeaderValue,
    when_full: bool,
}

/// The programs of a control plane, by the users that they are.
fn program_of(user: &str) -> &'static str {
    match user {
        "system:kube-controller-manager" => "kube-controller-manager",
        "system:kube-scheduler" => "kube-scheduler",
        "system:kube-proxy" => "kube-proxy",
        "system:apiserver" => "kube-apiserver",
        _ => "mk8s",
    }
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (router, user) = (self.router.clone(), self.user.clone());
        let mut request = request.map(request_body);
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| self.program.clone());
        let mut extensions = Extensions::new();
        extensions.insert(Caller(user));
        *request.extensions_mut() = extensions;
        match self.when_full {
            true => Box::pin(when_full(async move { Ok(router.answer(request).await) })),
            false => Box::pin(async move { Ok(router.answer(request).await) }),
        }
    }
}

/// The time a request is answered at.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
