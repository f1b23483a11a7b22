//! A SPDY/3.1 client, as far as Kubernetes' port forwarding goes: streams opened by us, data both ways.
//!
//! ```text
//!  Stream ── Command ──> writer task ──> wire ──> reader task ── data ──> Stream
//!                 ^ numbers streams                   │ answers pings
//!                 └───────────────────────────────────┘
//! ```
//!
//! Invariant: header blocks are zlib streams of stored blocks: valid, never smaller, and no dictionary is needed.
//! Invariant: the headers of answers are skipped, so nothing is ever decompressed.
//! Invariant: windows are neither kept nor announced; no server that forwards ports does.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream as Flow, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{collections::HashMap, io, pin::Pin, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::{
    codec::{BytesCodec, Framed},
    sync::CancellationToken,
};

const CONTROL: u32 = 0x8003_0000;
const SYN_STREAM: u32 = 1;
const RST_STREAM: u32 = 3;
const PING: u32 = 6;
const GOAWAY: u32 = 7;
const FIN: u32 = 1;
const CANCEL: u32 = 5;
const PING_PERIOD: Duration = Duration::from_secs(10);
/// Pieces of data waiting for a slow reader of one stream.
const WAITING: usize = 32;
/// What one data frame can hold.
const LENGTH_MAX: usize = 0x00ff_ffff;

/// What is read off the wire and matters here.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Data { stream: u32, fin: bool, data: Bytes },
    Reset(u32),
    Ping(u32),
    GoAway,
    Other,
}

/// Takes a whole frame off the front.
fn read(buffer: &mut BytesMut) -> Option<Frame> {
    let head = buffer.get(..8)?;
    let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let second = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let length = second as usize & LENGTH_MAX;
    if buffer.len() < 8 + length {
        return None;
    }
    buffer.advance(8);
    let mut data = buffer.split_to(length).freeze();
    if first >> 31 == 0 {
        return Some(Frame::Data { stream: first, fin: second >> 24 & FIN != 0, data });
    }
    let number = if length >= 4 { data.get_u32() & 0x7fff_ffff } else { 0 };
    Some(match first & 0xffff {
        RST_STREAM => Frame::Reset(number),
        PING => Frame::Ping(number),
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    })
}

fn control(kind: u32, flags: u32, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + payload.len());
    frame.put_u32(CONTROL | kind);
    frame.put_u32(flags << 24 | payload.len() as u32);
    frame.put_slice(payload);
    frame.freeze()
}

fn data(stream: u32, flags: u32, data: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + data.len());
    frame.put_u32(stream);
    frame.put_u32(flags << 24 | data.len() as u32);
    frame.put_slice(data);
    frame.freeze()
}

fn open(stream: u32, headers: &[(&str, String)], first: bool) -> Bytes {
    let mut block = BytesMut::new();
    block.put_u32(headers.len() as u32);
    for (name, value) in headers {
        for text in [name.to_lowercase().as_str(), value.as_str()] {
            block.put_u32(text.len() as u32);
            block.put_slice(text.as_bytes());
        }
    }
    let mut payload = BytesMut::new();
    payload.put_u32(stream);
    payload.put_u32(0);
    payload.put_u16(0);
    if first {
        // zlib's header: deflate, 32 KiB window, no dictionary. All blocks of a connection are one zlib stream.
        payload.put_slice(&[0x78, 0x01]);
    }
    for piece in block.chunks(usize::from(u16::MAX)) {
        stored(&mut payload, piece);
    }
    // An empty block makes the other side hand out what it has.
    stored(&mut payload, &[]);
    control(SYN_STREAM, 0, &payload)
}

/// A deflate block that is not compressed.
fn stored(into: &mut BytesMut, piece: &[u8]) {
    let length = u16::try_from(piece.len()).expect("pieces are cut to 16 bits");
    into.put_u8(0);
    into.put_u16_le(length);
    into.put_u16_le(!length);
    into.put_slice(piece);
}

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
        let sink = sink.sink_map_err(io::Error::other).with(|data: Bytes| std::future::ready(Ok(Message::Binary(data))));
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
        let (open, closed, answers) = (connection.open.clone(), connection.closed.clone(), connection.commands.downgrade());
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
                control(PING, 0, &u32::to_be_bytes(pings - 2))
            }
            command = commands.recv() => match command {
                None => break,
                Some(Command::Open { headers, incoming, number }) => {
                    open.lock().insert(next, incoming);
                    // Who asked may have gone away; then nobody uses the stream.
                    let _ = number.send(next);
                    next += 2;
                    self::open(next - 2, &headers, next == 3)
                }
                Some(Command::Data { stream, data, fin }) => {
                    let flags = if fin { FIN } else { 0 };
                    self::data(stream, flags, &data)
                }
                Some(Command::Reset(stream)) => control(RST_STREAM, 0, &[stream.to_be_bytes(), CANCEL.to_be_bytes()].concat()),
                Some(Command::Pong(number)) => control(PING, 0, &number.to_be_bytes()),
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
        while let Some(frame) = read(&mut buffer) {
            match frame {
                Frame::Data { stream, fin, data } => {
                    let receiver = open.lock().get(&stream).cloned();
                    if let Some(receiver) = receiver
                        && !data.is_empty()
                    {
                        // A stream nobody reads takes nothing.
                        let _ = receiver.send(data).await;
                    }
                    if fin {
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
        data(stream, FIN, text.as_bytes())
    }

    #[test]
    fn frames_are_read_whole() {
        let mut wire = BytesMut::new();
        wire.extend_from_slice(&data(1, FIN, b"ab"));
        wire.extend_from_slice(&control(PING, 0, &2u32.to_be_bytes()));
        wire.extend_from_slice(&control(RST_STREAM, 0, &[3u32.to_be_bytes(), CANCEL.to_be_bytes()].concat()));
        wire.extend_from_slice(&control(2, 0, &[0; 9]));
        wire.extend_from_slice(&control(GOAWAY, 0, &[0; 8]));
        wire.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, b'a']);
        let frames: Vec<Frame> = std::iter::from_fn(|| read(&mut wire)).collect();
        let expected = [
            Frame::Data { stream: 1, fin: true, data: Bytes::from_static(b"ab") },
            Frame::Ping(2),
            Frame::Reset(3),
            Frame::Other,
            Frame::GoAway,
        ];
        assert_eq!(frames, expected);
        assert_eq!(wire.len(), 9, "half a frame stays");
    }

    #[test]
    fn header_blocks_are_stored_zlib() {
        let headers = [("streamType", "data".to_owned())];
        let first = open(1, &headers, true);
        let block = b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x04data";
        let mut expected = vec![0x80, 0x03, 0, 1, 0, 0, 0, 10 + 2 + 10 + block.len() as u8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0x01];
        expected.extend([0, block.len() as u8, 0, !(block.len() as u8), 0xff]);
        expected.extend(block);
        expected.extend([0, 0, 0, 0xff, 0xff]);
        assert_eq!(first.as_ref(), expected);
        assert_eq!(open(3, &headers, false).len(), first.len() - 2, "only the first block begins the zlib stream");
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
        assert_eq!(sent.recv().await.unwrap(), open(1, &[("port", "80".to_owned())], true));
        assert!(stream.sender.send(Bytes::from_static(b"hi")).await);
        assert_eq!(sent.recv().await.unwrap(), data(1, 0, b"hi"));
        said.send(Ok(data(1, 0, b"yes"))).await.unwrap();
        said.send(Ok(data(9, 0, b"nobody's"))).await.unwrap();
        said.send(Ok(data(1, FIN, b"."))).await.unwrap();
        said.send(Ok(control(PING, 0, &4u32.to_be_bytes()))).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), "yes");
        assert_eq!(stream.next().await.unwrap(), ".");
        assert_eq!(stream.next().await, None);
        assert_eq!(sent.recv().await.unwrap(), control(PING, 0, &4u32.to_be_bytes()));
        let other = connection.stream(vec![]).await.unwrap();
        assert_eq!(sent.recv().await.unwrap(), open(3, &[], false));
        other.reset().await;
        assert_eq!(sent.recv().await.unwrap(), control(RST_STREAM, 0, &[3u32.to_be_bytes(), CANCEL.to_be_bytes()].concat()));
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
