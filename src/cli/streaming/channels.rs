//! The streams of a process over one WebSocket: the first byte of a message is its channel.
//!
//! Only `v5.channel.k8s.io`: the older v4 cannot say that stdin ended.

use super::Socket;
use anyhow::{Result, anyhow};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame, protocol::frame::coding::CloseCode};
use tokio_util::sync::CancellationToken;

pub(crate) const V5: &str = "v5.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

const PIECE: usize = 32 << 10;
const PING_PERIOD: Duration = Duration::from_secs(5);

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// This side of the streams; those that are missing are not used.
#[derive(Default)]
pub(crate) struct Ends<'a> {
    pub(crate) stdin: Option<Box<dyn AsyncRead + Send + Unpin + 'a>>,
    pub(crate) stdout: Option<Box<dyn AsyncWrite + Send + Unpin + 'a>>,
    pub(crate) stderr: Option<Box<dyn AsyncWrite + Send + Unpin + 'a>>,
    pub(crate) sizes: Option<mpsc::Receiver<Size>>,
    /// Ends it all from this side.
    pub(crate) leave: CancellationToken,
}

/// Carries the streams until the server tells how the process ended.
pub(crate) async fn carry(socket: Socket, ends: Ends<'_>) -> Result<Value> {
    let (mut sink, mut source) = socket.split();
    let Ends { stdin, mut stdout, mut stderr, sizes, leave } = ends;
    // Both directions run at once: a process that waits for its output to be read does not read its input.
    let down = async {
        let mut told: Option<Value> = None;
        while let Some(message) = source.next().await {
            match message {
                Ok(Message::Binary(mut data)) if !data.is_empty() => match data.split_to(1)[0] {
                    STDOUT => write(&mut stdout, &data).await?,
                    STDERR => write(&mut stderr, &data).await?,
                    ERROR if !data.is_empty() => {
                        // Nothing of value follows a Status.
                        told = Some(serde_json::from_slice(&data).map_err(|error| {
                            anyhow!("error stream protocol error: {error} in {:?}", String::from_utf8_lossy(&data))
                        })?);
                        break;
                    }
                    _ => {}
                },
                Ok(Message::Close(frame)) => {
                    let normal = frame.as_ref().is_none_or(|frame| frame.code == CloseCode::Normal);
                    if !normal {
                        return Err(anyhow!(
                            "error reading from error stream: {}",
                            frame.map(|frame| frame.to_string()).unwrap_or_default()
                        ));
                    }
                    break;
                }
                Ok(_) => {}
                Err(error) => return Err(anyhow!("error reading from error stream: {error}")),
            }
        }
        Ok(told.unwrap_or_else(|| json!({"status": "Success"})))
    };
    let ended = {
        let up = send(&mut sink, stdin, sizes);
        tokio::select! {
            ended = down => ended,
            () = leave.cancelled() => Ok(json!({"status": "Success"})),
            never = up => match never {},
        }
    };
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    // The server may be gone already, or may be busy sending what nobody wants.
    let _ = tokio::time::timeout(Duration::from_secs(1), sink.send(Message::Close(Some(goodbye)))).await;
    ended
}

async fn write(to: &mut Option<Box<dyn AsyncWrite + Send + Unpin + '_>>, data: &[u8]) -> Result<()> {
    let Some(writer) = to else { return Ok(()) };
    writer.write_all(data).await?;
    Ok(writer.flush().await?)
}

/// Sends input, sizes and signs of life. Never ends: the other direction does.
async fn send(
    sink: &mut SplitSink<Socket, Message>,
    mut stdin: Option<Box<dyn AsyncRead + Send + Unpin + '_>>,
    mut sizes: Option<mpsc::Receiver<Size>>,
) -> std::convert::Infallible {
    let mut ping = tokio::time::interval(PING_PERIOD);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.reset();
    let mut buffer = vec![0; PIECE];
    loop {
        let input = async {
            match &mut stdin {
                Some(stdin) => stdin.read(&mut buffer).await,
                None => std::future::pending().await,
            }
        };
        let size = async {
            match &mut sizes {
                Some(sizes) => sizes.recv().await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            read = input => match read {
                Ok(count) if count > 0 => on_channel(STDIN, &buffer[..count]),
                _ => {
                    stdin = None;
                    on_channel(CLOSE, &[STDIN])
                }
            },
            size = size => match size {
                Some(size) => on_channel(RESIZE, json!({"Width": size.width, "Height": size.height}).to_string().as_bytes()),
                None => {
                    sizes = None;
                    continue;
                }
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            // The reading side sees the end too and says why.
            return std::future::pending().await;
        }
    }
}

fn on_channel(channel: u8, data: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(data.len() + 1);
    message.put_u8(channel);
    message.put_slice(data);
    Message::Binary(message.freeze())
}
