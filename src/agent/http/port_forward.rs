//! `portForward`: connections to ports of a pod.
//!
//! Ways of the same name: kubectl speaks SPDY, bare or inside a WebSocket, which the runtime's streaming server understands, so
//! its bytes are passed on; other clients speak `v4.channel.k8s.io` with two channels a port, which is done here.

use super::{
    Answer, Parameters, channels, network,
    socket::{self, Socket},
    spdy, target,
};
use crate::pod::{Pods, facts};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use mk8s_api::status::Status;
use std::{collections::HashMap, path::PathBuf};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

const TUNNELED: &str = "SPDY/3.1+portforward.k8s.io";
const PIECE: usize = 32 << 10;

pub(super) async fn serve(
    pods: &Pods,
    namespace: &str,
    name: &str,
    parameters: &Parameters,
    request: Request<Incoming>,
) -> Answer {
    let target = target::pod(pods, namespace, name).await?;
    let gone = || {
        Status::failure(
            500,
            "InternalError",
            format!("unable to forward port because pod is not running. Current status={}", facts::phase(&target.pod)),
        )
    };
    let sandbox = target.view.ready_sandbox().ok_or_else(gone)?.id.clone();
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let tunneled = offered.filter_map(|value| value.to_str().ok()).any(|value| value.contains(TUNNELED));
    if tunneled || socket::is_spdy(&request) {
        let url = pods.host().runtime.port_forward_url(&sandbox).await;
        let url = url.map_err(|error| Status::internal(error.description()))?;
        if socket::is_spdy(&request) {
            return socket::pass_through(request, &url).await;
        }
        let behind = spdy::dial(&url, &[HeaderValue::from_static("portforward.k8s.io")]).await;
        let (behind, _) = behind.map_err(|why| Status::internal(format!("error forwarding ports: {why}")))?;
        return socket::upgrade(request, &[TUNNELED], move |front, _| join(front, behind));
    }
    let ports = ports(parameters)?;
    let within = match facts::host_network(&target.pod) {
        true => None,
        false => {
            let info = pods.host().runtime.sandbox_info(&sandbox).await;
            let info = info.map_err(|error| Status::internal(error.description()))?;
            let found = info.get("info").and_then(|info| network::namespace_of(info));
            Some(found.ok_or_else(|| Status::internal("the runtime does not say where the pod's network is"))?)
        }
    };
    socket::upgrade(request, &channels::PROTOCOLS, move |socket, _| forward(socket, ports, within))
}

fn ports(parameters: &Parameters) -> Result<Vec<u16>, Status> {
    let wrong = |text: &str| Status::bad_request(format!("port {text:?} is not a port number"));
    let texts = parameters.all("port").iter().chain(parameters.all("ports"));
    let ports: Vec<u16> = texts
        .map(|text| text.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong(text)))
        .collect::<Result<_, _>>()?;
    match ports.is_empty() || ports.len() > 100 {
        true => Err(Status::bad_request("query parameter \"port\" is required")),
        false => Ok(ports),
    }
}

/// Passes on what is inside the messages.
async fn join(front: Socket, behind: TokioIo<Upgraded>) {
    let (mut to_client, mut from_client) = front.split();
    let (mut reader, mut writer) = tokio::io::split(behind);
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            let data = match message {
                Message::Binary(data) => data,
                Message::Close(_) => break,
                _ => continue,
            };
            if writer.write_all(&data).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(n) = reader.read(&mut buffer).await {
            if n == 0 || to_client.send(Message::Binary(Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
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

/// Channel `2n` carries the bytes of the `n`th port, `2n + 1` its errors; both begin with the port's number.
async fn forward(socket: Socket, ports: Vec<u16>, within: Option<PathBuf>) {
    let (mut sender, mut receiver) = channels::split(socket);
    let (output, mut pieces) = mpsc::channel::<(u8, Bytes)>(16);
    let mut inputs: HashMap<u8, mpsc::Sender<Bytes>> = HashMap::new();
    for (i, port) in ports.into_iter().enumerate() {
        let Ok(channel) = u8::try_from(i * 2) else { return };
        for channel in [channel, channel + 1] {
            if sender.send(channel, &port.to_le_bytes()).await.is_err() {
                return;
            }
        }
        let (input, bytes) = mpsc::channel(16);
        inputs.insert(channel, input);
        tokio::spawn(carry(within.clone(), port, channel, bytes, output.clone()));
    }
    drop(output);
    loop {
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some((channel, data)) => {
                    if sender.send(channel, &data).await.is_err() {
                        return;
                    }
                }
                None => return sender.close().await,
            },
            said = receiver.next() => match said {
                Some(channels::Said::Data(channel, data)) => {
                    if let Some(input) = inputs.get(&channel) {
                        // A port that is closed takes nothing any more.
                        let _ = input.send(data).await;
                    }
                }
                Some(channels::Said::Closed(channel)) => drop(inputs.remove(&channel)),
                Some(_) => {}
                None => return,
            },
        }
    }
}

async fn carry(
    within: Option<PathBuf>,
    port: u16,
    channel: u8,
    mut input: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<(u8, Bytes)>,
) {
    let stream = match network::connect(within, port).await {
        Ok(stream) => stream,
        Err(error) => {
            let text = format!("error forwarding port {port}: {error}");
            let _ = output.send((channel + 1, text.into())).await;
            return;
        }
    };
    let (mut reader, mut writer) = stream.into_split();
    let up = async move {
        while let Some(data) = input.recv().await {
            if writer.write_all(&data).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    let down = async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(n) = reader.read(&mut buffer).await {
            if n == 0 || output.send((channel, Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
                return;
            }
        }
    };
    let up = tokio::spawn(up);
    down.await;
    up.abort();
}
