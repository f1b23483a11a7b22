//! The frames of SPDY/3.1, as far as clients of streaming servers go: streams that they open, data, and their end. Pure;
//! who speaks it has the wire.
//!
//! Invariant: header blocks are zlib streams of stored blocks: valid, never smaller, and no dictionary is needed.
//! Invariant: the headers of answers are skipped, so nothing is ever decompressed.
//! Invariant: windows are neither kept nor announced; no server that speaks SPDY with Kubernetes' clients looks at them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const CONTROL: u32 = 0x8003_0000;
const SYN_STREAM: u32 = 1;
const RST_STREAM: u32 = 3;
const PING: u32 = 6;
const GOAWAY: u32 = 7;
const FIN: u32 = 1;
const CANCEL: u32 = 5;
/// Flags and length share a word.
const LENGTH: u32 = 0x00ff_ffff;

/// Go copies in pieces of 32 KiB; whoever sends more than this at once is not speaking SPDY.
pub const LONGEST: usize = 4 << 20;

/// A frame that is longer than [`LONGEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes is no frame of a stream")]
pub struct TooLong(usize);

/// What is read off the wire and matters to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Data {
        stream: u32,
        /// Nothing more comes on this stream.
        last: bool,
        data: Bytes,
    },
    /// The stream is gone.
    Reset(u32),
    /// To be sent back, unless it is an answer to ours: those are odd.
    Ping(u32),
    /// No stream will be opened any more.
    GoAway,
    Other,
}

/// Takes a whole frame off the front; `None` until there is one.
pub fn read(buffer: &mut BytesMut) -> Result<Option<Frame>, TooLong> {
    let Some([a, b, c, d, rest @ ..]) = buffer.first_chunk::<8>().copied() else { return Ok(None) };
    let (first, second) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(rest));
    let length = (second & LENGTH) as usize;
    if length > LONGEST {
        return Err(TooLong(length));
    }
    if buffer.len() < 8 + length {
        return Ok(None);
    }
    buffer.advance(8);
    let mut data = buffer.split_to(length).freeze();
    if first >> 31 == 0 {
        return Ok(Some(Frame::Data { stream: first, last: second >> 24 & FIN != 0, data }));
    }
    let number = (length >= 4).then(|| data.get_u32() & 0x7fff_ffff);
    Ok(Some(match (first & 0xffff, number) {
        (RST_STREAM, Some(stream)) => Frame::Reset(stream),
        (PING, Some(number)) => Frame::Ping(number),
        (GOAWAY, _) => Frame::GoAway,
        _ => Frame::Other,
    }))
}

/// Opens a stream; clients' have odd numbers. The `first` one of a connection begins the zlib stream that all header
/// blocks are part of.
pub fn open(stream: u32, headers: &[(&str, &str)], first: bool) -> Bytes {
    let mut block = BytesMut::new();
    block.put_u32(word(headers.len()));
    for (name, value) in headers {
        for text in [name.to_lowercase().as_str(), value] {
            block.put_u32(word(text.len()));
            block.put_slice(text.as_bytes());
        }
    }
    let mut payload = BytesMut::new();
    payload.put_u32(stream);
    // No stream it belongs to, no priority, no slot.
    payload.put_slice(&[0; 6]);
    if first {
        // zlib's header: deflate, 32 KiB window, no dictionary.
        payload.put_slice(&[0x78, 0x01]);
    }
    for piece in block.chunks(usize::from(u16::MAX)) {
        stored(&mut payload, piece);
    }
    // An empty block makes the other side hand out what it has.
    stored(&mut payload, &[]);
    control(SYN_STREAM, &payload)
}

/// Data of a stream, in as many frames as it takes.
pub fn data(stream: u32, last: bool, data: &[u8]) -> Bytes {
    let mut frames = BytesMut::with_capacity(8 + data.len());
    let mut rest = data;
    loop {
        let (piece, after) = rest.split_at(rest.len().min(LONGEST));
        rest = after;
        frames.put_u32(stream);
        frames.put_u32(if last && rest.is_empty() { FIN << 24 } else { 0 } | word(piece.len()));
        frames.put_slice(piece);
        if rest.is_empty() {
            return frames.freeze();
        }
    }
}

/// Asks whether the other side is there, or answers that.
pub fn ping(number: u32) -> Bytes {
    control(PING, &number.to_be_bytes())
}

/// Gives a stream up.
pub fn reset(stream: u32) -> Bytes {
    control(RST_STREAM, &[stream.to_be_bytes(), CANCEL.to_be_bytes()].concat())
}

fn control(kind: u32, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + payload.len());
    frame.put_u32(CONTROL | kind);
    frame.put_u32(word(payload.len()));
    frame.put_slice(payload);
    frame.freeze()
}

/// A deflate block that is not compressed.
fn stored(into: &mut BytesMut, piece: &[u8]) {
    let length = u16::try_from(piece.len()).expect("pieces are cut to 16 bits");
    into.put_u8(0);
    into.put_u16_le(length);
    into.put_u16_le(!length);
    into.put_slice(piece);
}

fn word(length: usize) -> u32 {
    u32::try_from(length).ok().filter(|length| *length <= LENGTH).expect("data is cut to pieces, headers are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whole() {
        let mut wire = BytesMut::new();
        wire.extend_from_slice(&data(1, true, b"ab"));
        wire.extend_from_slice(&ping(2));
        wire.extend_from_slice(&reset(3));
        wire.extend_from_slice(&control(2, &[0; 9]));
        // One that is too short for what it should hold.
        wire.extend_from_slice(&control(PING, &[0; 2]));
        wire.extend_from_slice(&control(GOAWAY, &[0; 8]));
        wire.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, b'a']);
        let frames: Vec<Frame> = std::iter::from_fn(|| read(&mut wire).expect("short frames")).collect();
        let expected = [
            Frame::Data { stream: 1, last: true, data: Bytes::from_static(b"ab") },
            Frame::Ping(2),
            Frame::Reset(3),
            Frame::Other,
            Frame::Other,
            Frame::GoAway,
        ];
        assert_eq!(frames, expected);
        assert_eq!(wire.len(), 9, "half a frame stays");
    }

    #[test]
    fn long_frames_are_refused_before_they_are_read() {
        let mut wire = BytesMut::from(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff][..]);
        assert_eq!(read(&mut wire), Err(TooLong(0xff_ffff)));
    }

    #[test]
    fn long_data_is_cut() {
        let mut wire = BytesMut::from(&data(5, true, &vec![7; LONGEST + 1])[..]);
        let mut next = || read(&mut wire).expect("short frames");
        let lengths = [next(), next()].map(|frame| match frame {
            Some(Frame::Data { stream: 5, last, data }) => (last, data.len()),
            other => panic!("{other:?}"),
        });
        assert_eq!(lengths, [(false, LONGEST), (true, 1)]);
        assert_eq!(next(), None);
    }

    #[test]
    fn header_blocks_are_stored_zlib() {
        let headers = [("streamType", "data")];
        let first = open(1, &headers, true);
        let block = b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x04data";
        let length = u8::try_from(block.len()).expect("it is short");
        let mut expected = vec![0x80, 0x03, 0, 1, 0, 0, 0, 10 + 2 + 10 + length];
        expected.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x78, 0x01]);
        expected.extend([0, length, 0, !length, 0xff]);
        expected.extend(block);
        expected.extend([0, 0, 0, 0xff, 0xff]);
        assert_eq!(first.as_ref(), expected);
        assert_eq!(open(3, &headers, false).len(), first.len() - 2, "only the first block begins the zlib stream");
    }
}
