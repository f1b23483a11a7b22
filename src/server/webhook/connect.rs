//! The one way to a backend: resolve, dial, speak TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use mk8s_store::Store;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    endpoint::Place,
    resolve::{Address, Backend, resolve},
    trust,
};
use crate::relay::{Relay, dial::Wire};

/// How long a TCP connection may take, whatever the call may.
const DIAL: Duration = Duration::from_secs(30);

/// Why there is no connection; its text is what the caller reports.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotConnected(pub(super) String);

/// Opens connections to one backend.
#[derive(Clone)]
pub(super) struct Connector {
    store: Store,
    relay: Relay,
    place: Arc<Place>,
    tls: TlsConnector,
}

impl Connector {
    pub(super) fn new(store: Store, relay: Relay, place: Place, tls: Arc<rustls::ClientConfig>) -> Connector {
        Connector { store, relay, place: Arc::new(place), tls: TlsConnector::from(tls) }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, NotConnected> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_string();
        let backend = match &*self.place {
            Place::Url(_) => {
                Backend { address: Address::Name(host.clone(), uri.port_u16().unwrap_or(443)), node: None }
            }
            Place::Service(service) => {
                let view = self.store.view();
                resolve(&view, &service.namespace, &service.name, service.port)
                    .map_err(|why| NotConnected(why.to_string()))?
            }
        };
        let tcp = dial(&self.relay, &backend).await?;
        let name = ServerName::try_from(host.clone())
            .map_err(|_| NotConnected(format!("tls: {host:?} is no name that a certificate could have")))?;
        let stream = self.tls.connect(name, tcp).await.map_err(|error| NotConnected(trust::explain(&error, &host)))?;
        Ok(Stream(TokioIo::new(stream)))
    }
}

/// Opens a TCP connection to a backend. Pods are reached at their address, or through their nodes' tunnels.
async fn dial(relay: &Relay, backend: &Backend) -> Result<Wire, NotConnected> {
    let node = backend.node.as_deref();
    let (shown, connect) = match &backend.address {
        Address::Socket(address) => (address.to_string(), tokio::time::timeout(DIAL, relay.dial(*address, node)).await),
        Address::Name(name, port) => (format!("{name}:{port}"), tokio::time::timeout(DIAL, by_name(name, *port)).await),
    };
    let failed = |why: String| {
        tracing::debug!(address = shown, node, why, "a backend was not reached");
        NotConnected(format!("dial tcp {shown}: {why}"))
    };
    match connect {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(told(&error))),
        Err(_) => Err(failed("i/o timeout".into())),
    }
}

async fn by_name(name: &str, port: u16) -> io::Result<Wire> {
    let stream = TcpStream::connect((name, port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// What the system says, in the usual words.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        _ => error.to_string(),
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = NotConnected;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, NotConnected>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// An open connection, as the pool keeps it.
pub(super) struct Stream(TokioIo<TlsStream<Wire>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
