//! Probes: whether a container has started, lives, and can serve.
//!
//! Reading order: [`state`] (thresholds, pure), [`run`] (one container's probes over time), [`http`], [`grpc`], exec and
//! tcp in [`attempt`].

mod attempt;
mod grpc;
pub mod http;
mod run;
mod state;

pub use run::{Probed, start};
