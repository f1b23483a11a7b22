//! Why a backend gave no answer, in the words of Go's HTTP client, which people search for.

use mk8s_api::status::Status;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody was reached, or the connection broke.
    #[error("{method} {url:?}: {why}")]
    Transport { method: &'static str, url: String, why: String },
    #[error("{method} {url:?}: context deadline exceeded")]
    Timeout { method: &'static str, url: String },
    #[error("{url:?} answered with more than {limit} bytes")]
    TooLarge { url: String, limit: usize },
    /// The backend answered, with another code than one of success.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// What is configured can never work.
    #[error("{0}")]
    Configuration(String),
}

impl CallError {
    /// The code that metrics count.
    pub fn code(&self) -> u16 {
        match self {
            CallError::Refused(status) => status.code,
            CallError::Configuration(_) => 500,
            _ => 503,
        }
    }
}

/// The error of an answer that is no success: the Status it carries, or one made from its code.
/// `retry_after_s`: what it said of when to come back.
pub(super) fn refusal(code: u16, retry_after_s: Option<u32>, body: &[u8]) -> CallError {
    let mut status = refused(code, body);
    if let Some(seconds) = retry_after_s {
        status.details.get_or_insert_default().retry_after_seconds = seconds;
    }
    CallError::Refused(Box::new(status))
}

fn refused(code: u16, body: &[u8]) -> Status {
    let carried = serde_json::from_slice::<serde_json::Value>(body).ok().filter(|body| body["kind"] == "Status");
    if let Some(status) = carried {
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_string();
        return Status::failure(code, text("reason"), text("message"));
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let (reason, message) = match code {
        400 => ("BadRequest", "the server rejected our request for an unknown reason".to_string()),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_string()),
        403 => ("Forbidden", text.to_string()),
        404 => ("NotFound", "the server could not find the requested resource".to_string()),
        405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource".to_string()),
        406 => ("NotAcceptable", text.to_string()),
        415 => ("UnsupportedMediaType", text.to_string()),
        409 => ("Conflict", "the server reported a conflict".to_string()),
        422 => ("Invalid", "the server rejected our request due to an error in our request".to_string()),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later".to_string(),
        ),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".to_string()),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_string(),
        ),
        500.. => {
            ("InternalError", format!("an error on the server ({text:?}) has prevented the request from succeeding"))
        }
        _ => ("", format!("the server responded with the status code {code} but did not return more information")),
    };
    Status::failure(code, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_as_clients_tell_them() {
        let cases: [(u16, &str, &str); 4] = [
            (404, "404 page not found", "the server could not find the requested resource"),
            (500, "boom\n", "an error on the server (\"boom\") has prevented the request from succeeding"),
            (302, "", "the server responded with the status code 302 but did not return more information"),
            (403, r#"{"kind":"Status","message":"no"}"#, "no"),
        ];
        for (code, body, expected) in cases {
            assert_eq!(refusal(code, None, body.as_bytes()).to_string(), expected);
        }
    }
}
