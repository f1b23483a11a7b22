//! HTTP requests of probes and hooks: plain or over TLS without looking at the certificate, as Kubernetes' are.

use crate::pod::facts;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use mk8s_client::connect::to_anyone;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Target {
    pub fn of(container: &Container, get: &HTTPGetAction, address: &str) -> Result<Target, String> {
        let port = facts::port_of(container, &get.port);
        let path = get.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into());
        let headers = get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
        Ok(Target {
            tls: get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: get.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| address.to_owned()),
            port: port.ok_or_else(|| format!("container {:?} has no port of that name", container.name))?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: headers.collect(),
        })
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The status code of the answer; `Err` in the words Kubernetes' events use.
pub async fn request(target: &Target, limit: Duration) -> Result<u16, String> {
    let quoted = target.url();
    match timeout(limit, send(target)).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(why)) => Err(format!("Get {quoted:?}: {why}")),
        Err(_) => {
            Err(format!("Get {quoted:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
        }
    }
}

async fn send(target: &Target) -> Result<u16, String> {
    let at = target.authority();
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await;
    let stream = stream.map_err(|error| format!("dial tcp {at}: connect: {}", cause(&error)))?;
    match target.tls {
        false => exchange(target, stream).await,
        true => {
            let name =
                rustls_pki_types::ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
            let connector = tokio_rustls::TlsConnector::from(any_certificate());
            let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
            exchange(target, stream).await
        }
    }
}

async fn exchange<S>(target: &Target, stream: S) -> Result<u16, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let mut request = Request::get(&target.path)
        .header("host", target.authority())
        .header("user-agent", "kube-probe/1.36")
        .header("accept", "*/*")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    for (name, value) in &target.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(name, value);
    }
    let answer = sender.send_request(request).await;
    driver.abort();
    answer.map(|answer| answer.status().as_u16()).map_err(|error| match error.is_incomplete_message() {
        true => "EOF".to_owned(),
        false => error.to_string(),
    })
}

/// The kernel's words without ours.
pub fn cause(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "no route to host".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".into(),
        _ => error.to_string(),
    }
}

/// Probes ask whether something answers, not who it is.
fn any_certificate() -> Arc<rustls::ClientConfig> {
    static CONFIG: std::sync::LazyLock<Arc<rustls::ClientConfig>> = std::sync::LazyLock::new(|| Arc::new(to_anyone()));
    CONFIG.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn serve_once(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            stream.write_all(answer.as_bytes()).await.expect("written");
        });
        port
    }

    #[tokio::test]
    async fn status_codes_and_refusals() {
        let target =
            |port| Target { tls: false, host: "127.0.0.1".into(), port, path: "/x".into(), headers: Vec::new() };
        let limit = Duration::from_secs(5);
        let port = serve_once("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(request(&target(port), limit).await, Ok(503));
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let error = request(&target(port), limit).await.expect_err("nobody listens");
        assert_eq!(
            error,
            format!("Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused")
        );
    }
}
