//! Connections to pods. A server beside a node is in their network and dials them; one without asks the pod's node, through
//! its tunnel.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, WriteHalf},
    net::TcpStream,
};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Relay, refusal};
use crate::http::body::{BodyError, BoxError};

/// How much waits in a connection through a node.
const BUFFER: usize = 64 << 10;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a pod, whatever leads there.
pub type Wire = Box<dyn Duplex>;

/// Whether this server has no way of its own to pods.
#[derive(Default)]
pub(super) struct Outside(AtomicBool);

impl Relay {
    /// From now on pods are reached through their nodes only.
    pub fn go_through_nodes(&self) {
        self.0.outside.0.store(true, Ordering::Relaxed);
    }

    /// Connects to an address; `node` is the one that it is on, if that is known.
    pub async fn dial(&self, address: SocketAddr, node: Option<&str>) -> io::Result<Wire> {
        match node.filter(|_| self.0.outside.0.load(Ordering::Relaxed)) {
            Some(node) => self.through(node, address).await.map(|stream| Box::new(stream) as Wire),
            None => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }

    async fn through(&self, node: &str, address: SocketAddr) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(BUFFER);
        let (reader, writer) = tokio::io::split(far);
        let pieces = ReaderStream::with_capacity(reader, BUFFER);
        let body = StreamBody::new(
            pieces.map(|piece| piece.map(Frame::data).map_err(|error| BodyError::from(BoxError::from(error)))),
        );
        let mut request = Request::new(body.boxed_unsync());
        *request.method_mut() = Method::POST;
        let uri = format!("http://node/dial/{}/{}", address.ip(), address.port());
        *request.uri_mut() = uri.parse().map_err(io::Error::other)?;
        let response = self.send(node, request).await.map_err(|status| io::Error::other(status.message))?;
        if !response.status().is_success() {
            let why = refusal(response).await.message;
            let shown = format!("dial tcp {address}: ");
            return Err(io::Error::other(why.strip_prefix(&shown).unwrap_or(&why).to_owned()));
        }
        tokio::spawn(feed(response.into_body(), writer));
        Ok(near)
    }
}

async fn feed(body: Incoming, mut writer: WriteHalf<DuplexStream>) {
    let mut reader = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    let copied = tokio::io::copy_buf(&mut reader, &mut writer).await;
    if let Err(error) = copied.and(writer.shutdown().await) {
        tracing::trace!(%error, "a connection through a node broke");
    }
}
