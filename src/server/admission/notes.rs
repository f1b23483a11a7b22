//! What admission says besides yes and no: warnings for the author, annotations for the audit.

use parking_lot::Mutex;

/// Gathers what is said about one request, from whichever part of it.
#[derive(Debug, Default)]
pub struct Notes {
    warnings: Mutex<Vec<String>>,
}

impl Notes {
    /// For the client, as a `Warning` header, whatever becomes of the request.
    pub fn warn(&self, warning: String) {
        self.warnings.lock().push(warning);
    }

    /// For the audit. It is told to the log.
    pub fn annotate(&self, key: String, value: String) {
        tracing::debug!(target: "mk8s::audit", key, value, "audit annotation");
    }

    /// The warnings so far.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }
}
