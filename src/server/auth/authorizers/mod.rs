//! `AuthorizationConfiguration` (apiserver.config.k8s.io): the file that says who is asked what users may do, in place of
//! the flags `--authorization-*`.
//!
//! Reading order: [`form`] (what it looks like), `check` (what is wrong with it, and the authorizers that it names),
//! [`follow`] (reading it again).
//!
//! Invariant: a file that is not good changes nothing.

mod check;
pub mod follow;
mod form;
#[cfg(test)]
mod tests;

pub use self::{check::read, follow::keep};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to load AuthorizationConfiguration from file: {0}")]
    Form(#[from] serde_yaml::Error),
    #[error("failed to load AuthorizationConfiguration from file: empty config data")]
    Empty,
    #[error("is no AuthorizationConfiguration of apiserver.config.k8s.io/v1, but {kind:?} of {api_version:?}")]
    Kind { kind: String, api_version: String },
    #[error("{}", mk8s_api::field::aggregate(.0))]
    Invalid(Vec<mk8s_api::field::FieldError>),
    /// Names and kinds that do not go together.
    #[error("{0}")]
    Names(String),
}
