//! Connections that stop being HTTP: the streams of a process, and ports.
//!
//! A WebSocket is asked for first, as kubectl does; servers too old for what is then spoken are asked for SPDY.
//!
//! `process.rs` has the streams of a process, `channels.rs` these over a WebSocket; `spdy.rs` has streams over either kind
//! of connection.

pub(crate) mod channels;
pub(crate) mod process;
pub(crate) mod spdy;

use crate::{failure::Failure, remote::Remote};
use anyhow::{Result, anyhow};
use base64::Engine;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::Value;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why a connection was not upgraded.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The server answered, but not with an upgrade.
    Answer(anyhow::Error),
    /// No answer.
    Unreachable(anyhow::Error),
}

impl Refused {
    pub(crate) fn into_error(self) -> anyhow::Error {
        match self {
            Refused::Answer(error) | Refused::Unreachable(error) => error,
        }
    }
}

/// A WebSocket at `path` and the protocol the server chose.
pub(crate) async fn websocket(remote: &Remote, path: &str, protocols: &[&str]) -> Result<(Socket, String), Refused> {
    let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
    let headers = [
        (header::CONNECTION.as_str(), "Upgrade"),
        (header::UPGRADE.as_str(), "websocket"),
        (header::SEC_WEBSOCKET_VERSION.as_str(), "13"),
        (header::SEC_WEBSOCKET_KEY.as_str(), &key),
        (header::SEC_WEBSOCKET_PROTOCOL.as_str(), &protocols.join(", ")),
    ];
    let answer = ask(remote, Method::GET, path, &headers).await?;
    let accepted = answer
        .headers()
        .get(header::SEC_WEBSOCKET_ACCEPT)
        .is_some_and(|value| value == &derive_accept_key(key.as_bytes()));
    if !accepted {
        return Err(Refused::Answer(anyhow!("unable to upgrade connection: the WebSocket key was not accepted")));
    }
    let protocol = text(answer.headers(), header::SEC_WEBSOCKET_PROTOCOL.as_str()).to_owned();
    if !protocols.contains(&protocol.as_str()) {
        return Err(Refused::Answer(anyhow!(
            "unable to upgrade connection: invalid protocol, expected {protocols:?}, got {protocol:?}"
        )));
    }
    let stream = upgraded(answer).await?;
    Ok((WebSocketStream::from_raw_socket(stream, Role::Client, None).await, protocol))
}

/// A connection on which SPDY/3.1 is spoken, and the protocol the server chose.
pub(crate) async fn plain_spdy(remote: &Remote, path: &str, protocol: &str) -> Result<TokioIo<Upgraded>, Refused> {
    let headers = [
        (header::CONNECTION.as_str(), "Upgrade"),
        (header::UPGRADE.as_str(), "SPDY/3.1"),
        ("x-stream-protocol-version", protocol),
    ];
    let answer = ask(remote, Method::POST, path, &headers).await?;
    let chosen = text(answer.headers(), "x-stream-protocol-version");
    if !chosen.is_empty() && chosen != protocol {
        let why = format!("unable to negotiate protocol: client supports {protocol:?}, server returned {chosen:?}");
        return Err(Refused::Answer(anyhow!(why)));
    }
    upgraded(answer).await
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn ask(remote: &Remote, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, Refused> {
    let wrong =
        |error: http::Error| Refused::Unreachable(anyhow!("the request to {path:?} is not a valid one: {error}"));
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).map_err(wrong)?;
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).map_err(|error| wrong(error.into()))?;
        request.headers_mut().insert(name, HeaderValue::from_str(value).map_err(|error| wrong(error.into()))?);
    }
    let answer = remote.client.send(request).await.map_err(|error| Refused::Unreachable(remote.unreachable(&error)))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer);
    }
    let code = answer.status();
    let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(Refused::Answer(refusal(code, &body)))
}

/// The server's words when they are a Status; otherwise what kubectl says around them.
fn refusal(code: StatusCode, body: &[u8]) -> anyhow::Error {
    match serde_json::from_slice::<Value>(body) {
        Ok(status) if status["kind"] == "Status" => Failure::Api(status).into(),
        _ if body.is_empty() => anyhow!("unable to upgrade connection: {code}"),
        _ => anyhow!("unable to upgrade connection: {}", String::from_utf8_lossy(body).trim_end()),
    }
}

async fn upgraded(answer: Response<Body>) -> Result<TokioIo<Upgraded>, Refused> {
    let upgraded = hyper::upgrade::on(answer).await;
    upgraded.map(TokioIo::new).map_err(|error| Refused::Unreachable(anyhow!("unable to upgrade connection: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_worded_as_kubectls() {
        let cases = [
            (
                r#"{"kind":"Status","reason":"NotFound","message":"pods \"x\" not found"}"#,
                "Error from server (NotFound): pods \"x\" not found",
            ),
            ("container not found (\"c\")\n", "error: unable to upgrade connection: container not found (\"c\")"),
            ("", "error: unable to upgrade connection: 500 Internal Server Error"),
        ];
        for (body, expected) in cases {
            let error = refusal(StatusCode::INTERNAL_SERVER_ERROR, body.as_bytes());
            assert_eq!(crate::failure::tell(&error).0, expected);
        }
    }
}
