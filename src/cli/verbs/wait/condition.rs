//! What `wait --for` waits for.

use crate::printers::jsonpath::{Template, value_text};
use anyhow::{Result, bail};
use serde_json::Value;

#[derive(Debug)]
pub(super) enum Condition {
    Create,
    Delete,
    /// A condition of the status and its value.
    Status(String, String),
    /// A path and its value; any value when there is none.
    Path(Template, Option<String>),
}

impl Condition {
    pub(super) fn parse(text: &str) -> Result<Condition> {
        match text.to_lowercase().as_str() {
            "delete" => return Ok(Condition::Delete),
            "create" => return Ok(Condition::Create),
            _ => {}
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, value) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Condition::Status(name.to_owned(), value.to_owned()));
        }
        if let Some(path) = text.strip_prefix("jsonpath=") {
            return parse_path(path);
        }
        bail!("unrecognized condition: {text:?}")
    }

    /// Whether the object is as wished.
    pub(super) fn met(&self, object: &Value) -> Result<bool> {
        match self {
            Condition::Create => Ok(true),
            Condition::Delete => Ok(false),
            Condition::Status(name, value) => Ok(status_is(object, name, value)),
            Condition::Path(template, value) => path_is(object, template, value.as_deref()),
        }
    }
}

fn parse_path(text: &str) -> Result<Condition> {
    let parts = split(text);
    let (path, value) = match parts.as_slice() {
        [path] => (path, None),
        [path, value] => (path, Some(value.trim_matches(['\'', '"']))),
        _ => bail!(
            "jsonpath wait format must be --for=jsonpath='{{.status.readyReplicas}}'=3 or --for=jsonpath='{{.status.readyReplicas}}'"
        ),
    };
    if path.is_empty() {
        bail!("jsonpath expression cannot be empty");
    }
    let template = Template::relaxed(path)?;
    if value.is_some_and(str::is_empty) {
        bail!("jsonpath wait has to have a value after equal sign, like --for=jsonpath='{{.status.readyReplicas}}'=3");
    }
    Ok(Condition::Path(template, value.map(str::to_owned)))
}

/// Splits at single equal signs; double ones belong to the expression.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.last_mut().expect("there is always a part");
        if c != '=' {
            last.push(c);
        } else if chars.next_if_eq(&'=').is_some() {
            last.push_str("==");
        } else {
            parts.push(String::new());
        }
    }
    parts
}

/// A condition about an older generation does not count.
fn status_is(object: &Value, name: &str, value: &str) -> bool {
    let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions
        .into_iter()
        .find(|c| c["status"].is_string() && c["type"].as_str().is_some_and(|kind| same(kind, name)));
    let Some(condition) = found else { return false };
    let observed = condition["observedGeneration"].as_i64().or(object["status"]["observedGeneration"].as_i64());
    let old = matches!((object["metadata"]["generation"].as_i64(), observed), (Some(now), Some(seen)) if seen < now);
    !old && condition["status"].as_str().is_some_and(|status| same(status, value))
}

fn path_is(object: &Value, template: &Template, value: Option<&str>) -> Result<bool> {
    match template.find(object).unwrap_or_default().as_slice() {
        [] => Ok(false),
        [_] if value.is_none() => Ok(true),
        [Value::Object(_) | Value::Array(_)] => {
            bail!("jsonpath leads to a nested object or list which is not supported")
        }
        [found] => Ok(value.is_some_and(|value| value_text(found).trim() == value.trim())),
        _ => bail!("given jsonpath expression matches more than one value"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({"metadata": {"generation": 2}, "spec": {"n": 3}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1},
            {"type": "New", "status": "False", "observedGeneration": 2}]}})
    }

    #[test]
    fn conditions_are_met() {
        let cases = [
            ("condition=Ready", Ok(true)),
            ("condition=ready=TRUE", Ok(true)),
            ("condition=Ready=false", Ok(false)),
            ("condition=Old", Ok(false)),
            ("condition=New=False", Ok(true)),
            ("condition=None", Ok(false)),
            ("jsonpath={.status.phase}=Running", Ok(true)),
            ("jsonpath=.status.phase=\"Running\"", Ok(true)),
            ("jsonpath={.status.phase}", Ok(true)),
            ("jsonpath={.status.missing}", Ok(false)),
            ("jsonpath={.spec.n}=3", Ok(true)),
            ("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", Ok(true)),
            (
                "jsonpath={.status.conditions}=x",
                Err("jsonpath leads to a nested object or list which is not supported"),
            ),
            ("jsonpath={.status.conditions[*].type}=x", Err("given jsonpath expression matches more than one value")),
            ("Create", Ok(true)),
            ("delete", Ok(false)),
        ];
        for (text, expected) in cases {
            let met = Condition::parse(text).unwrap().met(&pod()).map_err(|error| error.to_string());
            assert_eq!(met, expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn wrong_conditions() {
        let cases = [
            ("x", "unrecognized condition: \"x\""),
            ("jsonpath=", "jsonpath expression cannot be empty"),
            (
                "jsonpath={.a}=",
                "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
            ),
            (
                "jsonpath={.a}=1=2",
                "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Condition::parse(text).unwrap_err().to_string(), expected);
        }
        assert_eq!(split("a==b=c"), ["a==b", "c"]);
    }
}
