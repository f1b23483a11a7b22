//! Kubernetes' streams over one WebSocket: the first byte of a message is its channel.
//!
//! `v4.channel.k8s.io` and its successor v5, which can also close a stream.

use super::socket::Socket;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

pub(super) const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What the client said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Data(u8, Bytes),
    /// It says no more on this channel.
    Closed(u8),
    Resize {
        width: u32,
        height: u32,
    },
    /// Nothing to act on.
    Nothing,
}

pub(super) struct Sender(SplitSink<Socket, Message>);
pub(super) struct Receiver(SplitStream<Socket>);

pub(super) fn split(socket: Socket) -> (Sender, Receiver) {
    let (sink, stream) = socket.split();
    (Sender(sink), Receiver(stream))
}

impl Sender {
    pub(super) async fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), Error> {
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.put_u8(channel);
        message.put_slice(data);
        self.0.send(Message::Binary(message.freeze())).await
    }

    /// Tells how it ended, and closes.
    pub(super) async fn finish(mut self, status: &Value) {
        // A client that is gone needs no goodbye.
        if self.send(ERROR, status.to_string().as_bytes()).await.is_ok() {
            self.close().await;
        }
    }

    /// Closes; clients take any code but the normal one, or none, for a failure of every stream.
    pub(super) async fn close(mut self) {
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // A client that is gone needs none.
        if self.0.send(Message::Close(Some(goodbye))).await.is_ok() {
            let _ = self.0.close().await;
        }
    }
}

impl Receiver {
    /// `None` when the client is gone.
    pub(super) async fn next(&mut self) -> Option<Said> {
        match self.0.next().await? {
            Ok(Message::Binary(data)) => Some(read(data)),
            Ok(Message::Text(text)) => Some(read(Bytes::from(text))),
            Ok(Message::Close(_)) | Err(_) => None,
            Ok(_) => Some(Said::Nothing),
        }
    }
}

fn read(mut data: Bytes) -> Said {
    if data.is_empty() {
        return Said::Nothing;
    }
    let channel = data.split_to(1)[0];
    match channel {
        CLOSE => data.first().map_or(Said::Nothing, |channel| Said::Closed(*channel)),
        RESIZE => size(&data).unwrap_or(Said::Nothing),
        channel => Said::Data(channel, data),
    }
}

fn size(data: &[u8]) -> Option<Said> {
    let value: Value = serde_json::from_slice(data).ok()?;
    let number = |key: &str| u32::try_from(value[key].as_u64()?).ok();
    Some(Said::Resize { width: number("Width")?, height: number("Height")? })
}

/// The Status of a process that ended.
pub(super) fn exit_status(code: u32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

pub(super) fn failure(message: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "details": {"causes": [{"message": message}]}, "code": 500})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read() {
        let data = |bytes: &'static [u8]| read(Bytes::from_static(bytes));
        assert_eq!(data(b"\0hello"), Said::Data(STDIN, Bytes::from_static(b"hello")));
        assert_eq!(data(b"\xff\0"), Said::Closed(STDIN));
        assert_eq!(data(b"\x04{\"Width\":80,\"Height\":24}"), Said::Resize { width: 80, height: 24 });
        for nothing in [b"".as_slice(), b"\xff", b"\x04nonsense", b"\x04{\"Width\":-1}"] {
            assert_eq!(read(Bytes::copy_from_slice(nothing)), Said::Nothing);
        }
    }
}
