//! How replicas reach each other: a door, behind which lies a network.

use super::Pieces;

/// Carries messages to other replicas. It may lose, repeat, delay and reorder them, as networks do.
pub trait Transport: Send + 'static {
    /// Takes a message for a replica. Must not block: what cannot be sent now is dropped, raft sends it again.
    fn send(&mut self, message: PeerMessage);
}

/// A message for another replica's [`crate::Store::deliver`].
#[derive(Debug, Clone)]
pub struct PeerMessage {
    pub to: u64,
    pub bytes: Vec<u8>,
    /// The keyspace that goes with it: then it is for [`crate::Store::deliver_with`], and
    /// [`crate::Store::snapshot_sent`] is to be told how it went.
    pub keyspace: Option<Pieces>,
}

/// The transport of a replica that is alone: there is nobody to send anything to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Transport for Alone {
    fn send(&mut self, _message: PeerMessage) {}
}
