//! How a write becomes durable, here and on the other replicas.
//!
//! ```text
//! inputs ─▶ Replica (raft, its log, the keyspace; no thread, no clock, no disk of its own) ─▶ Effects
//!    ▲                                                                                         │
//!    └──── Owner (a thread, the clock, the disk, the network), or the simulation of tests ◀────┘
//! ```
//!
//! Reading order: `replica` (what it is told), `ready` (what raft then wants, in the order it must be done), `apply`,
//! `effects` (what the world is to do), `members`, `witness`, `proposals`; `owner` and `disk` (the world), `checkpoint` (how the
//! log is kept short); `log` (raft's storage), `pending` (who waits), `pieces` (a keyspace on its way), `transport`.
//!
//! Invariant: raft's types do not leave this room.
//! Invariant: a [`replica::Replica`] does the same for the same inputs, so that a simulation can be played again.

mod apply;
mod checkpoint;
mod codec;
mod disk;
mod effects;
mod log;
mod members;
mod owner;
mod pending;
mod pieces;
mod proposals;
mod ready;
mod replica;
mod transport;
mod witness;

#[cfg(test)]
pub(crate) use checkpoint::Checkpoint;
pub(crate) use checkpoint::Done as CheckpointDone;
pub(crate) use codec::decode_message;
#[cfg(test)]
pub(crate) use codec::encode_message;
#[cfg(test)]
pub(crate) use effects::Settled;
pub(crate) use effects::{Effects, Outgoing, Show, Write};
pub use members::{Leadership, MemberChange, MemberStatus};
pub(crate) use owner::{Owner, Parts, Request};
pub use pieces::{Assembly, NotAPiece, Pieces, Whole};
pub(crate) use replica::{Replica, Settings};
pub use transport::{Alone, PeerMessage, Transport};
