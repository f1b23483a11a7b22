//! The version that every part of mk8s gives as its own.

/// The Kubernetes release whose API this is, and ours.
pub const GIT_VERSION: &str = concat!("v1.36.2+mk8s-", env!("CARGO_PKG_VERSION"));
