//! Values that are to be read by nobody who has the disk alone: sealed wherever they leave memory.
//!
//! ```text
//!            commit ─▶ sealed ─▶ log, other replicas ─▶ apply: opened ─▶ keyspace in memory
//! checkpoint, snapshot, keyspace for another replica ◀── sealed ◀──────────────┘
//! ```
//!
//! The key is a record of the keyspace, sealed with a secret that every replica was given ([`Sealing`]). It travels by
//! the log like everything else, so that each replica has it before the first value that it seals, and a change of it
//! takes effect at one place in the log.
//!
//! Reading order: [`aead`], [`key`], [`keeper`].
//!
//! Invariant: what is in memory is open; who reads, lists and watches knows nothing of this room.
//! Invariant: whether a sealed write takes place depends on the names of keys alone, which every replica knows: one whose
//! key is not the current one does not, and is sealed anew by whoever asked for it.
//! Invariant: a checkpoint holds the key that its values are sealed with. After a change of the key all of it is written
//! anew, beside the old one, which counts until then.

pub mod aead;
pub(crate) mod keeper;
pub(crate) mod key;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub(crate) use keeper::Keeper;
pub use keeper::{Sealer, Sealing};
pub(crate) use key::{Key, SealError, is_name, sealed_by};

/// Where the key's record is.
pub(crate) const RECORD_KEY: &[u8] = b"/mk8s/encryption/key";

/// How values are sealed, as far as this replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealStatus {
    /// The key's name; `None` while there is none, and everything is written as it is.
    pub key: Option<String>,
    /// See [`Sealing::covered`].
    pub covered: Vec<Bytes>,
    /// How many values that is now.
    pub values: usize,
    /// Whether the files here are still being written anew with the key.
    pub rewriting: bool,
}
