//! TLS to what a proxied request is for. Whoever answers is taken at its word, as Kubernetes does it: the address was read from
//! the pod, and a pod's certificate names nobody that this server knows.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use mk8s_client::connect::to_anyone;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::dial::Wire;

static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut config = to_anyone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
});

/// The connection, sealed.
pub(super) async fn seal(stream: Wire, address: SocketAddr) -> io::Result<Wire> {
    let name = ServerName::IpAddress(address.ip().into());
    Ok(Box::new(TlsConnector::from(CONFIG.clone()).connect(name, stream).await?))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::webhook::tests::Backend;

    #[tokio::test]
    async fn a_certificate_that_nobody_knows_will_do() {
        let backend = Backend::start(|path, _| (200, path.as_bytes().to_vec())).await;
        let address = backend.address;
        let stream = TcpStream::connect(address).await.expect("it listens");
        let mut sealed = seal(Box::new(stream), address).await.expect("it speaks TLS");
        let request = b"GET /over/tls HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        sealed.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        // Its end may come without a goodbye.
        drop(sealed.read_to_end(&mut answer).await);
        assert!(answer.ends_with(b"/over/tls"), "{}", String::from_utf8_lossy(&answer));
    }

    #[tokio::test]
    async fn what_speaks_no_tls_is_refused() {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("there is room");
        let address = "10.0.0.1:1".parse().expect("an address");
        assert!(seal(Box::new(near), address).await.is_err());
    }
}
