//! What goes wrong, and how it is told: the words and exit codes of kubectl.

use serde_json::Value;
use thiserror::Error;

/// The failures that have a form of their own. Everything else is printed as `error: MESSAGE`.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The server answered with a Status.
    #[error("{}", .0["message"].as_str().unwrap_or("unknown"))]
    Api(Value),
    /// Nothing listens there.
    #[error("The connection to the server {0} was refused - did you specify the right host or port?")]
    Refused(String),
    /// The server could not be spoken to for another reason.
    #[error("Unable to connect to the server: {0}")]
    Unreachable(String),
    /// Everything was said already; end with this code.
    #[error("exit {0}")]
    Exit(u8),
    /// Already worded: no `error: ` in front.
    #[error("{0}")]
    Worded(String),
    /// Several failures of one command.
    #[error("{} failures", .0.len())]
    Several(Vec<anyhow::Error>),
    /// The type is not served.
    #[error("the server doesn't have a resource type {0:?}")]
    NoResource(String),
}

impl Failure {
    /// The `reason` of a server's answer.
    pub(crate) fn reason(error: &anyhow::Error) -> Option<&str> {
        match error.downcast_ref::<Failure>() {
            Some(Failure::Api(status)) => status["reason"].as_str(),
            _ => None,
        }
    }

    pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
        Failure::reason(error) == Some("NotFound")
    }

    pub(crate) fn is_conflict(error: &anyhow::Error) -> bool {
        Failure::reason(error) == Some("Conflict")
    }

    /// Puts `error when VERB "SOURCE": ` before a server's message, as kubectl does for objects from files.
    pub(crate) fn from_source(error: anyhow::Error, verb: &str, source: Option<&str>) -> anyhow::Error {
        let Some(source) = source else { return error };
        match error.downcast::<Failure>() {
            Ok(Failure::Api(mut status)) => {
                let message = status["message"].as_str().unwrap_or_default();
                status["message"] = format!("error when {verb} {source:?}: {message}").into();
                Failure::Api(status).into()
            }
            Ok(other) => other.into(),
            Err(other) => anyhow::anyhow!("error when {verb} {source:?}: {other:#}"),
        }
    }
}

/// Collects the failures of a command that goes on after one.
pub(crate) fn all_or(mut failures: Vec<anyhow::Error>) -> anyhow::Result<()> {
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => Err(Failure::Several(failures).into()),
    }
}

/// The lines to print and the exit code.
pub(crate) fn tell(error: &anyhow::Error) -> (String, u8) {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Exit(code)) => (String::new(), *code),
        Some(Failure::Several(all)) => {
            let lines: Vec<String> = all.iter().map(among).filter(|line| !line.is_empty()).collect();
            (lines.join("\n"), 1)
        }
        Some(Failure::Api(status)) => (tell_status(status), 1),
        Some(Failure::NoResource(_)) => (format!("error: {error}"), 1),
        Some(failure) => (failure.to_string(), 1),
        None => {
            let message = format!("{error:#}");
            if message.starts_with("error: ") { (message, 1) } else { (format!("error: {message}"), 1) }
        }
    }
}

/// One failure of several has no `error: ` before it.
fn among(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Api(status)) if status["reason"] == "Invalid" => format!("Error from server (Invalid): {error}"),
        Some(_) => tell(error).0,
        None => format!("{error:#}"),
    }
}

fn tell_status(status: &Value) -> String {
    let message = status["message"].as_str().unwrap_or("unknown");
    match status["reason"].as_str().unwrap_or_default() {
        "Invalid" => tell_invalid(status, message),
        "Unauthorized" => format!("error: You must be logged in to the server ({message})"),
        "" => format!("Error from server: {message}"),
        reason => format!("Error from server ({reason}): {message}"),
    }
}

fn tell_invalid(status: &Value, message: &str) -> String {
    let details = &status["details"];
    let mut head = String::from("The request is invalid");
    let mut causes: Vec<String> = Vec::new();
    for cause in details["causes"].as_array().into_iter().flatten() {
        let line = format!(
            "{}: {}",
            cause["field"].as_str().unwrap_or_default(),
            cause["message"].as_str().unwrap_or_default()
        );
        if !causes.contains(&line) {
            causes.push(line);
        }
    }
    let (kind, name) = (details["kind"].as_str().unwrap_or_default(), details["name"].as_str().unwrap_or_default());
    if !kind.is_empty() || !name.is_empty() {
        head = format!("The {kind} {name:?} is invalid");
    } else if causes.is_empty() && !message.is_empty() {
        head = format!("{head}: {message}");
    }
    match causes.as_slice() {
        [] => head,
        [one] => format!("{head}: {one}"),
        many => many.iter().fold(format!("{head}: "), |text, cause| format!("{text}\n* {cause}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn statuses_read_as_kubectl_words_them() {
        let cases = [
            (
                json!({"reason": "NotFound", "message": "pods \"x\" not found"}),
                "Error from server (NotFound): pods \"x\" not found",
            ),
            (
                json!({"reason": "Unauthorized", "message": "Unauthorized"}),
                "error: You must be logged in to the server (Unauthorized)",
            ),
            (json!({"message": "odd"}), "Error from server: odd"),
            (
                json!({"reason": "Invalid", "message": "m", "details": {"kind": "Pod", "name": "a", "causes": [{"field": "f", "message": "bad"}]}}),
                "The Pod \"a\" is invalid: f: bad",
            ),
            (
                json!({"reason": "Invalid", "message": "m", "details": {"kind": "Pod", "name": "a", "causes": [
                    {"field": "f", "message": "bad"}, {"field": "f", "message": "bad"}, {"field": "g", "message": "worse"}]}}),
                "The Pod \"a\" is invalid: \n* f: bad\n* g: worse",
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(tell(&Failure::Api(status).into()), (expected.to_owned(), 1));
        }
        assert_eq!(tell(&anyhow::anyhow!("x")), ("error: x".to_owned(), 1));
        // Only a lone failure has `error: ` before it.
        let invalid = Failure::Api(json!({"reason": "Invalid", "message": "m"})).into();
        let several = Failure::Several(vec![anyhow::anyhow!("x"), invalid]).into();
        assert_eq!(tell(&several), ("x\nError from server (Invalid): m".to_owned(), 1));
        assert_eq!(tell(&Failure::Exit(3).into()), (String::new(), 3));
    }

    #[test]
    fn the_source_is_named() {
        let error = Failure::Api(json!({"reason": "AlreadyExists", "message": "pods \"x\" already exists"})).into();
        let told = tell(&Failure::from_source(error, "creating", Some("x.yaml"))).0;
        assert_eq!(
            told,
            "Error from server (AlreadyExists): error when creating \"x.yaml\": pods \"x\" already exists"
        );
    }
}
