//! A stream cut into frames: a kind, a length, bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A transaction's limit is 8 MiB; an entry of the log may be a little more, and a message has several.
pub(super) const FRAME_MAX: usize = 32 << 20;

/// Questions and answers are small.
pub(super) const TALK_MAX: usize = 1 << 20;

pub(super) async fn write<W: AsyncWrite + Unpin>(to: &mut W, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a frame is too large to be sent"))?;
    let mut head = [kind; 5];
    head[1..].copy_from_slice(&length.to_be_bytes());
    to.write_all(&head).await?;
    to.write_all(bytes).await
}

/// How much room there is for a frame before its first byte comes: what was announced is not believed.
const DOUBTED: usize = 64 << 10;

/// The next frame; `None` at the stream's end.
pub(super) async fn read<R: AsyncRead + Unpin>(from: &mut R, length_max: usize) -> io::Result<Option<(u8, Vec<u8>)>> {
    read_into(from, length_max, DOUBTED).await
}

/// As [`read`], from another server, whose word is good: the frame takes no more memory than it has bytes.
pub(super) async fn read_trusted<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<(u8, Vec<u8>)>> {
    read_into(from, FRAME_MAX, FRAME_MAX).await
}

async fn read_into<R: AsyncRead + Unpin>(
    from: &mut R,
    length_max: usize,
    room: usize,
) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 5];
    match from.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if length > length_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut bytes = Vec::with_capacity(length.min(room));
    from.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((kind, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_and_bad_ones_are_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, 7, b"hello").await.expect("a vector takes all");
        write(&mut bytes, 8, b"").await.expect("a vector takes all");
        let mut from = &bytes[..];
        assert_eq!(read(&mut from, 10).await.expect("it reads"), Some((7, b"hello".to_vec())));
        assert_eq!(read_trusted(&mut from).await.expect("it reads"), Some((8, Vec::new())));
        assert_eq!(read(&mut from, 10).await.expect("it reads"), None);
        assert_eq!(read_trusted(&mut from).await.expect("it reads"), None);
        let (_, long) = read_trusted(&mut &[&[7, 0, 1, 0, 0][..], &[1; 1 << 16]].concat()[..])
            .await
            .expect("it reads")
            .expect("a frame");
        assert_eq!((long.len(), long.capacity()), (1 << 16, 1 << 16));
        assert!(read(&mut &bytes[..], 4).await.is_err(), "longer than allowed");
        assert!(read(&mut &bytes[..8], 10).await.is_err(), "cut short");
        assert!(read(&mut &[1, 255, 255, 255, 255][..], FRAME_MAX).await.is_err());
    }
}
