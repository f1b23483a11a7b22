//! The tunnels: one to each server, dialled to its port, then the roles turn and the agent serves HTTP/2 on it.
//!
//! ```text
//! servers' addresses ─▶ a task each: dial ─▶ the server's first bytes ─▶ serve until it breaks ─▶ wait, dial again
//! ```
//!
//! One server that does not answer is nobody else's matter.

use super::{refuse, serve};
use crate::{AgentOptions, pod::Pods};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mk8s_client::{
    connect::{ConnectError, KEEP_ALIVE},
    servers,
};
use std::{
    collections::HashMap,
    convert::Infallible,
    io::{self, Cursor},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const ALPN: &[u8] = b"mk8s-tunnel/1";
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// A tunnel that held for so long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// How long a server that is starting may take to begin.
const BEGIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error(transparent)]
    Certificates(#[from] ConnectError),
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("the server does not begin")]
    Silent,
    #[error("the tunnel broke: {0}")]
    Broken(#[from] hyper::Error),
}

/// Keeps tunnels to all servers open until `stop`.
pub async fn run(pods: Pods, stop: CancellationToken) {
    let mut addresses = pods.host().options.servers.addresses();
    let mut open: HashMap<String, CancellationToken> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let wanted = addresses.borrow_and_update().clone();
        open.retain(|address, end| {
            let stays = wanted.contains(address);
            if !stays {
                end.cancel();
            }
            stays
        });
        for address in wanted {
            open.entry(address).or_insert_with_key(|address| {
                let end = stop.child_token();
                tasks.spawn(keep_open(pods.clone(), address.clone(), end.clone()));
                end
            });
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            Ok(()) = addresses.changed() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Keeps a tunnel to one server open until `stop`.
async fn keep_open(pods: Pods, address: String, stop: CancellationToken) {
    let mut delay = DELAY_FIRST;
    loop {
        let begin = Instant::now();
        let result = stop.run_until_cancelled(once(&pods, &address)).await;
        pods.host().options.servers.tunnel_closed(&address);
        let Some(result) = result else { return };
        if begin.elapsed() > GOOD {
            delay = DELAY_FIRST;
        }
        match result {
            Ok(()) => tracing::debug!(server = address, "the tunnel was closed, dialling again"),
            Err(error) => tracing::debug!(server = address, %error, "no tunnel to the server, dialling again"),
        }
        // Not all agents at the same moment.
        let pause = delay.mul_f64(1.0 + rand::random::<f64>() / 2.0);
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        delay = (delay * 2).min(DELAY_MAX);
    }
}

async fn once(pods: &Pods, address: &str) -> Result<(), TunnelError> {
    let options = &pods.host().options;
    let stream = servers::open(address, Arc::new(config(options)?)).await?;
    // A server that is not ready accepts and says nothing.
    let stream = timeout(BEGIN, begun(stream)).await.map_err(|_| TunnelError::Silent)??;
    options.servers.tunnel_open(address);
    tracing::info!(server = address, "tunnel open");
    let service = service_fn(|request| {
        let pods = pods.clone();
        async move {
            // A panic costs its request, not the tunnel.
            let answer = tokio::spawn(serve(pods, request)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|error| refuse(&mk8s_api::status::Status::internal(error))))
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(Some(KEEP_ALIVE)).keep_alive_timeout(KEEP_ALIVE);
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(8 << 20);
    builder.serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// The same stream, once the other end has said something.
async fn begun<S: AsyncRead + AsyncWrite>(stream: S) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let (mut reader, writer) = tokio::io::split(stream);
    let mut first = vec![0; 64];
    let n = reader.read(&mut first).await?;
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    first.truncate(n);
    Ok(tokio::io::join(Cursor::new(first).chain(reader), writer))
}

fn config(options: &AgentOptions) -> Result<rustls::ClientConfig, ConnectError> {
    let mut config = options.identity.tls(&options.ca_pem)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn nothing_of_what_was_said_first_is_lost() {
        let (near, mut far) = tokio::io::duplex(256);
        far.write_all(&[7; 100]).await.expect("open");
        let mut stream = begun(near).await.expect("it begins");
        far.write_all(&[8; 10]).await.expect("open");
        let mut all = vec![0; 110];
        stream.read_exact(&mut all).await.expect("all of it");
        assert_eq!(all, [[7; 100].as_slice(), &[8; 10]].concat());
        stream.write_all(b"x").await.expect("open");
        assert_eq!(far.read_u8().await.expect("open"), b'x');
        let (near, far) = tokio::io::duplex(1);
        drop(far);
        assert!(begun(near).await.is_err(), "it ended at once");
    }
}
