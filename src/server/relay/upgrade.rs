//! A client's WebSocket through a tunnel: the handshake is answered here, the frames are the agent's.
//!
//! ```text
//! client -- GET, Upgrade: websocket --> server -- POST, x-mk8s-upgrade: websocket --> agent
//!        <-- 101 ----------------------        <-- 200, sec-websocket-protocol ------
//!        == raw bytes =================        == body of request, body of answer ===
//! ```

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Incoming, upgrade::{OnUpgrade, Upgraded}};
use hyper_util::rt::TokioIo;
use mk8s_api::status::Status;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{Relay, refusal};
use crate::http::{Body, RequestBody, body::BodyError};

const UPGRADE: HeaderName = HeaderName::from_static("x-mk8s-upgrade");
/// The largest piece that is copied at once.
const PIECE: usize = 32 << 10;

/// What a client's WebSocket handshake says.
pub(super) struct Handshake {
    key: HeaderValue,
    protocols: Option<HeaderValue>,
}

impl Handshake {
    /// Whether the client asks for a WebSocket where it need not.
    pub(super) fn offered(headers: &HeaderMap) -> bool {
        headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }

    pub(super) fn read(headers: &HeaderMap) -> Result<Handshake, Status> {
        let has = |name: HeaderName, word: &str| {
            let values = headers.get_all(name);
            values
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|v| v.trim().eq_ignore_ascii_case(word))
        };
        if !has(header::CONNECTION, "upgrade") || !headers.contains_key(header::UPGRADE) {
            return Err(Status::bad_request("Upgrade request required"));
        }
        if !has(header::UPGRADE, "websocket") {
            return Err(Status::bad_request(
                "unable to upgrade: this server upgrades to WebSocket only; use a client that speaks it (kubectl 1.31 and later do)",
            ));
        }
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .cloned()
            .ok_or_else(|| Status::bad_request("unable to upgrade: the header Sec-WebSocket-Key is missing"))?;
        // Several headers of this name mean the same as one with commas.
        let offered: Vec<&str> =
            headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok()).collect();
        let protocols = match offered.is_empty() {
            true => None,
            false => HeaderValue::from_str(&offered.join(", ")).ok(),
        };
        Ok(Handshake { key, protocols })
    }

    fn accept(&self) -> String {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(self.key.as_bytes());
        hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        STANDARD.encode(hash.finish())
    }
}

/// Opens the agent's end, then the client's, and joins them in the background.
pub(super) async fn splice(
    relay: &Relay,
    node: &str,
    request: Request<RequestBody>,
    handshake: Handshake,
    client: Option<OnUpgrade>,
) -> Result<Response<Body>, Status> {
    let client = client.ok_or_else(cannot_upgrade)?;
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    let (mut parts, _) = request.into_parts();
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(protocols) = &handshake.protocols {
        parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols.clone());
    }
    let body = StreamBody::new(ReceiverStream::new(receiver).map(|bytes| Ok::<_, BodyError>(Frame::data(bytes))));
    let response = relay.send(node, Request::from_parts(parts, body.boxed_unsync())).await?;
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
    tokio::spawn(copy(client, sender, response.into_body()));
    switching(&handshake, chosen)
}

/// Sends what the agent answers as binary messages: for clients that read a log over a WebSocket.
pub(super) fn messages(
    answer: Response<Incoming>,
    handshake: &Handshake,
    client: Option<OnUpgrade>,
) -> Result<Response<Body>, Status> {
    const BINARY: &str = "binary.k8s.io";
    let client = client.ok_or_else(cannot_upgrade)?;
    let offered = handshake.protocols.as_ref().and_then(|value| value.to_str().ok());
    let chosen = match offered {
        None => None,
        Some(offered) if offered.split(',').any(|word| word.trim() == BINARY) => Some(HeaderValue::from_static(BINARY)),
        Some(offered) => {
            return Err(Status::bad_request(format!("unable to upgrade: a log is sent as {BINARY}, not as {offered}")));
        }
    };
    tokio::spawn(send(client, answer.into_body()));
    switching(handshake, chosen)
}

async fn send(client: OnUpgrade, mut body: Incoming) {
    let Some(upgraded) = upgraded(client).await else { return };
    let (mut sink, mut stream) = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await.split();
    let sending = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if sink.send(Message::Binary(data)).await.is_err() {
                return;
            }
        }
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if let Err(error) = sink.send(Message::Close(Some(goodbye))).await {
            tracing::trace!(%error, "the client was gone already");
        }
    };
    // Nothing that it says matters, but that it is gone.
    let gone = async { while let Some(Ok(_)) = stream.next().await {} };
    tokio::select! {
        () = sending => {}
        () = gone => {}
    }
}

/// The client's connection once it has switched protocols.
async fn upgraded(client: OnUpgrade) -> Option<TokioIo<Upgraded>> {
    match client.await {
        Ok(upgraded) => Some(TokioIo::new(upgraded)),
        Err(error) => {
            tracing::debug!(%error, "the client did not upgrade");
            None
        }
    }
}

fn cannot_upgrade() -> Status {
    Status::bad_request("unable to upgrade: the connection cannot be upgraded; use HTTP/1.1")
}

fn switching(handshake: &Handshake, chosen: Option<HeaderValue>) -> Result<Response<Body>, Status> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&handshake.accept()).map_err(Status::internal)?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(chosen) = chosen {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    Ok(answer)
}

/// Copies both ways until the agent has said all it has to say, or the client is gone.
async fn copy(client: OnUpgrade, to_agent: mpsc::Sender<Bytes>, mut from_agent: Incoming) {
    let Some(upgraded) = upgraded(client).await else { return };
    let (mut reader, mut writer) = tokio::io::split(upgraded);
    let upstream = async move {
        let mut buffer = bytes::BytesMut::with_capacity(PIECE);
        loop {
            buffer.reserve(PIECE);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) if to_agent.send(buffer.split().freeze()).await.is_err() => return,
                Ok(_) => {}
            }
        }
    };
    let downstream = async move {
        while let Some(Ok(frame)) = from_agent.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            if writer.write_all(&data).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        if let Err(error) = writer.shutdown().await {
            tracing::trace!(%error, "the client was gone already");
        }
    };
    let upstream = tokio::spawn(upstream);
    downstream.await;
    upstream.abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_read() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let headers =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            Handshake::read(&headers.collect()).map(|handshake| handshake.accept()).map_err(|status| status.message)
        };
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(
            read(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), key]),
            Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())
        );
        assert_eq!(read(&[key]), Err("Upgrade request required".into()));
        assert!(
            read(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")])
                .is_err_and(|why| why.contains("WebSocket only"))
        );
    }
}
