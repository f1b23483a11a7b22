//! Why a text is no JSON, in the words of Go's decoder.

use std::fmt::{self, Display};

use serde_json::Value;

use crate::field::quote;

/// `unexpected end of JSON input`, `invalid character '}' looking for beginning of value`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

impl JsonError {
    /// `bytes` is what could not be read.
    pub fn new(bytes: &[u8], error: &serde_json::Error) -> JsonError {
        JsonError(words(bytes, error))
    }
}

/// What Go's decoder calls a value that is not of the type it should be.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn words(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or_default();
    let place = match why {
        "trailing characters" => "after top-level value",
        "expected value" => "looking for beginning of value",
        "key must be a string" | "trailing comma" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "invalid escape" => "in string escape code",
        "invalid number" => "in numeric literal",
        "expected ident" => "in literal",
        _ if why.starts_with("control character") => "in string literal",
        "recursion limit exceeded" => return "exceeded max depth: recursion limit exceeded".into(),
        "invalid unicode code point" => return "invalid UTF-8 in string".into(),
        other => return other.into(),
    };
    match character(bytes, error.line(), error.column()) {
        Some(']') if why == "trailing comma" => "invalid character \']\' looking for beginning of value".into(),
        Some(found) => format!("invalid character {} {place}", Quoted(found)),
        None => why.into(),
    }
}

/// The character at a line and column as the reader counts them: bytes, from one.
fn character(bytes: &[u8], line: usize, column: usize) -> Option<char> {
    let line = bytes.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let rest = line.get(column.saturating_sub(1)..)?;
    // The end of a line is a character too.
    let byte = rest.first().copied().unwrap_or(b'\n');
    Some(char::from(byte))
}

/// A character as Go quotes it in these errors.
struct Quoted(char);

impl Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '\'' => f.write_str("'\\''"),
            '"' => f.write_str("'\"'"),
            other => write!(f, "'{}'", quote(&other.to_string()).trim_matches('"')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_in_go() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("{}x", "invalid character 'x' after top-level value"),
            ("nope", "invalid character 'o' in literal"),
            ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\": 1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("{\"a\": 1,}", "invalid character '}' looking for beginning of object key string"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("[\"\\x\"]", "invalid character 'x' in string escape code"),
            ("{\"a\": }", "invalid character '}' looking for beginning of value"),
            ("\u{1}", "invalid character '\\x01' looking for beginning of value"),
        ];
        for (text, expected) in cases {
            let error = serde_json::from_str::<serde_json::Value>(text).expect_err("no JSON");
            assert_eq!(JsonError::new(text.as_bytes(), &error).to_string(), expected, "{text}: {error}");
        }
    }
}
