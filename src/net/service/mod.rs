//! The service proxy: virtual addresses of Services, translated by nftables to the addresses of their endpoints.
//!
//! Reading order: `model` (what a Service asks), `rules` (what that means in nftables), `table` (what differs from what is
//! loaded), `proxy` (the task that follows the API), `stale` (which tracked connections must be forgotten).
//!
//! Invariant: the proxy owns the tables `mk8s-svc` and touches no other.

mod model;
mod proxy;
mod rules;
mod stale;
mod table;
#[cfg(test)]
mod tests;

pub use model::{Place, Protocol, ServicePort, service_ports};
pub use proxy::{Proxy, Update, run};
pub use rules::{Choice, Contribution, Frame, Pick};
pub use stale::Stale;
pub use table::{ServiceKey, ServiceTable, TABLE};
