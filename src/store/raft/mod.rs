//! How a write becomes durable: one thread owns raft, its log and the keyspace.

mod log;
mod node;

pub(crate) use node::{Node, Request};
