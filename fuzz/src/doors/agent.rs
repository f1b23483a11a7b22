//! Of the agent: what clients and the runtime send in streams.

#[path = "../../../src/agent/http/channels.rs"]
#[expect(dead_code, reason = "the file is taken whole")]
mod channels;

mod socket {
    use tokio::io::DuplexStream;
    use tokio_tungstenite::WebSocketStream;

    pub(super) type Socket = WebSocketStream<DuplexStream>;
}

use tokio::io::{AsyncWriteExt, duplex};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

/// Reads the frames of a WebSocket to their end.
pub async fn channels(input: &[u8]) {
    let (mut client, server) = duplex(input.len() + 1024);
    let receiver = async {
        let socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        let (_sender, mut receiver) = channels::split(socket);
        while receiver.next().await.is_some() {}
    };
    let sender = async {
        // The reader may have heard enough.
        let _ = client.write_all(input).await;
        drop(client);
    };
    futures::join!(receiver, sender);
}
