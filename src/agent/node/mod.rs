//! The node object: what this machine is and how it is. Registered, kept alive by a Lease, reported when it changes.
//!
//! Reading order: [`facts`] (what the machine is), [`report`] (the status, pure), [`follow`] (register, Lease, updates),
//! [`cni`] (the network configuration, once the node has its pod CIDR).

pub mod cni;
mod facts;
mod follow;
mod report;

pub use facts::{Capacity, Machine};
pub use follow::{NodeShared, run};
pub use report::{Health, Report};
