//! The part of SPDY/3.1 that a runtime's streaming server needs of its client: streams opened, data, their end.
//!
//! Flow control is not part of it: the servers that still speak SPDY never look at windows. Header blocks are sent as
//! stored zlib blocks, which need no compressor, and those of answers are not read.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
};

const CONTROL: u8 = 0x80;
const VERSION: u8 = 3;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;
/// Go copies in pieces of 32 KiB; whoever sends more than this is not speaking SPDY.
const LONGEST: usize = 4 << 20;
/// The longest text of a refusal that is told.
const EXCUSE: usize = 4 << 10;

const STREAM_PROTOCOL: &str = "X-Stream-Protocol-Version";

/// A connection to the streaming server at `url` that has turned into SPDY, and which of these protocols is spoken on its
/// streams.
pub(super) async fn dial(url: &str, protocols: &[HeaderValue]) -> Result<(TokioIo<Upgraded>, Option<HeaderValue>), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
    let authority = uri.authority().ok_or_else(|| format!("{url:?} names no host"))?.clone();
    let at = (authority.host().to_owned(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let ask = Request::post(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1");
    let ask = protocols.iter().fold(ask, |ask, protocol| ask.header(STREAM_PROTOCOL, protocol));
    let ask = ask.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(ask).await.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        let said = Limited::new(answer.into_body(), EXCUSE).collect().await;
        let said = said.map(|said| String::from_utf8_lossy(&said.to_bytes()).trim().to_owned()).unwrap_or_default();
        return Err(format!("the runtime's streaming server answered {status}: {said}"));
    }
    let chosen = answer.headers().get(STREAM_PROTOCOL).cloned();
    let upgraded = hyper::upgrade::on(answer).await.map_err(|error| error.to_string())?;
    Ok((TokioIo::new(upgraded), chosen))
}

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Data { stream: u32, data: Bytes, last: bool },
    /// To be sent back.
    Ping(u32),
    Nothing,
}

pub(super) struct Speaker<W> {
    out: W,
    streams: u32,
}

pub(super) struct Listener<R>(R);

pub(super) fn split<T: AsyncRead + AsyncWrite>(stream: T) -> (Speaker<WriteHalf<T>>, Listener<ReadHalf<T>>) {
    let (reader, writer) = tokio::io::split(stream);
    (Speaker { out: writer, streams: 0 }, Listener(reader))
}

impl<W: AsyncWrite + Unpin> Speaker<W> {
    /// Opens the next stream: 1, 3, 5 and so on.
    pub(super) async fn open(&mut self, headers: &[(&str, &str)]) -> io::Result<u32> {
        let id = self.streams * 2 + 1;
        let block = header_block(headers, self.streams == 0);
        self.streams += 1;
        let mut frame = BytesMut::new();
        control(&mut frame, SYN_STREAM, 10 + block.len());
        frame.put_u32(id);
        // No stream it belongs to, no priority, no slot.
        frame.put_slice(&[0; 6]);
        frame.put_slice(&block);
        self.out.write_all(&frame).await?;
        Ok(id)
    }

    pub(super) async fn data(&mut self, stream: u32, data: &[u8], last: bool) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(8 + data.len());
        frame.put_u32(stream);
        frame.put_u32(u32::from(if last { FIN } else { 0 }) << 24 | length(data.len()));
        frame.put_slice(data);
        self.out.write_all(&frame).await
    }

    pub(super) async fn pong(&mut self, id: u32) -> io::Result<()> {
        let mut frame = BytesMut::new();
        control(&mut frame, PING, 4);
        frame.put_u32(id);
        self.out.write_all(&frame).await
    }
}

impl<R: AsyncRead + Unpin> Listener<R> {
    /// `None` when the server has gone, or speaks something else.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        if length > LONGEST {
            return None;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        heard(head, body.into())
    }
}

fn heard(head: [u8; 8], mut body: Bytes) -> Option<Heard> {
    let last = head[4] & FIN != 0;
    if head[0] & CONTROL == 0 {
        let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        return Some(Heard::Data { stream, data: body, last });
    }
    match u16::from_be_bytes([head[2], head[3]]) {
        PING if body.len() >= 4 => Some(Heard::Ping(body.get_u32())),
        RST_STREAM if body.len() >= 4 => Some(Heard::Data { stream: body.get_u32(), data: Bytes::new(), last: true }),
        GOAWAY => None,
        _ => Some(Heard::Nothing),
    }
}

fn control(frame: &mut BytesMut, kind: u16, size: usize) {
    frame.put_slice(&[CONTROL, VERSION]);
    frame.put_u16(kind);
    frame.put_u32(length(size));
}

fn length(size: usize) -> u32 {
    u32::try_from(size).ok().filter(|size| size >> 24 == 0).expect("frames are made of pieces far below 16 MiB")
}

/// Names and values, in one stored block of the zlib stream that all header blocks of a connection are.
fn header_block(headers: &[(&str, &str)], first: bool) -> Bytes {
    let mut plain = BytesMut::new();
    plain.put_u32(length(headers.len()));
    for word in headers.iter().flat_map(|(name, value)| [name, value]) {
        plain.put_u32(length(word.len()));
        plain.put_slice(word.as_bytes());
    }
    let size = u16::try_from(plain.len()).expect("the few headers of a stream are short");
    let mut block = BytesMut::new();
    if first {
        block.put_slice(&[0x78, 0x01]);
    }
    block.put_u8(0);
    block.put_u16_le(size);
    block.put_u16_le(!size);
    block.put_slice(&plain);
    // An empty block: readers hand out what they have when they meet one.
    block.put_slice(&[0, 0, 0, 0xff, 0xff]);
    block.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn header_blocks_are_one_zlib_stream() {
        let blocks = [header_block(&[("streamtype", "error")], true), header_block(&[("streamtype", "stdin")], false)].concat();
        let mut plain = vec![0; 54];
        flate2::read::ZlibDecoder::new(blocks.as_slice()).read_exact(&mut plain).expect("two blocks");
        assert_eq!(plain, b"\0\0\0\x01\0\0\0\nstreamtype\0\0\0\x05error\0\0\0\x01\0\0\0\nstreamtype\0\0\0\x05stdin"[..54]);
    }

    #[tokio::test]
    async fn streams_are_opened_and_heard() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (mut speaker, mut listener) = split(ours);
        assert_eq!(speaker.open(&[("streamtype", "error")]).await.expect("open"), 1);
        assert_eq!(speaker.open(&[("streamtype", "stdin")]).await.expect("open"), 3);
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let mut head = [0; 12];
        reader.read_exact(&mut head).await.expect("a frame");
        assert_eq!(head[..4], [0x80, 3, 0, 1]);
        writer.write_all(b"\0\0\0\x05\x01\0\0\x02hi\x80\x03\0\x06\0\0\0\x04\0\0\0\x02\x80\x03\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0").await.expect("sent");
        assert_eq!(listener.next().await, Some(Heard::Data { stream: 5, data: Bytes::from_static(b"hi"), last: true }));
        assert_eq!(listener.next().await, Some(Heard::Ping(2)));
        assert_eq!(listener.next().await, None);
    }
}
