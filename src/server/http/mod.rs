//! From a socket to an answer: listening, the pipeline of a request, and the wire forms.
//!
//! Reading order: [`router`] (the pipeline), `again` (what other servers may know better), [`path`] and [`query`] (what a request asks for), [`dispatch`] (verb to
//! registry), [`answer`] (registry to bytes), [`body`], [`listener`] (TLS, HTTP/1.1, HTTP/2, the tunnel's ALPN).
//!
//! Invariant: errors become HTTP only here, and always as a `Status` object.
//! Invariant: a handler that panics costs its own request a 500, nothing else.

mod again;
pub mod answer;
pub mod body;
mod connect;
pub mod decode;
pub mod dispatch;
pub mod documents;
pub mod gzip;
pub mod health;
pub mod listener;
pub mod metrics;
pub mod negotiate;
pub mod path;
pub mod pretty;
pub mod query;
pub mod review;
pub mod router;

#[cfg(test)]
mod tests;

pub use body::{Body, RequestBody};
pub use router::Router;
