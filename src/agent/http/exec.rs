//! `exec`: a process in a running container, its streams over a WebSocket. Clients that speak SPDY get those of the runtime's
//! streaming server.

use super::{
    Answer, Parameters,
    attach::{self, Wanted},
    channels::{self, Receiver, STDERR, STDIN, STDOUT, Said, Sender},
    socket, target,
};
use crate::pod::Pods;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use mk8s_api::status::Status;
use mk8s_cri::{Control, Exec, ExecOptions, Streams, v1};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    sync::mpsc,
};

const PIECE: usize = 32 << 10;
const SIGKILL: u32 = 9;
/// After the end of a process its grandchildren may keep a stream open; they are not waited for longer.
const DRAIN: Duration = Duration::from_secs(2);

pub(super) async fn serve(
    pods: &Pods,
    namespace: &str,
    name: &str,
    container: &str,
    parameters: &Parameters,
    request: Request<Incoming>,
) -> Answer {
    let command = parameters.all("command").to_vec();
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    let target = target::pod(pods, namespace, name).await?;
    let id = target.running(container)?.id.clone();
    let wanted = Wanted::of(parameters)?;
    let host = pods.host().clone();
    let Some(containerd) = host.containerd.clone().filter(|_| !socket::is_spdy(&request)) else {
        let ask = v1::ExecRequest {
            container_id: id,
            cmd: command,
            tty: wanted.tty,
            stdin: wanted.stdin,
            stdout: wanted.stdout,
            stderr: wanted.stderr && !wanted.tty,
        };
        let url = host.runtime.exec_url(ask).await.map_err(|error| Status::internal(error.description()))?;
        return attach::relay(request, &url, Wanted { stderr: wanted.stderr && !wanted.tty, ..wanted }).await;
    };
    let options = ExecOptions {
        container: id,
        command,
        tty: wanted.tty,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        directory: host.paths.streams(),
    };
    socket::upgrade(request, &channels::PROTOCOLS, move |socket, _| async move {
        let (mut sender, receiver) = channels::split(socket);
        // Tells the client that the streams are open.
        if sender.send(if options.stdout || options.tty { STDOUT } else { STDERR }, b"").await.is_err() {
            return;
        }
        match containerd.exec(options).await {
            Ok((exec, streams)) => talk(exec, streams, sender, receiver).await,
            Err(error) => {
                let message =
                    format!("Internal error occurred: error executing command in container: {}", error.description());
                sender.finish(&channels::failure(&message)).await;
            }
        }
    })
}

async fn talk(exec: Exec, streams: Streams, mut sender: Sender, receiver: Receiver) {
    let (output, mut pieces) = mpsc::channel::<(u8, Bytes)>(16);
    let readers = [(STDOUT, streams.stdout), (STDERR, streams.stderr)].map(|(channel, stream)| {
        let output = output.clone();
        tokio::spawn(async move {
            if let Some(stream) = stream {
                read(channel, stream, output).await;
            }
        })
    });
    drop(output);
    let control = exec.control();
    let listening = tokio::spawn(listen(receiver, streams.stdin, control.clone()));
    let mut waiting = tokio::spawn(exec.wait());
    let mut drain = std::pin::pin!(tokio::time::sleep(Duration::MAX));
    let mut result = None;
    loop {
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some((channel, data)) => {
                    if sender.send(channel, &data).await.is_err() {
                        // Nobody reads any more.
                        drop(control.kill(SIGKILL).await);
                        break;
                    }
                }
                // All streams have ended.
                None if result.is_some() => break,
                None => {
                    result = Some((&mut waiting).await);
                    break;
                }
            },
            ended = &mut waiting, if result.is_none() => {
                result = Some(ended);
                drain.as_mut().reset(tokio::time::Instant::now() + DRAIN);
            }
            () = &mut drain, if result.is_some() => break,
        }
    }
    listening.abort();
    for reader in readers {
        reader.abort();
    }
    let status = match result {
        Some(Ok(Ok(code))) => channels::exit_status(code),
        Some(Ok(Err(error))) => channels::failure(&error.description()),
        _ => return,
    };
    sender.finish(&status).await;
}

async fn read(channel: u8, mut stream: pipe::Receiver, output: mpsc::Sender<(u8, Bytes)>) {
    let mut buffer = vec![0; PIECE];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                if output.send((channel, Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Carries out what the client says until it is gone; then the process is too.
async fn listen(mut receiver: Receiver, mut stdin: Option<pipe::Sender>, control: Control) {
    while let Some(said) = receiver.next().await {
        match said {
            Said::Data(STDIN, data) => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data).await.is_err()
                {
                    stdin = None;
                }
            }
            Said::Closed(STDIN) => {
                stdin = None;
                drop(control.close_stdin().await);
            }
            Said::Resize { width, height } => drop(control.resize(width, height).await),
            Said::Data(..) | Said::Closed(_) | Said::Nothing => {}
        }
    }
    drop(control.kill(SIGKILL).await);
}
