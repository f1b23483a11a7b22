//! A connection whose bytes travel in the bodies of a request and its answer: a WebSocket that is spoken here, or SPDY, which
//! goes on to the runtime.

use super::{Answer, BoxError, spdy};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use mk8s_api::status::Status;
use std::future::Future;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_stream::StreamExt;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use tokio_util::io::ReaderStream;

const UPGRADE: HeaderName = HeaderName::from_static("x-mk8s-upgrade");
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const BUFFER: usize = 64 << 10;

pub(super) type Socket = WebSocketStream<DuplexStream>;

/// Answers an upgrade with the best protocol that both know, and hands the socket to `talk`.
pub(super) fn upgrade<F>(
    request: Request<Incoming>,
    known: &[&'static str],
    talk: impl FnOnce(Socket, &'static str) -> F + Send + 'static,
) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    let is_websocket = request.headers().get(UPGRADE).is_some_and(|value| value == "websocket");
    if !is_websocket {
        return Err(Status::bad_request("unable to upgrade: only WebSocket is spoken here"));
    }
    let protocol = choose(request.headers(), known)?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    // The handshake has been done by the server.
    tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        talk(socket, protocol).await;
    });
    let mut answer = carry(request, theirs);
    if !protocol.is_empty() {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(answer)
}

/// Whether the client speaks SPDY.
pub(super) fn is_spdy(request: &Request<Incoming>) -> bool {
    request.headers().get(UPGRADE).is_some_and(|value| value == "spdy")
}

/// Joins a client that speaks SPDY with the runtime's streaming server at `url`, which speaks every version of it: which
/// one, they find out themselves.
pub(super) async fn pass_through(request: Request<Incoming>, url: &str) -> Answer {
    let offered: Vec<HeaderValue> = request.headers().get_all(STREAM_PROTOCOL).iter().cloned().collect();
    let (behind, chosen) = spdy::dial(url, &offered).await.map_err(Status::internal)?;
    let mut answer = carry(request, behind);
    if let Some(chosen) = chosen {
        answer.headers_mut().insert(STREAM_PROTOCOL, chosen);
    }
    Ok(answer)
}

/// The body of the request goes into the stream, and what comes out of it is the body of the answer.
fn carry(request: Request<Incoming>, stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Response<super::Body> {
    let (reader, writer) = tokio::io::split(stream);
    tokio::spawn(feed(request.into_body(), writer));
    let pieces =
        ReaderStream::with_capacity(reader, BUFFER).map(|piece| piece.map(Frame::data).map_err(BoxError::from));
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

/// Copies the client's bytes into the stream.
async fn feed(mut body: Incoming, mut writer: impl AsyncWrite + Unpin) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data): Result<Bytes, _> = frame.into_data() else { continue };
        if writer.write_all(&data).await.is_err() {
            return;
        }
    }
    // The client is gone; the other end sees it.
    let _ = writer.shutdown().await;
}

fn choose(headers: &HeaderMap, known: &[&'static str]) -> Result<&'static str, Status> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> =
        offered.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty()).collect();
    if offered.is_empty() {
        return Ok("");
    }
    let best = known.iter().find(|protocol| offered.contains(protocol));
    best.copied().ok_or_else(|| {
        Status::bad_request(format!(
            "unable to upgrade: none of the protocols {offered:?} is spoken here, only {known:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_common_protocol_is_chosen() {
        let known = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
        let choose = |offer: Option<&'static str>| {
            let pairs = offer.map(|offer| (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer)));
            choose(&pairs.into_iter().collect(), &known).ok()
        };
        assert_eq!(choose(None), Some(""));
        assert_eq!(choose(Some("v4.channel.k8s.io, v5.channel.k8s.io")), Some("v5.channel.k8s.io"));
        assert_eq!(choose(Some("v4.channel.k8s.io")), Some("v4.channel.k8s.io"));
        assert_eq!(choose(Some("soap")), None);
    }
}
