//! The tunnel: dialled to the server's port, then the roles turn and the agent serves HTTP/2 on it.

use super::{refuse, serve};
use crate::{AgentOptions, pod::Pods};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mk8s_client::connect::SERVER_NAME;
use rustls_pki_types::ServerName;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

const ALPN: &[u8] = b"mk8s-tunnel/1";
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// A silent server is asked for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("{server:?} is not an address of a server; write https://host:port")]
    Address { server: String },
    #[error(transparent)]
    Certificates(#[from] mk8s_client::connect::ConnectError),
    #[error("cannot connect to {at}: {source}")]
    Connect { at: String, source: std::io::Error },
    #[error("the tunnel broke: {0}")]
    Broken(#[from] hyper::Error),
}

/// Keeps a tunnel open until `stop`.
pub async fn run(pods: Pods, stop: CancellationToken) {
    let mut delay = DELAY_FIRST;
    loop {
        let begin = std::time::Instant::now();
        let Some(result) = stop.run_until_cancelled(once(&pods)).await else { return };
        if begin.elapsed() > Duration::from_secs(10) {
            delay = DELAY_FIRST;
        }
        match result {
            Ok(()) => tracing::debug!("the tunnel was closed, dialling again"),
            Err(error) => tracing::debug!(%error, "no tunnel to the server, dialling again"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
            return;
        }
        delay = (delay * 2).min(DELAY_MAX);
    }
}

async fn once(pods: &Pods) -> Result<(), TunnelError> {
    let options = &pods.host().options;
    let (host, port) = authority(&options.server)?;
    let at = format!("{host}:{port}");
    let failed = |source| TunnelError::Connect { at: at.clone(), source };
    let connector = TlsConnector::from(Arc::new(config(options)?));
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let name = ServerName::try_from(SERVER_NAME).expect("it is a host name");
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    tracing::info!(server = at, "tunnel open");
    let service = service_fn(|request| {
        let pods = pods.clone();
        async move {
            // A panic costs its request, not the tunnel.
            let answer = tokio::spawn(serve(pods, request)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|error| refuse(&mk8s_api::status::Status::internal(error))))
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(Some(KEEP_ALIVE));
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(8 << 20);
    builder.serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

fn authority(server: &str) -> Result<(String, u16), TunnelError> {
    let wrong = || TunnelError::Address { server: server.to_owned() };
    let uri: http::Uri = server.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
    Ok((host, uri.port_u16().unwrap_or(6443)))
}

fn config(options: &AgentOptions) -> Result<rustls::ClientConfig, TunnelError> {
    let mut config = options.identity.tls(&options.ca_pem)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::authority;

    #[test]
    fn servers_are_addressed() {
        let cases = [("https://10.0.0.1:6443", Some(("10.0.0.1", 6443))), ("https://[fd00::1]:1", Some(("fd00::1", 1))), ("https://a", Some(("a", 6443))), ("", None)];
        for (text, expected) in cases {
            let got = authority(text).ok();
            assert_eq!(got.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{text}");
        }
    }
}
