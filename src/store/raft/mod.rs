//! How a write becomes durable: one thread owns raft, its log and the keyspace.
//!
//! Reading order: `node` (the thread and its turns), `ready` (what raft wants done, in the order it must be done),
//! `log` (raft's storage), `pending` (who waits), `checkpoint` (how the log is kept short), `transport`.
//!
//! Invariant: raft's types do not leave this room.

mod checkpoint;
mod codec;
mod log;
mod node;
mod pending;
mod ready;
mod snapshot;
mod transport;

pub(crate) use codec::decode_message;
pub use node::{Leadership, MemberChange};
pub(crate) use node::{Node, Parts, Request};
pub use transport::{Alone, PeerMessage, Transport};
