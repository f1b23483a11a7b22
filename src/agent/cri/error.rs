//! What goes wrong between the agent and the runtime.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum CriError {
    #[error("the runtime socket {path} cannot be used")]
    Socket {
        path: PathBuf,
        #[source]
        source: tonic::transport::Error,
    },
    /// The runtime's own words, as Kubernetes shows them.
    #[error("rpc error: code = {:?} desc = {}", .source.code(), .source.message())]
    Rpc { call: &'static str, source: Box<tonic::Status> },
    #[error("the runtime answered {call} without {what}")]
    Incomplete { call: &'static str, what: &'static str },
    #[error("cannot read the image archive: {why}")]
    Archive { why: String },
    #[error("cannot prepare the streams of a process at {path}")]
    Streams {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl CriError {
    pub(crate) fn rpc(call: &'static str) -> impl Fn(tonic::Status) -> CriError {
        move |source| CriError::Rpc { call, source: Box::new(source) }
    }

    pub fn code(&self) -> Option<tonic::Code> {
        match self {
            CriError::Rpc { source, .. } => Some(source.code()),
            _ => None,
        }
    }

    /// What it concerned does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(tonic::Code::NotFound)
    }

    /// The runtime's message without the wrapping of gRPC.
    pub fn description(&self) -> String {
        match self {
            CriError::Rpc { source, .. } => source.message().to_owned(),
            other => other.to_string(),
        }
    }
}
