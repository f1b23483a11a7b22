//! `attach`: the streams of a container's own process. Only the runtime has them, so its streaming server is spoken to.
//!
//! In SPDY, not over its WebSockets: those cannot say that the input has ended, and they end the input of a container
//! that somebody attaches to without any. A client that speaks SPDY itself speaks to that server directly.

use super::{
    Answer, Parameters,
    channels::{self, ERROR, RESIZE, STDERR, STDIN, STDOUT, Said},
    socket::{self, Socket},
    spdy, target,
};
use crate::pod::{Pods, facts};
use bytes::Bytes;
use http::{HeaderValue, Request};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use mk8s_api::status::Status;
use mk8s_client::spdy::Frame;
use mk8s_cri::v1;
use serde_json::json;
use std::{collections::HashMap, io};
use tokio::{
    io::{ReadHalf, WriteHalf},
    sync::mpsc,
};

type Speaker = spdy::Speaker<WriteHalf<TokioIo<Upgraded>>>;
type Listener = spdy::Listener<ReadHalf<TokioIo<Upgraded>>>;

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
    let url =
        pods.host().runtime.attach_url(ask.clone()).await.map_err(|error| Status::internal(error.description()))?;
    let streams = Wanted { tty, stdin: ask.stdin, stdout: ask.stdout, stderr: ask.stderr };
    relay(request, &url, streams).await
}

/// Joins the client with the streams of the runtime's streaming server.
pub(super) async fn relay(request: Request<Incoming>, url: &str, wanted: Wanted) -> Answer {
    if socket::is_spdy(&request) {
        return socket::pass_through(request, url).await;
    }
    let failed = |why: String| Status::internal(format!("error attaching to container: {why}"));
    let (stream, _) = spdy::dial(url, &[HeaderValue::from_static("v4.channel.k8s.io")]).await.map_err(failed)?;
    let (mut speaker, listener) = spdy::split(stream);
    let streams = open(&mut speaker, wanted).await.map_err(|error| failed(error.to_string()))?;
    socket::upgrade(request, &channels::PROTOCOLS, move |front, _| join(front, speaker, listener, streams))
}

/// The runtime's streams by our channels.
async fn open(speaker: &mut Speaker, wanted: Wanted) -> io::Result<HashMap<u8, u32>> {
    let all = [
        (ERROR, "error", true),
        (STDIN, "stdin", wanted.stdin),
        (STDOUT, "stdout", wanted.stdout),
        (STDERR, "stderr", wanted.stderr),
        (RESIZE, "resize", wanted.tty),
    ];
    let mut streams = HashMap::new();
    for (channel, kind, _) in all.into_iter().filter(|(.., wanted)| *wanted) {
        streams.insert(channel, speaker.open(&[("streamtype", kind)]).await?);
    }
    Ok(streams)
}

async fn join(front: Socket, mut speaker: Speaker, mut listener: Listener, streams: HashMap<u8, u32>) {
    let (mut sender, mut receiver) = channels::split(front);
    let (pings, mut pinged) = mpsc::channel(1);
    let up = async {
        loop {
            let sent = tokio::select! {
                Some(id) = pinged.recv() => speaker.pong(id).await,
                said = receiver.next() => match said {
                    None => return,
                    Some(said) => pass(&mut speaker, &streams, said).await,
                },
            };
            if sent.is_err() {
                return;
            }
        }
    };
    let down = async {
        while let Some(heard) = listener.next().await {
            match heard {
                Frame::Data { stream, data, .. } => {
                    let channel = streams.iter().find(|(_, id)| **id == stream).map(|(channel, _)| *channel);
                    let Some(channel) = channel.filter(|_| !data.is_empty()) else { continue };
                    if sender.send(channel, &data).await.is_err() {
                        return;
                    }
                }
                Frame::Ping(id) => drop(pings.send(id).await),
                Frame::Reset(_) | Frame::GoAway | Frame::Other => {}
            }
        }
        sender.close().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn pass(speaker: &mut Speaker, streams: &HashMap<u8, u32>, said: Said) -> io::Result<()> {
    let (channel, data, last) = match said {
        Said::Data(channel, data) => (channel, data, false),
        Said::Closed(channel) => (channel, Bytes::new(), true),
        Said::Resize { width, height } => (RESIZE, json!({"Width": width, "Height": height}).to_string().into(), false),
        Said::Nothing => return Ok(()),
    };
    match streams.get(&channel) {
        Some(stream) => speaker.data(*stream, &data, last).await,
        None => Ok(()),
    }
}
