//! The keyspace and what a transaction does to it. Pure: no disk, no clock, no threads.

mod event;
mod groups;
mod index;
mod keyspace;
mod root;
mod view;
mod window;

#[cfg(test)]
mod tests;

pub use event::{Event, EventKind, FrameCache};
pub(crate) use groups::Groups;
pub use index::{Index, Term, Terms};
pub use keyspace::{Change, Now};
pub(crate) use keyspace::{Contents, Keyspace};
pub(crate) use root::Root;
pub use view::View;
pub(crate) use window::{Window, WindowLimits};

use bytes::Bytes;
use thiserror::Error;

/// A key's value and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Bytes,
    pub value: Bytes,
    /// The revision that created the key.
    pub created: u64,
    /// The revision that wrote this value.
    pub modified: u64,
}

/// The revision asked for is older than what is kept, or not reached yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("revision {asked} is not available: {oldest} to {newest} are")]
pub struct Compacted {
    pub asked: u64,
    pub oldest: u64,
    pub newest: u64,
}
