//! Why a reconcile did not come to its end.

use mk8s_client::kube;
use std::fmt;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// What was tried and what the server said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{doing}: {}", said(source))]
    Api { doing: String, source: kube::Error },
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The object was changed meanwhile, by another or by this very process.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Failure::Api { source: kube::Error::Api(status), .. }
            if status.code == 409 && status.reason != "AlreadyExists")
    }

    /// What the server said, for events and conditions.
    pub(crate) fn message(&self) -> String {
        match self {
            Failure::Api { source, .. } => said(source),
            Failure::Other(message) => message.clone(),
        }
    }
}

/// Says what was tried when it fails.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Doing<T> for kube::Result<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|source| Failure::Api { doing: what.to_string(), source })
    }
}

/// The server's own words where it has spoken.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

pub(crate) fn already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// Nothing can be created in a namespace that goes away; that is no one's failure.
pub(crate) fn namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// What is gone already need not be removed.
pub(crate) fn unless_gone<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
