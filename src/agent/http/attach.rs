//! `attach`: the streams of a container's own process. Only the runtime has them, so its streaming server is spoken to, as
//! a WebSocket client of v4; towards our client v5 differs from it by one message.

use super::{
    Answer, Parameters,
    channels::{self},
    socket::{self, Socket},
    target,
};
use crate::pod::{Pods, facts};
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use mk8s_api::status::Status;
use mk8s_cri::v1;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// Which streams are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

impl Wanted {
    pub(super) fn of(parameters: &Parameters) -> Result<Wanted, Status> {
        let wanted = Wanted {
            tty: parameters.flag("tty"),
            stdin: parameters.flag("input"),
            stdout: parameters.flag("output"),
            stderr: parameters.flag("error"),
        };
        match wanted.stdin || wanted.stdout || wanted.stderr {
            true => Ok(wanted),
            false => Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr")),
        }
    }
}

pub(super) async fn serve(
    pods: &Pods,
    namespace: &str,
    name: &str,
    container: &str,
    parameters: &Parameters,
    request: Request<Incoming>,
) -> Answer {
    let target = target::pod(pods, namespace, name).await?;
    let id = target.running(container)?.id.clone();
    let wanted = Wanted::of(parameters)?;
    // What the container was made with counts, not what the client believes.
    let tty = facts::container(&target.pod, container).is_some_and(|(_, container)| container.tty == Some(true));
    let ask = v1::AttachRequest {
        container_id: id,
        stdin: wanted.stdin,
        tty,
        stdout: wanted.stdout,
        stderr: wanted.stderr && !tty,
    };
    let url = pods.host().runtime.attach_url(ask).await;
    let url = url.map_err(|error| Status::internal(error.description()))?;
    relay(request, &url).await
}

/// Joins the client's socket with one to the runtime's streaming server.
pub(super) async fn relay(request: Request<Incoming>, url: &str) -> Answer {
    let behind = dial(url).await.map_err(|why| Status::internal(format!("error attaching to container: {why}")))?;
    socket::upgrade(request, &channels::PROTOCOLS, move |front, _| join(front, behind))
}

async fn dial(url: &str) -> Result<WebSocketStream<TcpStream>, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
    let authority = uri.authority().ok_or_else(|| format!("{url:?} names no host"))?;
    let at = (authority.host().to_owned(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
    let websocket = format!("ws://{authority}{}", uri.path_and_query().map_or("/", |path| path.as_str()));
    let mut ask = websocket.into_client_request().map_err(|error| error.to_string())?;
    ask.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v4.channel.k8s.io"));
    let (socket, _) = client_async(ask, stream).await.map_err(|error| error.to_string())?;
    Ok(socket)
}

async fn join(front: Socket, behind: WebSocketStream<TcpStream>) {
    let (mut to_client, mut from_client) = front.split();
    let (mut to_runtime, mut from_runtime) = behind.split();
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            let pass = match &message {
                // v4 has no way to say that a stream is closed.
                Message::Binary(data) => data.first() != Some(&255),
                Message::Text(_) => true,
                Message::Close(_) => break,
                _ => false,
            };
            if pass && to_runtime.send(message).await.is_err() {
                break;
            }
        }
        let _ = to_runtime.close().await;
    };
    let down = async {
        while let Some(Ok(message)) = from_runtime.next().await {
            let pass = matches!(message, Message::Binary(_) | Message::Text(_));
            if message.is_close() || pass && to_client.send(message).await.is_err() {
                break;
            }
        }
        let _ = to_client.close().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
