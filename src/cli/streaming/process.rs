//! The streams of a process, whatever the server speaks: channels in a WebSocket, or the streams of SPDY where those are
//! unknown (servers before Kubernetes 1.30).

use super::{
    Refused,
    channels::{self, Ends, V5},
    plain_spdy,
    spdy::{self, Sender, Stream},
    websocket,
};
use crate::{failure::Failure, remote::Remote};
use anyhow::{Result, anyhow};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of the streams that is asked for over SPDY.
const V4: &str = "v4.channel.k8s.io";
const PIECE: usize = 32 << 10;

/// A connection to a process.
pub(crate) enum Process {
    Channels(Box<super::Socket>),
    Spdy(spdy::Connection),
}

impl Process {
    /// Connects to what `path` names; its query says which streams there are.
    pub(crate) async fn open(remote: &Remote, path: &str) -> Result<Process> {
        let refused = match websocket(remote, path, &[V5]).await {
            Ok((socket, _)) => return Ok(Process::Channels(Box::new(socket))),
            Err(Refused::Unreachable(error)) => return Err(error),
            Err(Refused::Answer(error)) => error,
        };
        match plain_spdy(remote, path, V4).await {
            Ok(stream) => Ok(Process::Spdy(spdy::Connection::plain(stream))),
            // A server's own words are better than that it does not know SPDY either.
            Err(_) if matches!(refused.downcast_ref(), Some(Failure::Api(_))) => Err(refused),
            Err(second) => Err(second.into_error()),
        }
    }

    /// Carries the streams until the server tells how the process ended.
    pub(crate) async fn carry(self, shape: Shape, ends: Ends<'_>) -> Result<Value> {
        match self {
            Process::Channels(socket) => channels::carry(*socket, ends).await,
            Process::Spdy(connection) => carry(&connection, shape, ends).await,
        }
    }
}

/// The streams the query of the path asks for, beside stdout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) stdin: bool,
    pub(crate) tty: bool,
}

async fn carry(connection: &spdy::Connection, shape: Shape, ends: Ends<'_>) -> Result<Value> {
    let Ends { stdin, stdout, stderr, sizes, leave } = ends;
    let open = async |kind: &str| -> Result<Stream> {
        let stream = connection.stream(vec![("streamType", kind.to_owned())]).await;
        stream.ok_or_else(|| anyhow!("error creating {kind} stream: the connection is closed"))
    };
    let mut errors = open("error").await?;
    let input = if shape.stdin { Some(open("stdin").await?) } else { None };
    let mut output = open("stdout").await?;
    let mut messages = if shape.tty { None } else { Some(open("stderr").await?) };
    let resize = if shape.tty { Some(open("resize").await?) } else { None };
    let up = async {
        if let (Some(reader), Some(stream)) = (stdin, &input) {
            send(reader, &stream.sender).await;
        }
        std::future::pending::<()>().await;
    };
    let resizes = async {
        if let (Some(mut sizes), Some(stream)) = (sizes, &resize) {
            while let Some(size) = sizes.recv().await {
                let text = format!("{}\n", json!({"Width": size.width, "Height": size.height}));
                stream.sender.send(text.into()).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let down = async {
        let receive_errors = async {
            if let Some(stream) = &mut messages {
                receive(stream, stderr).await?;
            }
            anyhow::Ok(())
        };
        let told = async {
            let mut text = Vec::new();
            while let Some(piece) = errors.next().await {
                text.extend_from_slice(&piece);
            }
            anyhow::Ok(text)
        };
        let (_, (), told) = tokio::try_join!(receive(&mut output, stdout), receive_errors, told)?;
        anyhow::Ok(told)
    };
    let told = tokio::select! {
        told = down => told?,
        () = leave.cancelled() => Vec::new(),
        () = up => Vec::new(),
        () = resizes => Vec::new(),
    };
    connection.close();
    if told.is_empty() {
        return Ok(json!({"status": "Success"}));
    }
    serde_json::from_slice(&told)
        .map_err(|error| anyhow!("error stream protocol error: {error} in {:?}", String::from_utf8_lossy(&told)))
}

async fn send(mut from: Box<dyn AsyncRead + Send + Unpin + '_>, to: &Sender) {
    let mut buffer = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !to.send(Bytes::copy_from_slice(&buffer[..count])).await {
            return;
        }
    }
    to.finish().await;
}

async fn receive(from: &mut Stream, to: Option<Box<dyn AsyncWrite + Send + Unpin + '_>>) -> Result<()> {
    let mut to = to;
    while let Some(piece) = from.next().await {
        if let Some(writer) = &mut to {
            writer.write_all(&piece).await?;
            writer.flush().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use spdy::tests::{connection, last};

    #[tokio::test]
    async fn streams_are_carried_over_spdy() {
        let (connection, mut sent, said) = connection();
        let peer = tokio::spawn(async move {
            let mut input = Vec::new();
            // Four streams are opened, numbered 1 to 7; of stdin (3) comes one piece, then its end.
            for _ in 0..6 {
                let frame = sent.recv().await.unwrap();
                if frame.starts_with(&[0, 0, 0, 3]) {
                    input.extend_from_slice(&frame[8..]);
                }
            }
            for (stream, text) in [(5, "out"), (7, "err"), (1, r#"{"status": "Failure", "message": "m"}"#)] {
                said.send(Ok(last(stream, text))).await.unwrap();
            }
            input
        });
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ends = Ends {
            stdin: Some(Box::new(b"in".as_slice())),
            stdout: Some(Box::new(&mut stdout)),
            stderr: Some(Box::new(&mut stderr)),
            ..Ends::default()
        };
        let status = carry(&connection, Shape { stdin: true, tty: false }, ends).await.unwrap();
        assert_eq!(status["message"], "m");
        assert_eq!((stdout, stderr), (b"out".to_vec(), b"err".to_vec()));
        assert_eq!(peer.await.unwrap(), b"in");
    }
}
