//! Reaching nodes and pods for clients: the agents' tunnels, and what is forwarded through them.
//!
//! An agent dials every server and then serves HTTP/2 on that connection, so any server reaches nodes behind any NAT.
//! Reading order: [`Relay`] (who is connected), [`pods`] (logs, exec, attach, port-forward), [`dial`] (connections to
//! pods), [`proxy`], [`upgrade`] (a WebSocket's bytes, or those of SPDY, through the tunnel).
//!
//! Invariant: the relay copies bytes; it speaks no protocol of exec or port-forward itself.
//! Invariant: a node's name comes from its certificate, never from what it says.

pub mod dial;
pub mod pods;
pub mod proxy;
mod secure;
#[cfg(test)]
mod tests;
mod upgrade;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http2, upgrade::OnUpgrade};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mk8s_api::status::Status;
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use self::dial::Outside;
use crate::{
    http::{
        Body, RequestBody,
        body::{BodyError, BoxError, request_body},
    },
    registry::Registry,
};

/// A silent agent is asked for a sign of life this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The longest error text of an agent that is passed on.
const ERROR_LIMIT: usize = 64 << 10;

/// The agents that are connected. Cheap to clone.
#[derive(Clone, Default)]
pub struct Relay(Arc<Tunnels>);

#[derive(Default)]
struct Tunnels {
    /// The newest last. An agent has a second one while it does not know yet that the first broke, or when it reaches this
    /// server by two addresses.
    by_node: RwLock<HashMap<String, Vec<Tunnel>>>,
    next: AtomicU64,
    outside: Outside,
}

#[derive(Clone)]
struct Tunnel {
    /// Tells a tunnel from others to the same node.
    id: u64,
    sender: http2::SendRequest<RequestBody>,
}

/// A request that is to be forwarded.
pub struct Relayed<'a> {
    pub relay: &'a Relay,
    pub registry: &'a Registry,
    pub namespace: &'a str,
    pub name: &'a str,
    pub plural: &'a str,
    pub subresource: &'a str,
    /// The path behind the subresource.
    pub rest: Option<&'a str>,
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub upgrade: Option<OnUpgrade>,
}

impl Relay {
    /// Keeps an agent's connection until it ends or `stop`; meanwhile its node can be reached.
    pub async fn carry<S>(&self, node: &str, stream: S, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(KEEP_ALIVE))
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = match handshake {
            Ok(both) => both,
            Err(error) => return tracing::warn!(node, %error, "the tunnel could not be opened"),
        };
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.by_node.write().entry(node.to_string()).or_default().push(Tunnel { id, sender });
        tracing::info!(node, "tunnel open");
        if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
            tracing::debug!(node, %error, "tunnel broke");
        }
        let mut by_node = self.0.by_node.write();
        if let Some(tunnels) = by_node.get_mut(node) {
            tunnels.retain(|tunnel| tunnel.id != id);
            if tunnels.is_empty() {
                by_node.remove(node);
            }
        }
        tracing::info!(node, "tunnel closed");
    }

    /// Whether a node can be reached now.
    pub fn reaches(&self, node: &str) -> bool {
        self.0.by_node.read().contains_key(node)
    }

    /// The nodes that can be reached now.
    pub fn nodes(&self) -> Vec<String> {
        self.0.by_node.read().keys().cloned().collect()
    }

    /// Sends a request to a node's agent.
    pub async fn send(&self, node: &str, request: Request<RequestBody>) -> Result<Response<Incoming>, Status> {
        // The newest, unless it is known to have ended.
        let choose = |tunnels: &Vec<Tunnel>| {
            let open = tunnels.iter().rev().find(|tunnel| !tunnel.sender.is_closed());
            open.or(tunnels.last()).cloned()
        };
        let tunnel = self.0.by_node.read().get(node).and_then(choose);
        let Some(mut tunnel) = tunnel else {
            return Err(Status::failure(
                500,
                "InternalError",
                format!("error dialing backend: no tunnel to node {node:?} is open; is its agent running?"),
            ));
        };
        let failed = |error: hyper::Error| {
            Status::failure(
                500,
                "InternalError",
                format!("error dialing backend: the tunnel to node {node:?} failed: {error}"),
            )
        };
        tunnel.sender.ready().await.map_err(failed)?;
        tunnel.sender.send_request(request).await.map_err(failed)
    }
}

/// An empty request body.
fn no_body() -> RequestBody {
    request_body(http_body_util::Empty::<Bytes>::new())
}

/// The answer of a backend as ours, its body passed on as it comes.
pub(crate) fn pass_on(response: Response<Incoming>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    let stream = body.into_data_stream();
    Response::from_parts(
        parts,
        Body::stream(futures::StreamExt::map(stream, |piece| {
            piece.map_err(|error| BodyError::from(BoxError::from(error)))
        })),
    )
}

/// Headers that concern one connection only.
pub(crate) const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The Status of an agent that refused: its own if it sent one, otherwise its text.
async fn refusal(response: Response<Incoming>) -> Status {
    let code = response.status().as_u16();
    let mut text = Vec::new();
    let mut body = response.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            text.extend_from_slice(&data);
        }
        if text.len() > ERROR_LIMIT {
            break;
        }
    }
    let status: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    match status.filter(|status| status["kind"] == "Status") {
        Some(status) => {
            let text = |field: &str| status[field].as_str().unwrap_or_default().to_string();
            Status::failure(code, text("reason"), text("message"))
        }
        None => {
            let reason = match code {
                400 => "BadRequest",
                404 => "NotFound",
                _ => "InternalError",
            };
            Status::failure(code, reason, String::from_utf8_lossy(&text).trim().to_string())
        }
    }
}

/// A path segment as it may stand in a URI.
fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
