//! What happened in the cluster, as a set of bits: the queue asks whether it can matter to a waiting pod.

use std::ops::BitOr;

/// A set of kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events(u32);

impl Events {
    pub const NONE: Events = Events(0);
    pub const NODE_ADDED: Events = Events(1);
    pub const NODE_ALLOCATABLE: Events = Events(1 << 1);
    pub const NODE_LABELS: Events = Events(1 << 2);
    /// Taints, or whether the node is cordoned.
    pub const NODE_TAINTS: Events = Events(1 << 3);
    pub const NODE_GONE: Events = Events(1 << 4);
    /// A pod has got a node.
    pub const POD_ADDED: Events = Events(1 << 5);
    /// A pod that held room on a node is gone or has ended.
    pub const POD_GONE: Events = Events(1 << 6);
    /// Labels of a pod with a node, or of the waiting pod itself.
    pub const POD_LABELS: Events = Events(1 << 7);
    /// A pod asks for less than before.
    pub const POD_SMALLER: Events = Events(1 << 8);
    /// The waiting pod itself tolerates other taints.
    pub const POD_TOLERATIONS: Events = Events(1 << 9);
    pub const CLAIM: Events = Events(1 << 10);
    pub const VOLUME: Events = Events(1 << 11);
    pub const STORAGE_CLASS: Events = Events(1 << 12);
    pub const CSI_NODE: Events = Events(1 << 13);
    pub const CSI_DRIVER: Events = Events(1 << 14);
    pub const CSI_CAPACITY: Events = Events(1 << 15);
    pub const ATTACHMENT: Events = Events(1 << 16);
    pub const RESOURCE_CLAIM: Events = Events(1 << 17);
    pub const RESOURCE_SLICE: Events = Events(1 << 18);
    pub const DEVICE_CLASS: Events = Events(1 << 19);
    /// The status of the waiting pod itself names claims that were made for it.
    pub const POD_CLAIMS: Events = Events(1 << 20);

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

impl std::ops::BitOrAssign for Events {
    fn bitor_assign(&mut self, other: Events) {
        self.0 |= other.0;
    }
}
