//! A write: what it asks, its bytes in the log, and how it ends.

use crate::mvcc::Entry;
use bytes::{BufMut, Bytes};
use std::sync::Arc;
use thiserror::Error;

/// Operations that take effect together or not at all. Each one that changes a key takes the next revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    pub ops: Vec<Op>,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put {
        key: Bytes,
        value: Stamped,
        expect: Expect,
    },
    Delete {
        key: Bytes,
        expect: Expect,
    },
    /// Changes nothing, and fails the transaction if the expectation does not hold.
    Check {
        key: Bytes,
        expect: Expect,
    },
}

/// What a key must be for the operation to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Present,
    /// Present, and last modified at this revision.
    Revision(u64),
}

/// A value that may carry its own revision: at apply the decimal revision is inserted at `stamp_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    pub bytes: Bytes,
    /// A byte offset into `bytes`.
    pub stamp_at: Option<u32>,
}

impl Stamped {
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), stamp_at: None }
    }

    pub(crate) fn at_revision(&self, revision: u64) -> Bytes {
        let Some(at) = self.stamp_at else { return Bytes::copy_from_slice(&self.bytes) };
        let (before, after) = self.bytes.split_at(at as usize);
        let mut buffer = [0; 20];
        let digits = digits(revision, &mut buffer);
        let mut stamped = Vec::with_capacity(self.bytes.len() + digits.len());
        stamped.extend_from_slice(before);
        stamped.extend_from_slice(digits);
        stamped.extend_from_slice(after);
        stamped.into()
    }
}

/// The decimal digits of a number, written to the end of a buffer: no allocation for each write.
fn digits(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

/// What a transaction did.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The store's revision after it.
    pub revision: u64,
    /// Per operation: what was put, or what was deleted; `None` for a check, and for a delete of what was not there.
    pub entries: Vec<Option<Arc<Entry>>>,
}

/// Why a transaction did not take place.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    #[error("operation {op} of the transaction expected another state of its key")]
    Conflict {
        op: usize,
        /// What the key is instead; `None` when it is absent.
        current: Option<Arc<Entry>>,
    },
    #[error("a transaction of {size} bytes is over the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error(
        "the disk under the store has less than {reserve} bytes free: make room, writes are taken again by themselves"
    )]
    Full { reserve: u64 },
    #[error("the key that values are sealed with has changed; try again")]
    KeyChanged,
    #[error("the store takes no writes: {0}")]
    Unavailable(String),
}

/// The largest transaction in bytes.
pub const LIMIT: usize = 8 << 20;

impl Txn {
    /// A transaction of one operation.
    pub fn one(op: Op) -> Self {
        Self { ops: vec![op] }
    }

    pub(crate) fn encoded_len(&self) -> usize {
        4 + self.ops.iter().map(Op::encoded_len).sum::<usize>()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(self.ops.len()).expect("within the limit"));
        for op in &self.ops {
            let (tag, key, expect) = match op {
                Op::Put { key, expect, .. } => (0, key, expect),
                Op::Delete { key, expect } => (1, key, expect),
                Op::Check { key, expect } => (2, key, expect),
            };
            out.put_u8(tag);
            put_bytes(out, key);
            match expect {
                Expect::Any => out.put_u8(0),
                Expect::Absent => out.put_u8(1),
                Expect::Present => out.put_u8(2),
                Expect::Revision(revision) => {
                    out.put_u8(3);
                    out.put_u64(*revision);
                }
            }
            if let Op::Put { value, .. } = op {
                out.put_u32(value.stamp_at.map_or(u32::MAX, |at| at));
                put_bytes(out, &value.bytes);
            }
        }
    }

    /// The operation, if any, whose stamp lies outside its value: the caller's mistake, which must not reach the log.
    pub(crate) fn stamped_outside(&self) -> Option<usize> {
        self.ops.iter().position(|op| match op {
            Op::Put { value, .. } => value.stamp_at.is_some_and(|at| at as usize > value.bytes.len()),
            Op::Delete { .. } | Op::Check { .. } => false,
        })
    }

    /// Reads one transaction off the front of what is left of a log record; `None` when the bytes are not one. Keys
    /// and values are slices of the record: whoever keeps one copies it.
    pub(crate) fn decode(record: &Bytes, from: &mut Reader<'_>) -> Option<Self> {
        let count = from.u32()?;
        let mut ops = Vec::with_capacity(count.min(1024) as usize);
        for _ in 0..count {
            let tag = from.u8()?;
            let key = record.slice_ref(from.bytes()?);
            let expect = match from.u8()? {
                0 => Expect::Any,
                1 => Expect::Absent,
                2 => Expect::Present,
                3 => Expect::Revision(from.u64()?),
                _ => return None,
            };
            ops.push(match tag {
                0 => {
                    let stamp_at = Some(from.u32()?).filter(|at| *at != u32::MAX);
                    let bytes = record.slice_ref(from.bytes()?);
                    if stamp_at.is_some_and(|at| at as usize > bytes.len()) {
                        return None;
                    }
                    Op::Put { key, value: Stamped { bytes, stamp_at }, expect }
                }
                1 => Op::Delete { key, expect },
                2 => Op::Check { key, expect },
                _ => return None,
            });
        }
        Some(Self { ops })
    }
}

impl Op {
    fn encoded_len(&self) -> usize {
        match self {
            Op::Put { key, value, .. } => 22 + key.len() + value.bytes.len(),
            Op::Delete { key, .. } | Op::Check { key, .. } => 14 + key.len(),
        }
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("within the limit"));
    out.put_slice(bytes);
}

/// Reads numbers and byte strings off the front of a slice; never panics.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|b| u32::from_be_bytes(b.try_into().expect("four bytes")))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|b| u64::from_be_bytes(b.try_into().expect("eight bytes")))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}
