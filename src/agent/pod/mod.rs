//! Pods of this node: one worker each, from the first sight of a pod until nothing of it is left.
//!
//! ```text
//! informer, static files ──▶ Mailbox ──wake──▶ Worker: observe ──▶ plan (pure) ──▶ act ──▶ status (pure) ──▶ report
//! containerd's events, probes, pulls, ConfigMaps ──wake──┘
//! ```
//!
//! Reading order: [`worker`] (the life of a pod), [`plan`] and [`status`] (what is decided and told), [`view`] (what the
//! runtime has), [`start`], [`kill`], [`record`] (what is known without a server); then what containers are made of: [`env`], [`sandbox`], [`security`], [`resources`].
//!
//! Invariant: one worker touches a pod's containers; whoever else wants something wakes it.
//! Invariant: what runs is found again by its labels; nothing about a pod is only in memory, except backoffs.
//! Invariant: a pod's last status is written before the pod is deleted.

mod backoff;
mod dns;
pub mod env;
mod expand;
pub mod facts;
mod hooks;
pub mod host;
mod host_ports;
mod hosts;
mod kill;
pub mod labels;
mod mailbox;
mod orphans;
mod plan;
mod record;
mod registry;
mod report;
pub mod resources;
mod sandbox;
mod security;
mod start;
mod static_pods;
pub mod status;
mod termination;
pub mod verdicts;
pub mod view;
mod worker;

#[cfg(test)]
mod tests;

pub use host::Host;
pub use registry::Pods;
pub use sandbox::log_folder;
