//! The API server, and the control plane it carries: one process, one port, one store.
//!
//! Reading order: [`assemble`] (what is started, in which order), [`cluster`] (several servers), [`encryption`] (what is sealed at rest), [`http`] (the way of a
//! request from socket to answer), [`registry`] (what a verb does to an object), then [`auth`], [`flow`], [`audit`],
//! [`admission`], [`table`], [`relay`],
//! [`webhook`], [`aggregation`], [`bootstrap`] and [`witness`], each of which stands alone.
//!
//! ```text
//! socket -> TLS -> http::Router: authenticate -> flow -> authorize -> dispatch -> registry -> store
//!           in-process clients --^   (a trusted `User` in the request's extensions)
//! extension API servers <- aggregation <- what is not served here
//! agent's tunnel <- relay <- pods/exec, pods/log, nodes/proxy, ...
//! ```
//!
//! Invariant: only this crate touches the store; controllers and the scheduler are clients of [`http::Router`].
//! Invariant: only `http` turns errors into HTTP; the registry speaks in `Status` and stored bytes.
//! Invariant: what is stored is what a client receives; a read encodes nothing.
//! Invariant: no request is trusted because of what it says about itself; trust comes from TLS, a token, or the process.

pub mod admission;
pub mod aggregation;
pub mod assemble;
pub mod audit;
pub mod auth;
pub mod bootstrap;
pub mod cluster;
pub mod encryption;
pub mod flow;
pub mod http;
pub mod options;
pub mod registry;
pub mod relay;
pub mod snapshot;
mod stored;
pub mod table;
pub mod usage;
pub mod webhook;
pub mod witness;

pub use assemble::{Server, run};
pub use options::*;
