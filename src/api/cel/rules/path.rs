//! The `fieldPath` of a rule: `.spec.containers['a.b']`, which must name fields of the schema.

use serde_json::Value as Json;

use crate::at;
use crate::field::Path;

/// The path, where it is one into the schema.
pub(super) fn valid(text: &str, schema: &Json) -> Result<Path, String> {
    let mut tokens = Tokens { rest: text };
    let mut path = Path::root();
    let mut schema = schema;
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or("unexpected end of JSON path")?.to_string(),
            "[" => {
                let quoted = tokens.next().ok_or("unexpected end of JSON path")?;
                let inner =
                    quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).filter(|_| quoted.len() > 1);
                let name = unescape(inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?)?;
                match tokens.next() {
                    Some("]") => {}
                    Some(other) => return Err(format!("expected ] but got {other}")),
                    None => return Err("unexpected end of JSON path".into()),
                }
                name
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        if !at::map(schema, "properties").is_empty() {
            schema = at::get(at::sub(schema, "properties"), &name).ok_or("does not refer to a valid field")?;
            path = path.child(name);
        } else if at::get(schema, "additionalProperties").is_some_and(Json::is_object) {
            schema = at::sub(schema, "additionalProperties");
            path = path.key(name);
        } else {
            return Err("does not refer to a valid field".into());
        }
    }
    Ok(path)
}

struct Tokens<'t> {
    rest: &'t str,
}

impl<'t> Tokens<'t> {
    /// A delimiter, a quoted text, or what stands before the next delimiter.
    fn next(&mut self) -> Option<&'t str> {
        let first = self.rest.chars().next()?;
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let bytes = self.rest.as_bytes();
                let close = (1..bytes.len()).find(|at| bytes[*at] == b'\'' && bytes[at - 1] != b'\\');
                close.map_or(self.rest.len(), |close| close + 1)
            }
            _ => self.rest.find(['.', '[', ']']).unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(token)
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match rest.next() {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(c @ ('\'' | '\\')) => c,
            other => return Err(format!("invalid string literal: invalid escape char \\{}", other.unwrap_or(' '))),
        });
    }
    Ok(out)
}
