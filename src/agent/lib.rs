//! The node: what the API server wants of this machine is done here, with containerd and the kernel.
//!
//! Reading order: [`AgentOptions`], [`run`] in `assemble.rs` (what is started, in which order), [`node`] (the machine as an
//! object), [`join`] (how it becomes one), [`pod`] (the life of a pod), then what pods need: [`image`], [`volume`],
//! [`probe`], [`cgroup`]; and what is asked of the node: [`http`] (logs, exec, attach, port-forward, statistics through
//! tunnels to all servers).
//!
//! Invariant: the agent is a client of the API like any other, with the rights of its node and no more.
//! Invariant: stopping or killing mk8s stops no container; a restart adopts what runs.
//! Invariant: the agent listens on no port; every server reaches it through a connection that the agent dialled.
//! Absent: the pod network. The runtime calls a CNI plugin; the agent writes that plugin's configuration.

mod assemble;
pub mod cgroup;
pub mod http;
pub mod image;
pub mod join;
pub mod logs;
pub mod node;
mod objects;
mod options;
pub mod pod;
pub mod probe;
mod supervise;
pub mod volume;
mod waker;

pub use assemble::run;
pub use image::{ImageArgs, image_command};
pub use join::{ClusterNetwork, JoinError, JoinOptions, Joined, join};
pub use mk8s_client::{Identity, Servers};
pub use options::{AgentOptions, Connection, EmbeddedImage, Paths};
pub use supervise::SuperviseError;
