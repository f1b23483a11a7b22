//! Calls over connections that are kept.

use std::{collections::HashMap, error::Error as _, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use mk8s_store::Store;
use parking_lot::RwLock;

use super::{
    connect::{Connector, NotConnected},
    endpoint::Endpoint,
    error::{CallError, refusal},
    trust,
};
use crate::{
    http::{RequestBody, body::request_body},
    relay::Relay,
};

/// The most that is read of an answer.
pub const ANSWER_LIMIT: usize = 64 << 20;
/// How much is read of an answer that is no success.
const REFUSAL_LIMIT: usize = 64 << 10;
/// How many backends connections are kept to.
const BACKENDS: usize = 200;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS: usize = 32;

type Http = legacy::Client<Connector, RequestBody>;

/// Calls backends. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    store: Store,
    relay: Relay,
    by_endpoint: RwLock<HashMap<Endpoint, Http>>,
}

impl Client {
    /// Services are looked up in `store`, their pods reached by `relay`.
    pub fn new(store: Store, relay: Relay) -> Client {
        Client(Arc::new(Shared { store, relay, by_endpoint: RwLock::default() }))
    }

    /// Posts a JSON document to the endpoint's path; the document that it answers.
    pub async fn post(&self, endpoint: &Endpoint, document: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        let url = format!("{}{}?timeout={}s", endpoint.origin(), endpoint.path(), timeout.as_secs());
        let headers =
            HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"))]);
        self.post_to(endpoint, url, headers, document, ANSWER_LIMIT, timeout).await
    }

    /// As [`Client::post`], at the endpoint's own path and query, with headers of the caller's; at most `limit` bytes are
    /// read of the answer.
    pub async fn post_with(
        &self,
        endpoint: &Endpoint,
        headers: HeaderMap,
        document: Bytes,
        limit: usize,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let url = format!("{}{}", endpoint.origin(), endpoint.path());
        self.post_to(endpoint, url, headers, document, limit, timeout).await
    }

    async fn post_to(
        &self,
        endpoint: &Endpoint,
        url: String,
        headers: HeaderMap,
        document: Bytes,
        limit: usize,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let mut request = Request::new(request_body(Full::new(document)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = parse(&url)?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json, */*"));
        let call = async {
            let response = self.exchange(endpoint, request, "Post", &url).await?;
            let code = response.status();
            let retry = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            let limit = if code.is_success() { limit } else { REFUSAL_LIMIT };
            let read = read(response.into_body(), limit, "Post", &url).await;
            match code.is_success() {
                true => read,
                false => Err(refusal(code.as_u16(), retry, &read.unwrap_or_default())),
            }
        };
        match tokio::time::timeout(timeout, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Timeout { method: "Post", url }),
        }
    }

    /// Sends a request to the endpoint's host, at the request's own path; the answer is passed on as it comes.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, CallError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", endpoint.origin());
        *request.uri_mut() = parse(&url)?;
        let method = match *request.method() {
            Method::GET => "Get",
            Method::POST => "Post",
            Method::PUT => "Put",
            Method::PATCH => "Patch",
            Method::DELETE => "Delete",
            _ => "Send",
        };
        self.exchange(endpoint, request, method, &url).await
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: Request<RequestBody>,
        method: &'static str,
        url: &str,
    ) -> Result<Response<Incoming>, CallError> {
        let sent = self.http(endpoint)?.request(request).await;
        sent.map_err(|error| CallError::Transport { method, url: url.to_string(), why: reason(&error) })
    }

    /// The connections to an endpoint.
    fn http(&self, endpoint: &Endpoint) -> Result<Http, CallError> {
        if let Some(known) = self.0.by_endpoint.read().get(endpoint) {
            return Ok(known.clone());
        }
        let tls = Arc::new(trust::config(endpoint)?);
        let connector = Connector::new(self.0.store.clone(), self.0.relay.clone(), endpoint.place.clone(), tls);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        let mut by_endpoint = self.0.by_endpoint.write();
        if by_endpoint.len() >= BACKENDS {
            by_endpoint.clear();
        }
        Ok(by_endpoint.entry(endpoint.clone()).or_insert(http).clone())
    }
}

fn parse(url: &str) -> Result<Uri, CallError> {
    url.parse().map_err(|error| CallError::Configuration(format!("parse {url:?}: {error}")))
}

/// The innermost reason, which is what went wrong.
fn reason(error: &legacy::Error) -> String {
    let mut source = error.source();
    let mut last = error.to_string();
    while let Some(inner) = source {
        if let Some(why) = inner.downcast_ref::<NotConnected>() {
            return why.to_string();
        }
        last = inner.to_string();
        source = inner.source();
    }
    let cut = ["connection closed before message completed", "without sending TLS close_notify"];
    if cut.iter().any(|words| last.contains(words)) { "EOF".into() } else { last }
}

async fn read(mut body: Incoming, limit: usize, method: &'static str, url: &str) -> Result<Bytes, CallError> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| CallError::Transport { method, url: url.to_string(), why: error.to_string() })?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > limit {
            return Err(CallError::TooLarge { url: url.to_string(), limit });
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}
