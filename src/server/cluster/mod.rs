//! Several servers: how one joins, how they reach each other, and who does what only one may do.
//!
//! ```text
//! port 6443, by ALPN   mk8s-cluster/1   questions and answers: the CA, join, members, remove, transfer
//!                      mk8s-raft/1      the store's messages and keyspaces, between servers only
//! ```
//!
//! Reading order: [`record`] (what a server knows of itself), [`members`] (what all know of each other, kept in the
//! store), [`seal`], [`frames`] (how bytes are cut), [`talk`] (questions and answers), [`join`], [`answer`],
//! [`lines`] (messages that go out), [`incoming`] (those that come in), [`removed`] (not to be a member any more), [`room`] (what is said of a full disk), [`lead`], [`access`] and [`command`], [`rebuild`]
//! (a new cluster of what is left).
//!
//! Invariant: nothing is told to a server before the token's hash has shown that its CA is the right one.
//! Invariant: the store's messages are taken from holders of a server's certificate only, and only by the member that
//! they are for.
//! Invariant: a member's number is never used again.

mod access;
mod answer;
mod command;
mod frames;
mod incoming;
pub mod join;
mod lead;
mod lines;
pub mod members;
pub(crate) mod rebuild;
mod record;
mod removed;
pub(crate) mod room;
pub(crate) mod seal;
pub mod talk;

pub use access::Access;
pub(crate) use access::columns;
pub use answer::Cluster;
pub use command::{ClusterArgs, command};
pub use incoming::receive;
pub use lead::while_leading;
pub use lines::Lines;
pub use record::Record;
pub use removed::{Removed, remedy};

/// The protocol of questions between servers, and of the command line.
pub const TALK: &[u8] = b"mk8s-cluster/1";

/// The protocol of the store's messages.
pub const RAFT: &[u8] = b"mk8s-raft/1";

/// The group in a server's certificate.
pub const SERVERS: &str = "mk8s:servers";
