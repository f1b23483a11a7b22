//! A SPDY/3.1 client, as far as Kubernetes' port forwarding goes: streams opened by us, data both ways.
//!
//! ```text
//!  Stream ── Command ──> writer task ──> wire ──> reader task ── data ──> Stream
//!                 ^ numbers streams                   │ answers pings
//!                 └───────────────────────────────────┘
//! ```
//!
//! Frames are those of [`mk8s_client::spdy`].

use bytes::{Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream as Flow, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use mk8s_client::spdy::{self as frames, Frame};
use parking_lot::Mutex;
use std::{collections::HashMap, io, pin::Pin, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::{
    codec::{BytesCodec, Framed},
    sync::CancellationToken,
};

const PING_PERIOD: Duration = Duration::from_secs(10);
/// Pieces of data waiting for a slow reader of one stream.
const WAITING: usize = 32;

enum Command {
    Open { headers: Vec<(&'static str, String)>, incoming: mpsc::Sender<Bytes>, number: oneshot::Sender<u32> },
    Data { stream: u32, data: Bytes, fin: bool },
    Reset(u32),
    Pong(u32),
}

/// The streams that may still receive, by number.
type Open = Arc<Mutex<HashMap<u32, mpsc::Sender<Bytes>>>>;
type Wire = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;
type Source = Pin<Box<dyn Flow<Item = io::Result<Bytes>> + Send>>;

/// One connection with any number of streams.
#[derive(Clone)]
pub(crate) struct Connection {
    commands: mpsc::Sender<Command>,
    open: Open,
    closed: CancellationToken,
}

impl Connection {
    /// SPDY inside the binary messages of a WebSocket.
    pub(crate) fn tunneled(socket: super::Socket) -> Connection {
        let (sink, source) = socket.split();
        let sink =
            sink.sink_map_err(io::Error::other).with(|data: Bytes| std::future::ready(Ok(Message::Binary(data))));
        let source = source.filter_map(|message| {
            std::future::ready(match message {
                Ok(Message::Binary(data)) => Some(Ok(data)),
                Ok(Message::Close(_)) => Some(Err(io::ErrorKind::ConnectionAborted.into())),
                Ok(_) => None,
                Err(error) => Some(Err(io::Error::other(error))),
            })
        });
        Connection::start(Box::pin(sink), Box::pin(source))
    }

    /// SPDY as such.
    pub(crate) fn plain(stream: TokioIo<Upgraded>) -> Connection {
        let (sink, source) = Framed::new(stream, BytesCodec::new()).split();
        Connection::start(Box::pin(sink), Box::pin(source.map(|piece| piece.map(BytesMut::freeze))))
    }

    fn start(wire: Wire, source: Source) -> Connection {
        let (commands, taken) = mpsc::channel(WAITING);
        let connection = Connection { commands, open: Open::default(), closed: CancellationToken::new() };
        tokio::spawn(write_all(wire, taken, connection.open.clone(), connection.closed.clone()));
        let (open, closed, answers) =
            (connection.open.clone(), connection.closed.clone(), connection.commands.downgrade());
        tokio::spawn(async move {
            closed.run_until_cancelled(read_all(source, &open, answers)).await;
            closed.cancel();
            // Who waits for data learns that none comes.
            open.lock().clear();
        });
        connection
    }

    /// Opens a stream; `None` when the connection is gone.
    pub(crate) async fn stream(&self, headers: Vec<(&'static str, String)>) -> Option<Stream> {
        let (incoming, received) = mpsc::channel(WAITING);
        let (number, given) = oneshot::channel();
        self.commands.send(Command::Open { headers, incoming, number }).await.ok()?;
        let number = given.await.ok()?;
        Some(Stream { sender: Sender { number, commands: self.commands.clone() }, received, open: self.open.clone() })
    }

    /// Resolves when nothing can be sent or received any more.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub(crate) fn close(&self) {
        self.closed.cancel();
    }
}

/// One stream of a connection.
pub(crate) struct Stream {
    pub(crate) sender: Sender,
    received: mpsc::Receiver<Bytes>,
    open: Open,
}

/// The sending half of a stream; may be cloned.
#[derive(Clone)]
pub(crate) struct Sender {
    number: u32,
    commands: mpsc::Sender<Command>,
}

impl Sender {
    /// False when the connection is gone.
    pub(crate) async fn send(&self, data: Bytes) -> bool {
        self.command(Command::Data { stream: self.number, data, fin: false }).await
    }

    /// Says that nothing more is sent.
    pub(crate) async fn finish(&self) -> bool {
        self.command(Command::Data { stream: self.number, data: Bytes::new(), fin: true }).await
    }

    async fn command(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }
}

impl Stream {
    /// The next piece; `None` at the end of the stream or connection.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.received.recv().await
    }

    /// Drops the stream; the other side is told to send nothing more.
    pub(crate) async fn reset(self) {
        self.sender.command(Command::Reset(self.sender.number)).await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.lock().remove(&self.sender.number);
    }
}

/// The writer: numbers streams, and says every while that we are there.
async fn write_all(mut wire: Wire, mut commands: mpsc::Receiver<Command>, open: Open, closed: CancellationToken) {
    let mut next = 1;
    let mut pings = 1;
    let mut ping = tokio::time::interval(PING_PERIOD);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let frame = tokio::select! {
            () = closed.cancelled() => break,
            _ = ping.tick() => {
                pings += 2;
                frames::ping(pings - 2)
            }
            command = commands.recv() => match command {
                None => break,
                Some(Command::Open { headers, incoming, number }) => {
                    open.lock().insert(next, incoming);
                    // Who asked may have gone away; then nobody uses the stream.
                    let _ = number.send(next);
                    next += 2;
                    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    frames::open(next - 2, &headers, next == 3)
                }
                Some(Command::Data { stream, data, fin }) => frames::data(stream, fin, &data),
                Some(Command::Reset(stream)) => frames::reset(stream),
                Some(Command::Pong(number)) => frames::ping(number),
            },
        };
        let sent = closed.run_until_cancelled(wire.send(frame)).await;
        if !matches!(sent, Some(Ok(()))) {
            break;
        }
    }
    closed.cancel();
    // The other side may be gone already, or stuck.
    let _ = tokio::time::timeout(Duration::from_secs(1), wire.close()).await;
}

/// The reader: ends with the connection.
async fn read_all(mut source: Source, open: &Open, answers: mpsc::WeakSender<Command>) {
    let mut buffer = BytesMut::new();
    while let Some(Ok(piece)) = source.next().await {
        buffer.extend_from_slice(&piece);
        loop {
            let frame = match frames::read(&mut buffer) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return tracing::debug!(%error, "the other side does not speak SPDY"),
            };
            match frame {
                Frame::Data { stream, last, data } => {
                    let receiver = open.lock().get(&stream).cloned();
                    if let Some(receiver) = receiver
                        && !data.is_empty()
                    {
                        // A stream nobody reads takes nothing.
                        let _ = receiver.send(data).await;
                    }
                    if last {
                        open.lock().remove(&stream);
                    }
                }
                Frame::Reset(stream) => drop(open.lock().remove(&stream)),
                // Odd numbers are answers to ours.
                Frame::Ping(number) if number % 2 == 0 => {
                    let Some(answers) = answers.upgrade() else { return };
                    let _ = answers.send(Command::Pong(number)).await;
                }
                Frame::GoAway => return,
                Frame::Ping(_) | Frame::Other => {}
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The last data of a stream, as the peer sends it.
    pub(in crate::streaming) fn last(stream: u32, text: &str) -> Bytes {
        frames::data(stream, true, text.as_bytes())
    }

    /// A connection to a peer that is played by the test.
    pub(in crate::streaming) fn connection() -> (Connection, mpsc::Receiver<Bytes>, mpsc::Sender<io::Result<Bytes>>) {
        let (wire, sent) = mpsc::channel(8);
        let (said, source) = mpsc::channel(8);
        let wire = tokio_util::sync::PollSender::new(wire).sink_map_err(io::Error::other);
        (Connection::start(Box::pin(wire), Box::pin(tokio_stream::wrappers::ReceiverStream::new(source))), sent, said)
    }

    #[tokio::test]
    async fn streams_are_carried_until_their_end() {
        let (connection, mut sent, said) = connection();
        let mut stream = connection.stream(vec![("port", "80".to_owned())]).await.unwrap();
        assert_eq!(sent.recv().await.unwrap(), frames::open(1, &[("port", "80")], true));
        assert!(stream.sender.send(Bytes::from_static(b"hi")).await);
        assert_eq!(sent.recv().await.unwrap(), frames::data(1, false, b"hi"));
        said.send(Ok(frames::data(1, false, b"yes"))).await.unwrap();
        said.send(Ok(frames::data(9, false, b"nobody's"))).await.unwrap();
        said.send(Ok(frames::data(1, true, b"."))).await.unwrap();
        said.send(Ok(frames::ping(4))).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), "yes");
        assert_eq!(stream.next().await.unwrap(), ".");
        assert_eq!(stream.next().await, None);
        assert_eq!(sent.recv().await.unwrap(), frames::ping(4));
        let other = connection.stream(vec![]).await.unwrap();
        assert_eq!(sent.recv().await.unwrap(), frames::open(3, &[], false));
        other.reset().await;
        assert_eq!(sent.recv().await.unwrap(), frames::reset(3));
    }

    #[tokio::test]
    async fn the_end_of_the_connection_ends_its_streams() {
        let (connection, _sent, said) = connection();
        let mut stream = connection.stream(vec![]).await.unwrap();
        drop(said);
        connection.closed().await;
        assert_eq!(stream.next().await, None);
        assert!(connection.stream(vec![]).await.is_none());
    }
}
