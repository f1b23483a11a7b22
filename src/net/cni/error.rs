//! Errors as the specification words them: a code, a short message, details.

use std::error::Error;

use serde_json::{Value, json};

/// The specification's codes, as far as they are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    IncompatibleVersion = 1,
    UnknownContainer = 3,
    InvalidEnvironment = 4,
    Io = 5,
    Decode = 6,
    InvalidConfig = 7,
    TryAgainLater = 11,
    NotAvailable = 50,
    /// Plugin specific: the kernel refused a link, address, route or rule.
    Kernel = 100,
    /// Plugin specific: CHECK found something else than what ADD made.
    Changed = 101,
    /// Plugin specific: a host port is taken.
    PortTaken = 102,
}

/// What the plugin answers when it fails.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}{details}", if .details.is_empty() { "" } else { ": " })]
pub struct CniError {
    pub code: Code,
    pub message: String,
    pub details: String,
}

impl CniError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    /// Adds the chain of causes as details.
    pub fn because(mut self, cause: &dyn Error) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            if !self.details.is_empty() {
                self.details.push_str(": ");
            }
            self.details.push_str(&cause.to_string());
            next = cause.source();
        }
        self
    }

    pub(super) fn to_json(&self, version: &str) -> Value {
        let mut error = json!({ "cniVersion": version, "code": self.code as u32, "msg": self.message });
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        error
    }
}
