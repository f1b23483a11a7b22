//! The network of a node: pods get addresses, Services get endpoints, names get answers.
//!
//! Four parts that share nothing but the kernel and the API:
//! - [`cni`], the plugin that containerd runs for each pod, a process of its own;
//! - [`service`], the proxy that keeps Services in nftables maps;
//! - [`dns`], the cluster's name server;
//! - `overlay`, the ways to the pods of other nodes.
//!
//! Reading order: `run` (how they are put together), then the part you need; `nft` and `netlink` are the doors to the
//! kernel.
//!
//! Invariant: only `nft` and `netlink` change the kernel's network.
//! Invariant: nothing here knows the agent; they meet in the CNI protocol and in the API.
//! Invariant: tables, links and addresses of others are never touched.
//! Invariant: what is loaded into the kernel outlives the process.

pub mod cni;
pub mod dns;
mod feed;
pub mod netlink;
pub mod nft;
mod overlay;
mod run;
pub mod service;

pub use cni::cni_main;
pub use feed::{Change, ObjectKey};
pub use overlay::Overlay;
pub use run::{NetError, NetOptions, cleanup, run};
