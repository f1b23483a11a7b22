//! `port-forward`: connections to ports here become connections to ports of a pod.

mod ports;

use crate::{
    flags::duration,
    remote::Remote,
    resolve::pods,
    session::Session,
    streaming::{self, Refused, spdy},
};
use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use ports::{Address, Ports};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNELED: &str = "SPDY/3.1+portforward.k8s.io";
const PIECE: usize = 32 << 10;

#[derive(clap::Args, Debug)]
pub(crate) struct PortForward {
    #[arg(value_name = "TYPE/NAME [LOCAL_PORT:]REMOTE_PORT")]
    args: Vec<String>,
    /// IP addresses (or localhost) to listen on, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,
    /// How long to wait until at least one pod is there.
    #[arg(long, value_name = "DURATION", default_value = pods::RUNNING_TIMEOUT, value_parser = duration)]
    pod_running_timeout: Duration,
}

impl PortForward {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let Some((target, texts)) = self.args.split_first().filter(|(_, texts)| !texts.is_empty()) else {
            bail!(
                "TYPE/NAME and list of ports are required for port-forward\nSee 'kubectl port-forward -h' for help and examples"
            );
        };
        let object = pods::named(cx, target).await?;
        let service = (object.resource.kind == "Service").then(|| object.object.clone());
        let pod = pods::behind(cx, object, self.pod_running_timeout).await?;
        let texts = match service {
            Some(service) => ports::of_service(texts, &service, &pod.object)?,
            None => ports::of_pod(texts, &pod.object)?,
        };
        let phase = pod.object["status"]["phase"].as_str().unwrap_or_default();
        if phase != "Running" {
            bail!("unable to forward port because pod is not running. Current status={phase}");
        }
        let addresses = ports::addresses(&self.address)?;
        let ports = ports::parse(&texts)?;
        let connection = dial(cx.remote().await?, &format!("{}/portforward", pod.path())).await?;
        forward(connection, &addresses, ports).await
    }
}

/// SPDY in a WebSocket; servers that do not know it get it without.
async fn dial(remote: &Remote, path: &str) -> Result<spdy::Connection> {
    let failed = |error: anyhow::Error| anyhow!("error upgrading connection: {error:#}");
    match streaming::websocket(remote, path, &[TUNNELED]).await {
        Ok((socket, _)) => return Ok(spdy::Connection::tunneled(socket)),
        Err(Refused::Unreachable(error)) => return Err(failed(error)),
        Err(Refused::Answer(_)) => {}
    }
    let stream = streaming::plain_spdy(remote, path, PROTOCOL).await;
    stream.map(spdy::Connection::plain).map_err(|refused| failed(refused.into_error()))
}

/// Listens until the user or the pod ends it.
async fn forward(connection: spdy::Connection, addresses: &[Address], mut ports: Vec<Ports>) -> Result<()> {
    let mut tasks = JoinSet::new();
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let requests = std::sync::Arc::new(AtomicU64::new(0));
    let mut listening = false;
    for pair in &mut ports {
        match listen(addresses, pair) {
            Ok(listeners) => {
                listening = true;
                for listener in listeners {
                    tasks.spawn(accept(listener, *pair, connection.clone(), requests.clone()));
                }
            }
            Err(why) => crate::errln!("Unable to listen on port {}: {why}", pair.local),
        }
    }
    if !listening {
        let pairs: Vec<String> = ports.iter().map(|pair| format!("{{{} {}}}", pair.local, pair.remote)).collect();
        bail!("unable to listen on any of the requested ports: [{}]", pairs.join(" "));
    }
    let ended = tokio::select! {
        _ = interrupted.recv() => Ok(()),
        () = connection.closed() => Err(anyhow!("lost connection to pod")),
    };
    connection.close();
    ended
}

/// Listens on all addresses. A free port found on the first one is used on all.
fn listen(addresses: &[Address], pair: &mut Ports) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    let mut failures = Vec::new();
    let mut missing = false;
    for address in addresses {
        let at = SocketAddr::new(address.ip, pair.local);
        let bound = bind(at).and_then(|listener| listener.local_addr().map(|at| (listener, at)));
        match bound {
            Ok((listener, at)) => {
                pair.local = at.port();
                crate::outln!("Forwarding from {at} -> {}", pair.remote);
                listeners.push(listener);
            }
            Err(error) => {
                let family = if at.is_ipv4() { "tcp4" } else { "tcp6" };
                failures
                    .push(format!("unable to create listener: Error listen {family} {at}: bind: {}", words(&error)));
                missing |= address.needed;
            }
        }
    }
    let some_of_localhost = addresses.iter().any(|address| !address.needed) && listeners.is_empty();
    if missing || some_of_localhost && !failures.is_empty() {
        return Err(format!("Listeners failed to create with the following errors: [{}]", failures.join(" ")));
    }
    Ok(listeners)
}

fn bind(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if at.is_ipv6() {
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6V6Only, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(1024)
}

/// The system's words, without the number Rust adds.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

async fn accept(listener: TcpListener, pair: Ports, connection: spdy::Connection, requests: std::sync::Arc<AtomicU64>) {
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    crate::outln!("Handling connection for {}", pair.local);
                    let request = requests.fetch_add(1, Ordering::Relaxed);
                    let connection = connection.clone();
                    served.spawn(async move {
                        if let Err(why) = serve(socket, pair, request, &connection).await {
                            crate::errln!("E {why}");
                            // One port that fails ends them all, as kubectl has it.
                            connection.close();
                        }
                    });
                }
                Err(error) => {
                    crate::errln!("E error accepting connection on port {}: {}", pair.local, words(&error));
                    return;
                }
            },
            Some(_) = served.join_next() => {}
        }
    }
}

/// One connection: a stream for its bytes, one for what goes wrong at the other end.
async fn serve(socket: TcpStream, pair: Ports, request: u64, connection: &spdy::Connection) -> Result<()> {
    let Ports { local, remote } = pair;
    let headers = |kind: &str| {
        vec![("streamType", kind.to_owned()), ("port", remote.to_string()), ("requestID", request.to_string())]
    };
    let lost =
        |what: &str| anyhow!("error creating {what} stream for port {local} -> {remote}: the connection is closed");
    let mut errors = connection.stream(headers("error")).await.ok_or_else(|| lost("error"))?;
    errors.sender.finish().await;
    let mut data = connection.stream(headers("data")).await.ok_or_else(|| lost("forwarding"))?;
    let (mut reader, mut writer) = socket.into_split();
    let sender = data.sender.clone();
    let up = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            if !sender.send(Bytes::copy_from_slice(&buffer[..count])).await {
                break;
            }
        }
        sender.finish().await;
        // The answer may go on after the question ended.
        std::future::pending::<()>().await;
    };
    let down = async {
        while let Some(piece) = data.next().await {
            if writer.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The program that connected may be gone; then it misses nothing.
        let _ = writer.shutdown().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
    data.reset().await;
    let mut message = Vec::new();
    while let Some(piece) = errors.next().await {
        message.extend_from_slice(&piece);
    }
    match message.is_empty() {
        true => Ok(()),
        false => {
            Err(anyhow!("an error occurred forwarding {local} -> {remote}: {}", String::from_utf8_lossy(&message)))
        }
    }
}
