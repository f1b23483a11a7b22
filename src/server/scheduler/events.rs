//! What happened in the cluster, as a set of bits: the queue asks whether it can matter to a waiting pod.

use std::ops::BitOr;

/// A set of kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events(u16);

impl Events {
    pub const NONE: Events = Events(0);
    pub const NODE_ADDED: Events = Events(1);
    pub const NODE_ALLOCATABLE: Events = Events(1 << 1);
    pub const NODE_LABELS: Events = Events(1 << 2);
    pub const NODE_TAINTS: Events = Events(1 << 3);
    /// A pod that held room on a node is gone or has ended.
    pub const POD_GONE: Events = Events(1 << 4);
    /// The waiting pod itself has changed.
    pub const POD_CHANGED: Events = Events(1 << 5);
    pub const ALL: Events = Events(u16::MAX);

    pub fn intersects(self, other: Events) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Events {
    type Output = Events;
    fn bitor(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }
}
