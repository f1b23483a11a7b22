//! A connection to whichever server answers.

use super::Servers;
use crate::connect::SERVER_NAME;
use futures::{StreamExt, stream::FuturesUnordered};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A server that has not answered by then is waited for no longer alone.
const STAGGER: Duration = Duration::from_millis(300);
/// How long a server may take to answer at all.
const DIAL: Duration = Duration::from_secs(10);

/// Opens a TLS connection to the server at `host:port`.
///
/// # Errors
/// That of the network, or that of TLS inside one of kind `InvalidData`.
pub async fn open(address: &str, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let opened = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(SERVER_NAME).expect("it is a host name");
        TlsConnector::from(tls).connect(name, stream).await
    };
    let silent = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer"));
    tokio::time::timeout(DIAL, opened).await.map_err(silent)?
}

/// The connections of one client.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) servers: Servers,
    pub(crate) tls: Arc<ClientConfig>,
}

impl Connector {
    /// Asks one server after the other, the next one when the last has refused or is slow.
    async fn dial(self) -> io::Result<Line> {
        let mut waiting = self.servers.order().into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut failure = io::Error::other("no server is known");
        loop {
            if let Some(address) = waiting.next() {
                let tls = self.tls.clone();
                attempts.push(async move { (open(&address, tls).await, address) });
            }
            let patience = if waiting.len() == 0 { DIAL * 2 } else { STAGGER };
            match tokio::time::timeout(patience, attempts.next()).await {
                Err(_) => {}
                Ok(None) => return Err(failure),
                Ok(Some((Ok(stream), address))) => {
                    self.servers.reached(&address);
                    return Ok(Line(TokioIo::new(stream)));
                }
                Ok(Some((Err(error), address))) => {
                    tracing::debug!(address, %error, "a server was not reached");
                    self.servers.missed(&address);
                    failure = error;
                }
            }
        }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Line;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Line>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}

/// An open connection, as the pool keeps it.
pub(crate) struct Line(TokioIo<TlsStream<TcpStream>>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new().negotiated_h2()
    }
}

impl Read for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
