//! How a segment of the log lies in its file: a head, then frames one after the other, each of which is one append.
//!
//! ```text
//! head    magic  end of the segment before  sequence  epoch  hard state  checksum
//! frame   length of its body  checksum of its body  checksum of these two, of the segment's sequence and of the place
//! body    flags  hard state?  entries
//! ```
//!
//! Frames begin at multiples of eight bytes. A frame is one only in the segment and at the place it was written for, so
//! nothing that lay in these blocks of the disk before is taken for one.

use crate::{
    engine::{HardState, LogEntry, codec},
    txn::Reader,
};
use bytes::BufMut;
use std::sync::Arc;

/// The bytes of a segment's head.
pub(super) const HEAD: usize = 64;
/// Where a segment's first frame goes.
pub(super) const BEGIN: u32 = HEAD as u32;
/// The bytes before a frame's body.
const PREFIX: usize = 16;
const ALIGN: usize = 8;
/// What its checksum is of.
const HEAD_CONTENT: usize = 28 + codec::HARD_STATE;
const MAGIC: &[u8; 8] = b"mk8s-log";
/// A body's flag: a hard state comes first.
const STATE: u8 = 1;

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Where the frames of the segment before end; 0 for the first of an epoch.
    pub(super) previous_end: u32,
    /// Grows by one.
    pub(super) sequence: u64,
    /// Which log it is of: another replica's state begins another one.
    pub(super) epoch: u64,
    /// The newest one before the segment.
    pub(super) hard_state: HardState,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut out = Vec::with_capacity(HEAD);
        out.put_slice(MAGIC);
        out.put_u32(self.previous_end);
        out.put_u64(self.sequence);
        out.put_u64(self.epoch);
        out.put_slice(&codec::hard_state(self.hard_state));
        out.put_u32(crc32fast::hash(&out));
        out.resize(HEAD, 0);
        out.try_into().expect("it has that length")
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (content, rest) = bytes.split_at_checked(HEAD_CONTENT)?;
        if u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) != crc32fast::hash(content) {
            return None;
        }
        let mut from = Reader(content.strip_prefix(MAGIC)?);
        let (previous_end, sequence, epoch) = (from.u32()?, from.u64()?, from.u64()?);
        Some(Self { previous_end, sequence, epoch, hard_state: codec::read_hard_state(from.0)? })
    }
}

/// Where an entry is in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) checksum: u32,
}

impl Place {
    /// The entry, given the bytes at the place.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<LogEntry> {
        if crc32fast::hash(bytes) != self.checksum {
            return None;
        }
        codec::read_log_entry(&mut Reader(bytes)).filter(|entry| entry.index == self.index)
    }
}

/// One append, as it was found or is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) hard_state: Option<HardState>,
    pub(super) places: Vec<Place>,
}

/// How many bytes an append needs at most.
pub(super) fn bound(entries: &[Arc<LogEntry>]) -> usize {
    let bodies: usize = entries.iter().map(|entry| codec::log_entry_length(entry)).sum();
    (PREFIX + 1 + codec::HARD_STATE + bodies).next_multiple_of(ALIGN)
}

/// Lays out an append for its place in the segment `sequence`; `out` is overwritten.
pub(super) fn write(
    out: &mut Vec<u8>,
    (sequence, offset): (u64, u32),
    entries: &[Arc<LogEntry>],
    hard_state: Option<HardState>,
) -> Batch {
    out.clear();
    out.resize(PREFIX, 0);
    out.put_u8(if hard_state.is_some() { STATE } else { 0 });
    if let Some(state) = hard_state {
        out.put_slice(&codec::hard_state(state));
    }
    let short = |length: usize| u32::try_from(length).expect("an append is far smaller than 4 GiB");
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let from = out.len();
        codec::put_log_entry(out, entry);
        let checksum = crc32fast::hash(&out[from..]);
        places.push(Place {
            index: entry.index,
            offset: offset + short(from),
            length: short(out.len() - from),
            checksum,
        });
    }
    let (prefix, body) = out.split_at_mut(PREFIX);
    let (length, checksum) = (short(body.len()), crc32fast::hash(body));
    prefix[..4].copy_from_slice(&length.to_be_bytes());
    prefix[4..8].copy_from_slice(&checksum.to_be_bytes());
    let sealed = seal(&prefix[..8], sequence, offset);
    prefix[8..12].copy_from_slice(&sealed.to_be_bytes());
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    Batch { hard_state, places }
}

fn seal(prefix: &[u8], sequence: u64, offset: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(prefix);
    hasher.update(&sequence.to_be_bytes());
    hasher.update(&offset.to_be_bytes());
    hasher.finalize()
}

/// What a segment holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) batches: Vec<Batch>,
    /// Where the next frame goes.
    pub(super) end: u32,
    /// There is a frame behind one that is broken: not what an append that was cut off leaves.
    pub(super) broken: bool,
}

/// Reads a whole segment behind its head.
pub(super) fn read(bytes: &[u8], sequence: u64) -> Found {
    let mut found = Found { batches: Vec::new(), end: 0, broken: false };
    let mut at = HEAD;
    while let Some((batch, next)) = frame_at(bytes, at, sequence) {
        found.batches.push(batch);
        at = next;
    }
    found.end = u32::try_from(at).expect("segments are far smaller than 4 GiB");
    found.broken = (at..bytes.len()).step_by(ALIGN).skip(1).any(|at| prefix_at(bytes, at, sequence).is_some());
    found
}

/// The length and checksum of the body of the frame that begins there, if one does.
fn prefix_at(bytes: &[u8], at: usize, sequence: u64) -> Option<(usize, u32)> {
    let prefix = bytes.get(at..at.checked_add(PREFIX)?)?;
    if prefix[..8] == [0; 8] {
        return None;
    }
    let mut from = Reader(prefix);
    let (length, checksum, sealed) = (from.u32()?, from.u32()?, from.u32()?);
    (sealed == seal(&prefix[..8], sequence, u32::try_from(at).ok()?)).then_some((length as usize, checksum))
}

fn frame_at(bytes: &[u8], at: usize, sequence: u64) -> Option<(Batch, usize)> {
    let (length, checksum) = prefix_at(bytes, at, sequence)?;
    let begin = at + PREFIX;
    let end = begin.checked_add(length)?;
    let body = bytes.get(begin..end)?;
    if crc32fast::hash(body) != checksum {
        return None;
    }
    let mut from = Reader(body);
    let hard_state = match from.u8()? {
        STATE => Some(codec::read_hard_state(from.take(codec::HARD_STATE)?)?),
        0 => None,
        _ => return None,
    };
    let mut places = Vec::new();
    while !from.0.is_empty() {
        let (offset, left) = (end - from.0.len(), from.0);
        let entry = codec::read_log_entry(&mut from)?;
        let bytes = &left[..left.len() - from.0.len()];
        let short = |number: usize| u32::try_from(number).ok();
        let checksum = crc32fast::hash(bytes);
        places.push(Place { index: entry.index, offset: short(offset)?, length: short(bytes.len())?, checksum });
    }
    Some((Batch { hard_state, places }, end.next_multiple_of(ALIGN)))
}
