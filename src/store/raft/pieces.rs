//! A keyspace on its way: in pieces, each made when it is sent, so that neither end holds it twice.
//!
//! ```text
//! first piece   version, revision, number of entries, entries ...
//! others        entries ...
//! entry         key, created, modified, value
//! ```

use crate::{
    mvcc::{Entry, View},
    seal::Sealer,
    txn::{Reader, put_bytes},
};
use bytes::{BufMut, Bytes};
use std::{io, sync::Arc};
use thiserror::Error;

/// The first byte; another one is another format.
const VERSION: u8 = 2;

/// A piece is sent when it has this many bytes; one entry is never split.
const PIECE: usize = 512 << 10;

/// The pieces of a view, in order. Entries with keys under `/` come as in [`View::prefix`].
#[derive(Debug, Clone)]
pub struct Pieces {
    view: View,
    sealer: Option<Sealer>,
    size: usize,
    /// The last key sent; `None` before the first piece.
    after: Option<Bytes>,
    begun: bool,
    left: usize,
}

/// A keyspace put together again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole {
    pub(crate) revision: u64,
    pub(crate) entries: Vec<Arc<Entry>>,
}

impl Whole {
    pub(crate) fn of(view: &View) -> Self {
        Self { revision: view.revision(), entries: view.after(None).cloned().collect() }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }
}

/// Takes pieces in order.
#[derive(Debug, Default)]
pub struct Assembly {
    expected: Option<usize>,
    whole: Whole,
}

/// What was taken for a piece of a keyspace is none, or the pieces ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAPiece {
    #[error("these bytes are no piece of a keyspace")]
    Unreadable,
    #[error("this keyspace was written by another version of mk8s")]
    Version,
    #[error("the keyspace is cut short: {found} of {expected} entries are here")]
    Short { found: usize, expected: usize },
}

impl Pieces {
    pub fn new(view: View) -> Self {
        Self::of_size(view, PIECE)
    }

    pub(crate) fn of_size(view: View, size: usize) -> Self {
        let left = view.len();
        Self { view, sealer: None, size, after: None, begun: false, left }
    }

    /// The values are sealed on their way.
    pub(crate) fn sealed_by(self, sealer: Option<Sealer>) -> Self {
        Self { sealer, ..self }
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if !self.begun {
            self.begun = true;
            out.put_u8(VERSION);
            out.put_u64(self.view.revision());
            out.put_u64(self.left as u64);
        } else if self.left == 0 {
            return None;
        }
        let mut last = None;
        for entry in self.view.after(self.after.as_deref()) {
            put_bytes(&mut out, &entry.key);
            out.put_u64(entry.created);
            out.put_u64(entry.modified);
            match &self.sealer {
                Some(sealer) => put_bytes(&mut out, &sealer.entry(entry).value),
                None => put_bytes(&mut out, &entry.value),
            }
            self.left -= 1;
            last = Some(&entry.key);
            if out.len() >= self.size {
                break;
            }
        }
        if let Some(last) = last.cloned() {
            self.after = Some(last);
        }
        Some(out)
    }
}

impl Assembly {
    /// Takes the next piece.
    ///
    /// # Errors
    /// [`NotAPiece`] when it is none, or holds more than was announced.
    pub fn add(&mut self, piece: &[u8]) -> Result<(), NotAPiece> {
        let mut from = Reader(piece);
        let expected = match self.expected {
            Some(expected) => expected,
            None => {
                if from.u8().ok_or(NotAPiece::Unreadable)? != VERSION {
                    return Err(NotAPiece::Version);
                }
                let (revision, count) = from.u64().zip(from.u64()).ok_or(NotAPiece::Unreadable)?;
                self.whole.revision = revision;
                usize::try_from(count).map_err(|_| NotAPiece::Unreadable)?
            }
        };
        self.expected = Some(expected);
        while !from.0.is_empty() {
            let entry = read_entry(&mut from).ok_or(NotAPiece::Unreadable)?;
            if self.whole.entries.len() == expected || entry.modified > self.whole.revision {
                return Err(NotAPiece::Unreadable);
            }
            self.whole.entries.push(Arc::new(entry));
        }
        Ok(())
    }

    /// The keyspace, once every piece is here.
    ///
    /// # Errors
    /// [`NotAPiece::Short`] when some are missing.
    pub fn finish(self) -> Result<Whole, NotAPiece> {
        let (found, expected) = (self.whole.entries.len(), self.expected.unwrap_or(1));
        if found == expected { Ok(self.whole) } else { Err(NotAPiece::Short { found, expected }) }
    }
}

fn read_entry(from: &mut Reader<'_>) -> Option<Entry> {
    let key = Bytes::copy_from_slice(from.bytes()?);
    let (created, modified) = (from.u64()?, from.u64()?);
    let value = Bytes::copy_from_slice(from.bytes()?);
    Some(Entry { key, value, created, modified })
}

impl From<NotAPiece> for io::Error {
    fn from(error: NotAPiece) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::{Assembly, NotAPiece, Pieces};
    use crate::{
        mvcc::{Keyspace, View},
        txn::{Expect, Op, Stamped, Txn},
    };
    use bytes::Bytes;
    use proptest::prelude::*;

    fn view(count: usize) -> View {
        let mut keyspace = Keyspace::default();
        for n in 0..count {
            let value = Stamped::plain(vec![b'v'; n * 3]);
            let key = Bytes::from(format!("/k/{n}"));
            let applied = keyspace.apply(&Txn::one(Op::Put { key, value, expect: Expect::Any }));
            assert!(applied.outcome.is_ok());
        }
        keyspace.view()
    }

    #[test]
    fn a_keyspace_comes_back_from_its_pieces() {
        for (count, size) in [(0, 10), (1, 10), (50, 1), (50, 300), (50, 1 << 20)] {
            let view = view(count);
            let mut assembly = Assembly::default();
            let pieces: Vec<_> = Pieces::of_size(view.clone(), size).collect();
            for piece in &pieces {
                assembly.add(piece).expect("it is a piece");
            }
            let whole = assembly.finish().expect("all are there");
            assert_eq!(whole.revision(), view.revision());
            assert!(whole.entries().iter().eq(view.prefix(b"")), "{count} entries in pieces of {size}");
        }
    }

    #[test]
    fn pieces_that_are_missing_or_too_many_are_noticed() {
        let pieces: Vec<_> = Pieces::of_size(view(9), 1).collect();
        let mut assembly = Assembly::default();
        pieces[..8].iter().for_each(|piece| assembly.add(piece).expect("it is a piece"));
        assert_eq!(assembly.finish(), Err(NotAPiece::Short { found: 8, expected: 9 }));
        let mut assembly = Assembly::default();
        pieces.iter().for_each(|piece| assembly.add(piece).expect("it is a piece"));
        assert_eq!(assembly.add(&pieces[3]), Err(NotAPiece::Unreadable));
        assert_eq!(Assembly::default().add(&[1, 2, 3]), Err(NotAPiece::Version));
        assert!(Assembly::default().finish().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![Just(2u8), Just(0u8), any::<u8>()], 0..80)) {
            let mut assembly = Assembly::default();
            if assembly.add(&bytes).is_ok() {
                assembly.add(&bytes).unwrap_or(());
            }
        }
    }
}
