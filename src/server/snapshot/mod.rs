//! Snapshots: the whole state in a file, made while the server works, and a cluster made of one again.
//!
//! ```text
//! server ─▶ chunks ─▶ (port 6443) ─▶ file, read back and checked, renamed into place
//! file ─▶ checked whole ─▶ a new store beside the old one ─▶ put in its place
//! ```
//!
//! Reading order: [`about`] (what a snapshot says of itself), [`folder`] (where they lie, which are kept), [`command`]
//! (`mk8s snapshot`), [`restore`], [`schedule`].
//!
//! Invariant: a file with a snapshot's name is whole; one that is being written has another name.
//! Invariant: nothing of a cluster that is there is changed before the snapshot was read to its end.

mod about;
mod command;
mod folder;
mod restore;
pub mod schedule;

pub(crate) use about::describe;
pub use command::{SnapshotArgs, command};
