//! gRPC over a unix socket that connects when it is first used, and again after the runtime was restarted.

use crate::CriError;
use hyper_util::rt::TokioIo;
use std::{path::Path, time::Duration};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// `socket` may carry the scheme `unix://`.
pub fn socket_channel(socket: &Path) -> Result<Channel, CriError> {
    let text = socket.to_string_lossy();
    let path = Path::new(text.strip_prefix("unix://").unwrap_or(&text)).to_owned();
    // The authority is required by HTTP/2 and read by nobody.
    let endpoint = Endpoint::try_from("http://runtime")
        .map_err(|source| CriError::Socket { path: path.clone(), source })?
        .connect_timeout(Duration::from_secs(5));
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    })))
}
