//! The runtime's streaming server, to which SPDY is spoken: dialled, and its frames sent and heard.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use mk8s_client::spdy::{self, Frame};
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
};

/// The longest text of a refusal that is told.
const EXCUSE: usize = 4 << 10;

const STREAM_PROTOCOL: &str = "X-Stream-Protocol-Version";

/// A connection to the streaming server at `url` that has turned into SPDY, and which of these protocols is spoken on its
/// streams.
pub(super) async fn dial(
    url: &str,
    protocols: &[HeaderValue],
) -> Result<(TokioIo<Upgraded>, Option<HeaderValue>), String> {
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

pub(super) struct Speaker<W> {
    out: W,
    streams: u32,
}

/// What the server says, as it comes.
pub(super) struct Listener<R> {
    from: R,
    buffer: BytesMut,
}

pub(super) fn split<T: AsyncRead + AsyncWrite>(stream: T) -> (Speaker<WriteHalf<T>>, Listener<ReadHalf<T>>) {
    let (from, out) = tokio::io::split(stream);
    (Speaker { out, streams: 0 }, Listener { from, buffer: BytesMut::new() })
}

impl<W: AsyncWrite + Unpin> Speaker<W> {
    /// Opens the next stream: 1, 3, 5 and so on.
    pub(super) async fn open(&mut self, headers: &[(&str, &str)]) -> io::Result<u32> {
        let id = self.streams * 2 + 1;
        self.out.write_all(&spdy::open(id, headers, self.streams == 0)).await?;
        self.streams += 1;
        Ok(id)
    }

    pub(super) async fn data(&mut self, stream: u32, data: &[u8], last: bool) -> io::Result<()> {
        self.out.write_all(&spdy::data(stream, last, data)).await
    }

    pub(super) async fn pong(&mut self, id: u32) -> io::Result<()> {
        self.out.write_all(&spdy::ping(id)).await
    }
}

impl<R: AsyncRead + Unpin> Listener<R> {
    /// `None` when the server has gone, or speaks something else.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            match spdy::read(&mut self.buffer) {
                Ok(Some(Frame::GoAway)) | Err(_) => return None,
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
            }
            if self.from.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        writer
            .write_all(
                b"\0\0\0\x05\x01\0\0\x02hi\x80\x03\0\x06\0\0\0\x04\0\0\0\x02\x80\x03\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0",
            )
            .await
            .expect("sent");
        assert_eq!(listener.next().await, Some(Frame::Data { stream: 5, data: Bytes::from_static(b"hi"), last: true }));
        assert_eq!(listener.next().await, Some(Frame::Ping(2)));
        assert_eq!(listener.next().await, None);
    }

    /// A streaming server that answers one request so, and what it was asked.
    async fn server(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/exec/token", listener.local_addr().expect("bound"));
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = String::new();
            while !asked.ends_with("\r\n\r\n") {
                asked.push(char::from(stream.read_u8().await.expect("a request")));
            }
            stream.write_all(answer.as_bytes()).await.expect("sent");
            asked.to_ascii_lowercase()
        });
        (url, asked)
    }

    #[tokio::test]
    async fn the_server_chooses_among_the_protocols_offered() {
        let offered = ["v4.channel.k8s.io", "channel.k8s.io"].map(HeaderValue::from_static);
        let (url, asked) = server(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: channel.k8s.io\r\n\r\nspdy",
        )
        .await;
        let (mut stream, chosen) = dial(&url, &offered).await.expect("upgraded");
        assert_eq!(chosen.as_ref(), Some(&offered[1]));
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.expect("what follows the answer");
        assert_eq!(&first, b"spdy");
        let asked = asked.await.expect("asked");
        assert!(asked.starts_with("post /exec/token "), "{asked}");
        for line in [
            "upgrade: spdy/3.1",
            "x-stream-protocol-version: v4.channel.k8s.io",
            "x-stream-protocol-version: channel.k8s.io",
        ] {
            assert!(asked.contains(line), "{asked}");
        }
        let (url, _asked) = server("HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno soap.\n").await;
        let refused = dial(&url, &[]).await.map(drop);
        assert_eq!(refused, Err("the runtime's streaming server answered 403 Forbidden: no soap.".to_owned()));
    }
}
