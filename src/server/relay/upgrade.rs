//! A client's WebSocket or SPDY connection through a tunnel: the handshake is answered here, the frames are for the agent.
//!
//! ```text
//! client -- GET, Upgrade: websocket --> server -- POST, x-mk8s-upgrade: websocket --> agent
//!        <-- 101 ----------------------        <-- 200, sec-websocket-protocol ------
//!        == raw bytes =================        == body of request, body of answer ===
//! ```
//!
//! With `SPDY/3.1` it is the same, but for the header in which protocols of the streams are agreed on:
//! `x-stream-protocol-version`.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
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

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What a client wants to switch to.
enum Way {
    WebSocket {
        key: HeaderValue,
    },
    /// What clients spoke before, and many libraries still do.
    Spdy,
}

/// What a client's handshake says.
pub(super) struct Handshake {
    way: Way,
    /// The protocols that the client speaks, the best first.
    protocols: Vec<HeaderValue>,
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
        let all = |name: HeaderName| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        if has(header::UPGRADE, "SPDY/3.1") {
            return Ok(Handshake { way: Way::Spdy, protocols: all(STREAM_PROTOCOL) });
        }
        if !has(header::UPGRADE, "websocket") {
            return Err(Status::bad_request("unable to upgrade: this server upgrades to WebSocket and SPDY/3.1 only"));
        }
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .cloned()
            .ok_or_else(|| Status::bad_request("unable to upgrade: the header Sec-WebSocket-Key is missing"))?;
        Ok(Handshake { way: Way::WebSocket { key }, protocols: all(header::SEC_WEBSOCKET_PROTOCOL) })
    }

    /// The header in which protocols are offered and chosen.
    fn protocol_header(&self) -> HeaderName {
        match self.way {
            Way::WebSocket { .. } => header::SEC_WEBSOCKET_PROTOCOL,
            Way::Spdy => STREAM_PROTOCOL,
        }
    }

    /// What tells the agent how its bytes are meant.
    fn asked(&self) -> HeaderValue {
        HeaderValue::from_static(match self.way {
            Way::WebSocket { .. } => "websocket",
            Way::Spdy => "spdy",
        })
    }
}

/// The proof that a handshake for a WebSocket was understood.
fn accept(key: &HeaderValue) -> String {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finish())
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
    parts.headers.insert(UPGRADE, handshake.asked());
    for protocol in &handshake.protocols {
        parts.headers.append(handshake.protocol_header(), protocol.clone());
    }
    let body = StreamBody::new(ReceiverStream::new(receiver).map(|bytes| Ok::<_, BodyError>(Frame::data(bytes))));
    let response = relay.send(node, Request::from_parts(parts, body.boxed_unsync())).await?;
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    let chosen = response.headers().get(handshake.protocol_header()).cloned();
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
    let offered: Vec<&str> = handshake.protocols.iter().filter_map(|value| value.to_str().ok()).collect();
    let is_binary = |value: &&str| value.split(',').any(|word| word.trim() == BINARY);
    let chosen = match offered.is_empty() {
        true => None,
        false if offered.iter().any(is_binary) => Some(HeaderValue::from_static(BINARY)),
        false => {
            let offered = offered.join(", ");
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
    match &handshake.way {
        Way::WebSocket { key } => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            let accept = HeaderValue::from_str(&accept(key)).map_err(Status::internal)?;
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        Way::Spdy => drop(headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"))),
    }
    if let Some(chosen) = chosen {
        headers.insert(handshake.protocol_header(), chosen);
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
        let read = |pairs: &[(&'static str, &'static str)]| -> Result<String, String> {
            let headers =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let read = Handshake::read(&headers.collect()).map_err(|status| status.message)?;
            Ok(match &read.way {
                Way::WebSocket { key } => accept(key),
                Way::Spdy => format!("SPDY {:?}", read.protocols),
            })
        };
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(
            read(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), key]),
            Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())
        );
        assert_eq!(read(&[key]), Err("Upgrade request required".into()));
        let spdy = ("upgrade", "spdy/3.1");
        let (four, three) =
            (("x-stream-protocol-version", "v4.channel.k8s.io"), ("x-stream-protocol-version", "v3.channel.k8s.io"));
        assert_eq!(
            read(&[("connection", "Upgrade"), spdy, four, three]),
            Ok(r#"SPDY ["v4.channel.k8s.io", "v3.channel.k8s.io"]"#.into())
        );
        assert_eq!(read(&[("connection", "Upgrade"), spdy]), Ok("SPDY []".into()));
        assert!(read(&[("connection", "Upgrade"), ("upgrade", "h2c")]).is_err_and(|why| why.contains("SPDY/3.1 only")));
    }
}
