//! A keyspace as a file that is kept elsewhere: made while the store works, checked whole before it is believed.
//!
//! ```text
//! "mk8s snapshot\n" | version (4) | length (4), what it is about | length (4), piece | ... | 0 (4) | SHA-256 of all before
//! ```
//!
//! What it is about is the caller's: bytes that can be read without reading the rest.

use crate::raft::{Assembly, NotAPiece, Pieces, Whole};
use bytes::BufMut;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use thiserror::Error;

const MAGIC: &[u8; 14] = b"mk8s snapshot\n";

/// The version that this code writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// No file of ours announces more than this; what does is damaged.
const ABOUT_MAX: u32 = 1 << 20;
const PIECE_MAX: u32 = 64 << 20;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("it is no snapshot of mk8s")]
    Foreign,
    #[error("it has format {found}, this executable reads up to {VERSION}: use the newer mk8s that wrote it")]
    Newer { found: u32 },
    #[error("it has format {found}, which no mk8s has written")]
    Unknown { found: u32 },
    #[error("it is damaged ({what}): use another one")]
    Damaged { what: String },
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

/// A snapshot in the parts in which it is written, each made when it is asked for.
#[derive(Debug)]
pub struct Chunks {
    head: Option<Vec<u8>>,
    pieces: Option<Pieces>,
    digest: Sha256,
}

impl Chunks {
    pub fn new(about: &[u8], pieces: Pieces) -> Self {
        let mut head = MAGIC.to_vec();
        head.put_u32(VERSION);
        head.put_u32(u32::try_from(about.len()).expect("a caller says little"));
        head.put_slice(about);
        Self { head: Some(head), pieces: Some(pieces), digest: Sha256::new() }
    }
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(head) = self.head.take() {
            self.digest.update(&head);
            return Some(head);
        }
        let pieces = self.pieces.as_mut()?;
        if let Some(piece) = pieces.next() {
            let mut chunk = Vec::with_capacity(piece.len() + 4);
            chunk.put_u32(u32::try_from(piece.len()).expect("a piece is little more than one entry"));
            chunk.put_slice(&piece);
            self.digest.update(&chunk);
            return Some(chunk);
        }
        self.pieces = None;
        let mut end = vec![0; 4];
        self.digest.update(&end);
        end.put_slice(&self.digest.finalize_reset());
        Some(end)
    }
}

/// Reads what a snapshot is about, and nothing more: the rest may be damaged.
///
/// # Errors
/// [`SnapshotError`] when it is none of ours.
pub fn about(from: impl Read) -> Result<Vec<u8>, SnapshotError> {
    Reading::new(from).head()
}

/// Reads a snapshot whole. Nothing of it is given before all of it was checked.
///
/// # Errors
/// [`SnapshotError`] says why it cannot be used.
pub fn read(from: impl Read) -> Result<(Vec<u8>, Whole), SnapshotError> {
    let mut reading = Reading::new(from);
    let about = reading.head()?;
    let mut assembly = Assembly::default();
    // Why a piece is none is of interest only if it is as it was written.
    let mut added = Ok(());
    while let Some(piece) = reading.piece()? {
        added = added.and_then(|()| assembly.add(&piece));
    }
    reading.end()?;
    added.map_err(damaged)?;
    Ok((about, assembly.finish().map_err(damaged)?))
}

/// Checks a snapshot whole, a piece at a time; gives what it is about.
///
/// # Errors
/// As [`read`].
pub fn check(from: impl Read) -> Result<Vec<u8>, SnapshotError> {
    let mut reading = Reading::new(from);
    let about = reading.head()?;
    while reading.piece()?.is_some() {}
    reading.end()?;
    Ok(about)
}

fn damaged(error: NotAPiece) -> SnapshotError {
    SnapshotError::Damaged { what: error.to_string() }
}

struct Reading<R> {
    from: R,
    digest: Sha256,
}

impl<R: Read> Reading<R> {
    fn new(from: R) -> Self {
        Self { from, digest: Sha256::new() }
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        // What is announced is not believed before it comes.
        (&mut self.from).take(u64::from(length)).read_to_end(&mut bytes).map_err(SnapshotError::Io)?;
        if bytes.len() < length as usize {
            return Err(SnapshotError::Damaged { what: "it is cut short".to_owned() });
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, SnapshotError> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("four bytes were asked for")))
    }

    fn length(&mut self, max: u32) -> Result<u32, SnapshotError> {
        let length = self.number()?;
        if length > max {
            return Err(SnapshotError::Damaged { what: format!("a part of {length} bytes") });
        }
        Ok(length)
    }

    fn head(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let length = u32::try_from(MAGIC.len()).expect("it is short");
        match self.bytes(length) {
            Ok(magic) if magic == MAGIC => {}
            Ok(_) | Err(SnapshotError::Damaged { .. }) => return Err(SnapshotError::Foreign),
            Err(error) => return Err(error),
        }
        match self.number()? {
            VERSION => {}
            found if found > VERSION => return Err(SnapshotError::Newer { found }),
            found => return Err(SnapshotError::Unknown { found }),
        }
        let length = self.length(ABOUT_MAX)?;
        self.bytes(length)
    }

    fn piece(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        match self.length(PIECE_MAX)? {
            0 => Ok(None),
            length => self.bytes(length).map(Some),
        }
    }

    fn end(mut self) -> Result<(), SnapshotError> {
        let expected = self.digest.finalize_reset();
        let mut found = Vec::new();
        self.from.take(33).read_to_end(&mut found).map_err(SnapshotError::Io)?;
        match found.len() {
            32 if found == expected.as_slice() => Ok(()),
            32 => Err(SnapshotError::Damaged { what: "its checksum is wrong".to_owned() }),
            0..32 => Err(SnapshotError::Damaged { what: "it is cut short".to_owned() }),
            _ => Err(SnapshotError::Damaged { what: "something follows its end".to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mvcc::{Keyspace, View},
        txn::{Expect, Op, Stamped, Txn},
    };
    use bytes::Bytes;
    use proptest::prelude::*;

    fn snapshot(keys: usize) -> (View, Vec<u8>) {
        let mut keyspace = Keyspace::default();
        for n in 0..keys {
            let put =
                Op::Put { key: Bytes::from(format!("/k/{n}")), value: Stamped::plain("value"), expect: Expect::Any };
            assert!(keyspace.apply(&Txn::one(put)).outcome.is_ok());
        }
        let view = keyspace.view();
        (view.clone(), Chunks::new(b"about", Pieces::new(view)).flatten().collect())
    }

    #[test]
    fn what_was_written_is_read_again() {
        for keys in [0, 1, 500] {
            let (view, file) = snapshot(keys);
            assert_eq!(about(&file[..]).expect("it is one"), b"about");
            assert_eq!(check(&file[..]).expect("it is whole"), b"about");
            let (_, whole) = read(&file[..]).expect("it is whole");
            assert_eq!(whole.revision(), view.revision());
            assert!(whole.entries().iter().eq(view.prefix(b"")));
        }
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let (_, file) = snapshot(3);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(read(&changed[..]).is_err() && check(&changed[..]).is_err(), "byte {at}");
            assert!(read(&file[..at]).is_err() && check(&file[..at]).is_err(), "{at} bytes");
        }
        let longer = [&file[..], b"x"].concat();
        assert!(matches!(check(&longer[..]), Err(SnapshotError::Damaged { .. })));
    }

    #[test]
    fn files_of_others_and_of_newer_versions_are_told_apart() {
        let (_, mut file) = snapshot(1);
        assert!(matches!(about(&b"PK\x03\x04 something else"[..]), Err(SnapshotError::Foreign)));
        assert!(matches!(about(&b""[..]), Err(SnapshotError::Foreign)));
        file[17] = 2;
        assert!(matches!(read(&file[..]), Err(SnapshotError::Newer { found: 2 })));
        file[17] = 0;
        assert!(matches!(read(&file[..]), Err(SnapshotError::Unknown { found: 0 })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in prop::collection::vec(any::<u8>(), 0..80)) {
            let file = [&MAGIC[..], &1u32.to_be_bytes(), &tail].concat();
            assert!(read(&file[..]).is_err());
        }
    }
}
