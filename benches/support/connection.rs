//! One HTTP/1.1 connection over TLS, as cheap as it can be: the client shares the machine with what it measures.

use crate::target::Target;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const JSON: &str = "application/json";
/// Whoever sends it wants it back.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A request.
pub(crate) struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path, JSON, "")
    }

    pub(crate) fn delete(path: impl Into<String>) -> Call {
        Call::new(Method::DELETE, path, JSON, "")
    }

    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call::new(Method::POST, path, JSON, body)
    }

    pub(crate) fn patch(path: impl Into<String>, content_type: &'static str, body: impl Into<Bytes>) -> Call {
        Call::new(Method::PATCH, path, content_type, body)
    }

    pub(crate) fn new(
        method: Method,
        path: impl Into<String>,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Call {
        Call { method, path: path.into(), content_type, body: body.into() }
    }
}

/// See the module.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> anyhow::Result<Connection> {
        let socket = TcpStream::connect((target.host.trim_matches(['[', ']']), target.port)).await?;
        socket.set_nodelay(true)?;
        let stream = TlsConnector::from(target.tls.clone()).connect(target.name.clone(), socket).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Its error is the request's error.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, target: target.clone() })
    }

    /// Sends a request, over a new connection if the server has closed this one; the answer's body is still to be read.
    pub(crate) async fn send(&mut self, call: Call) -> anyhow::Result<Response<Incoming>> {
        if self.sender.is_closed() {
            *self = Connection::open(&self.target.clone()).await?;
        }
        let request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header("host", &self.target.host)
            .header("content-type", call.content_type)
            .header("accept", if call.content_type == PROTOBUF { PROTOBUF } else { JSON })
            .body(Full::new(call.body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request and reads the whole answer; any other status than those expected is an error.
    pub(crate) async fn expect(&mut self, call: Call, expected: &[u16]) -> anyhow::Result<()> {
        let path = call.path.clone();
        let answer = self.send(call).await?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref()
                && !expected.contains(&status)
            {
                text.extend_from_slice(data);
            }
        }
        anyhow::ensure!(expected.contains(&status), "{path}: {status}: {}", String::from_utf8_lossy(&text));
        Ok(())
    }
}
