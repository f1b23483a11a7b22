//! Records of any size as small values of sled.
//!
//! sled moves a page over an eighth of a megabyte to a file of its own, which it never syncs: after a power failure such
//! a page may be gone. Pages have at most [`PAGE_ITEMS`] values, so values are kept so small that no page gets there.
//! It is also faster: the file for each page rewritten costs more than all else.

use std::ops::Range;

/// sled splits a page of more than 16 values; a little is added for one that is about to be.
const PAGE_ITEMS: usize = 20;

/// A quarter of sled's default segment, without headers: larger pages go to files.
const PAGE_BYTES: usize = 128 * 1024 - 64;

/// The most bytes of one value.
pub(super) const PART: usize = PAGE_BYTES / PAGE_ITEMS - KEY;

/// The most bytes of a part's key and what sled adds to it.
const KEY: usize = 64;

/// The key of a part: the record's number in its family, then the part's.
pub(super) fn key(family: u8, number: u64, part: u16) -> [u8; 11] {
    let mut key = [family; 11];
    key[1..9].copy_from_slice(&number.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The number in a part's key.
pub(super) fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?))
}

/// The keys of all parts of a range of records.
pub(super) fn keys(family: u8, numbers: Range<u64>) -> Range<[u8; 11]> {
    key(family, numbers.start, 0)..key(family, numbers.end, 0)
}

/// Splits a record into the values to store, each with its key. The first begins with the record's length.
pub(super) fn split(family: u8, number: u64, record: &[u8]) -> impl Iterator<Item = ([u8; 11], Vec<u8>)> + use<'_> {
    let length = u32::try_from(record.len()).expect("records are far smaller than 4 GiB");
    let (first, rest) = record.split_at(record.len().min(PART - 4));
    let first = [&length.to_be_bytes()[..], first].concat();
    let values = std::iter::once(first).chain(rest.chunks(PART).map(<[u8]>::to_vec));
    let part = |at: usize| u16::try_from(at).expect("a transaction's limit is far below 65536 parts");
    values.enumerate().map(move |(at, value)| (key(family, number, part(at)), value))
}

/// Puts records together again from their parts in order.
#[derive(Default)]
pub(super) struct Joiner {
    number: u64,
    next_part: u16,
    missing: usize,
    record: Vec<u8>,
}

impl Joiner {
    /// Takes the next part; gives the record that it completes. `None` when the parts do not make records.
    #[expect(clippy::option_option, reason = "the outer one says that the parts are wrong")]
    pub(super) fn add(&mut self, key: &[u8], mut value: &[u8]) -> Option<Option<(u64, Vec<u8>)>> {
        let number = number(key)?;
        let part = u16::from_be_bytes(key.get(9..11)?.try_into().ok()?);
        if part == 0 {
            let length;
            (length, value) = value.split_first_chunk::<4>()?;
            if self.missing > 0 {
                return None;
            }
            self.missing = u32::from_be_bytes(*length) as usize;
            self.number = number;
            self.next_part = 0;
        } else if self.missing == 0 {
            return None;
        }
        if (number, part) != (self.number, self.next_part) {
            return None;
        }
        self.missing = self.missing.checked_sub(value.len())?;
        self.record.extend_from_slice(value);
        if self.missing > 0 {
            self.next_part = part.checked_add(1)?;
            return Some(None);
        }
        Some(Some((number, std::mem::take(&mut self.record))))
    }

    /// Whether the last part given completed a record.
    pub(super) fn is_done(&self) -> bool {
        self.missing == 0
    }
}
