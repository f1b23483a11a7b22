//! What the API server asks of others over HTTPS: admission webhooks, conversion webhooks, extension API servers.
//!
//! Reading order: [`Endpoint`] (where, and whom to trust), [`Client`] (connections that are kept, requests, answers),
//! `resolve` (a Service's ready address), `connect` (the one way to a backend), `trust` (TLS), [`CallError`].
//!
//! Invariant: no redirect is followed, and no proxy of the environment is asked.
//! Invariant: what is read of an answer is bounded in size and time by the caller or by [`ANSWER_LIMIT`].
//! Invariant: a Service is reached under the name `NAME.NAMESPACE.svc`, at whatever address.

mod client;
mod connect;
mod endpoint;
mod error;
mod resolve;
#[cfg(test)]
pub(crate) mod tests;
mod trust;

pub use client::{ANSWER_LIMIT, Client};
pub(crate) use endpoint::ca_bundle;
pub use endpoint::{Endpoint, Identity, Place, ServicePlace};
pub use error::CallError;
pub use resolve::{Unresolved, resolve};
