//! Cluster DNS, in the process: Kubernetes' DNS specification 1.1.0 for the cluster's domain, the host's resolvers for all
//! else. Behaves as CoreDNS does with `pods insecure`, `fallthrough` of reverse zones and `cache 30`.
//!
//! Reading order: `zone` (what is known, indexed), `answer` (a pure function from zone and query to a response),
//! `upstream` and `cache` (everything that is not ours), `server` (sockets).
//!
//! Invariant: no answer about the cluster's domain ever comes from upstream, and no query about it goes there.

mod answer;
mod cache;
mod server;
#[cfg(test)]
mod tests;
mod upstream;
mod zone;

pub use answer::{Outcome, answer};
pub use server::{Server, ServerError};
pub use upstream::Upstream;
pub use zone::Zone;
