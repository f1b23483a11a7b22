//! The port: TLS, then HTTP/1.1 or HTTP/2 for clients, or the tunnel of an agent.
//!
//! ```text
//! accept -> TLS handshake -> ALPN h2 ----------> HTTP/2 \
//!                         -> ALPN http/1.1, none > HTTP/1.1 (+ upgrades) > Router
//!                         -> ALPN mk8s-tunnel/1 -> Relay (the roles turn)
//!                         -> ALPN mk8s-cluster/1, mk8s-raft/1 -> Cluster (other servers)
//! ```

use std::{convert::Infallible, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{Body, Router, body::request_body};
use crate::{
    auth::Peer,
    cluster::{self, Cluster, RAFT, TALK},
};

/// What the port speaks, preferred first.
pub const ALPN: [&[u8]; 5] = [b"h2", b"http/1.1", TUNNEL, TALK, RAFT];

/// The protocol of an agent that dials in to be reached back.
pub const TUNNEL: &[u8] = b"mk8s-tunnel/1";

const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection that asks nothing for so long is closed, and so is one that takes so long to say a request's head.
/// Kubernetes waits as long for the next request.
const IDLE: Duration = Duration::from_secs(90);
/// How long requests under way may take once the server stops.
const DRAIN: Duration = Duration::from_millis(1500);

const STREAMS: u32 = 1000;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// What answers on the port.
#[derive(Clone)]
pub struct Port {
    pub router: Router,
    pub cluster: Cluster,
    /// Whether there is something to answer from. Before that clients wait; servers do not, for it comes from them.
    pub filled: watch::Receiver<bool>,
}

/// Serves connections until `stop`, then lets what is under way finish for a moment.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, port: Port, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = accept(listener, &stop, |stream, address| {
        connection(stream, address, acceptor.clone(), port.clone(), stop.clone())
    })
    .await;
    if timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        tracing::debug!(left = connections.len(), "connections were cut");
        connections.abort_all();
    }
}

/// Gives every connection to `serve` until `stop`, and closes the port.
///
/// # Returns
/// The connections that are still served.
pub(crate) async fn accept<S>(
    listener: TcpListener,
    stop: &CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> S,
) -> JoinSet<()>
where
    S: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return connections,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => drop(connections.spawn(serve(stream, address))),
                Err(error) => pause_after(&error).await,
            },
        }
    }
}

/// An accept that fails for want of descriptors would fail again at once.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Shakes hands, and serves whoever is another server of the cluster.
///
/// # Returns
/// The connection and who is at its other end, if it is a client's or a node's.
pub(crate) async fn greet(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: &TlsAcceptor,
    cluster: &Cluster,
) -> Option<(TlsStream<TcpStream>, Peer)> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %address, "TCP_NODELAY");
    }
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, %address, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%address, "TLS handshake took too long");
            return None;
        }
    };
    let (_, session) = stream.get_ref();
    let peer = Peer::new(Some(address), session.peer_certificates());
    match session.alpn_protocol() {
        Some(TALK) => cluster.serve(stream, &peer).await,
        Some(RAFT) => {
            cluster.end.run_until_cancelled(cluster::receive(cluster, stream, &peer)).await;
        }
        _ => return Some((stream, peer)),
    }
    None
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    port: Port,
    stop: CancellationToken,
) {
    let Port { router, cluster, mut filled } = port;
    // What a stage needs is given back before the next one begins: many connections are open for long and idle.
    let Some((stream, peer)) = Box::pin(greet(stream, address, &acceptor, &cluster)).await else { return };
    if !matches!(stop.run_until_cancelled(filled.wait_for(|filled| *filled)).await, Some(Ok(_))) {
        return;
    }
    let peer = Arc::new(peer);
    let (_, session) = stream.get_ref();
    let outcome = match session.alpn_protocol() {
        Some(TUNNEL) => {
            Box::pin(tunnel(stream, &peer, &router, stop)).await;
            Ok(())
        }
        Some(b"h2") => Box::pin(serve_http2(stream, peer, router, stop)).await,
        _ => Box::pin(serve_http1(stream, peer, router, stop)).await,
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, %address, "connection ended");
    }
}

async fn tunnel(stream: TlsStream<TcpStream>, peer: &Peer, router: &Router, stop: CancellationToken) {
    let Some(node) = peer.user.as_ref().and_then(|user| user.node_name()) else {
        return tracing::warn!(address = ?peer.addr, "a tunnel was refused: its certificate is no node's");
    };
    router.relay().carry(node, stream, stop).await;
}

/// Answers a request. The way to the answer is boxed, so that an answer that stays open, as a watch does, does not keep
/// the room it took to begin.
fn answer(
    request: Request<Incoming>,
    peer: Arc<Peer>,
    router: Router,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>> {
    let mut request = request.map(request_body);
    request.extensions_mut().insert(peer);
    Box::pin(async move { Ok(router.answer(request).await) })
}

async fn serve_http1(
    stream: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    router: Router,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(request, peer.clone(), router.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn serve_http2(
    stream: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    router: Router,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(request, peer.clone(), router.clone()));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(1 << 20)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
