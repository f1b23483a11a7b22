//! The doors to the container runtime: CRI v1, and containerd's own API for what CRI has not.
//!
//! Reading order: [`channel`] (gRPC over a unix socket), [`Runtime`] (CRI: sandboxes, containers, images),
//! [`Containerd`] (events, processes in containers, image import), [`archive`] (what is inside an image archive).
//!
//! Invariant: nothing here knows pods, the Kubernetes API or policies; it asks the runtime and reports.
//! Invariant: every call to the runtime has a deadline, except those that wait by their nature.
//! Absent: retries. Who calls knows whether trying again is right.

pub mod archive;
mod channel;
mod containerd;
mod error;
mod exec;
mod import;
mod runtime;

pub use channel::socket_channel;
pub use containerd::{Containerd, TaskEvent};
pub use error::CriError;
pub use exec::{Control, Exec, ExecOptions, Streams};
pub use k8s_cri::v1;
pub use runtime::Runtime;
pub use tonic::Code;
