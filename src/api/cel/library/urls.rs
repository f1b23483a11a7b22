//! URLs, taken apart as Go's `net/url` does.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Function, Outcome};
use crate::cel::error::EvalError;
use crate::cel::value::{Key, Map, Text, Value};
use crate::field::quote;

/// The parts of a URL. Equal when the texts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme: String,
    host: String,
    /// As it was written, with the characters escaped that must be.
    path: String,
    query: String,
}

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "url" => |args| match &args[0] {
            Value::String(text) => match parse_request(text) {
                Ok(url) => Ok(Value::Url(Rc::new(url))),
                Err(why) => Err(EvalError::other(format!("URL parse error during conversion from string: {why}"))),
            },
            _ => Err(EvalError::overload()),
        },
        "isURL" => |args| match &args[0] {
            Value::String(text) => Ok(Value::Bool(parse_request(text).is_ok())),
            _ => Err(EvalError::overload()),
        },
        "getScheme" => |args| part(args, |url| url.scheme.clone()),
        "getHost" => |args| part(args, |url| url.host.clone()),
        "getHostname" => |args| part(args, |url| url.split_host().0.to_string()),
        "getPort" => |args| part(args, |url| url.split_host().1.to_string()),
        "getEscapedPath" => |args| part(args, |url| url.path.clone()),
        "getQuery" => |args| match &args[0] {
            Value::Url(url) => Ok(url.query()),
            _ => Err(EvalError::overload()),
        },
        _ => return None,
    })
}

fn part<'a>(args: &[Value<'a>], of: fn(&Url) -> String) -> Outcome<'a> {
    match &args[0] {
        Value::Url(url) => Ok(Value::text(of(url))),
        _ => Err(EvalError::overload()),
    }
}

impl Url {
    /// The name and the port; brackets around an address are dropped.
    fn split_host(&self) -> (&str, &str) {
        let (name, port) = match self.host.rfind(':') {
            Some(at) if self.host[at + 1..].bytes().all(|b| b.is_ascii_digit()) && !self.host[at..].contains(']') => {
                (&self.host[..at], &self.host[at + 1..])
            }
            _ => (self.host.as_str(), ""),
        };
        (name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name), port)
    }

    fn query<'a>(&self) -> Value<'a> {
        let mut values: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (decode(&key.replace('+', " ")), decode(&value.replace('+', " "))) {
                values.entry(key).or_default().push(Value::text(value));
            }
        }
        let entries =
            values.into_iter().map(|(key, values)| (Key::String(Text::Shared(key.into())), Value::list(values)));
        Value::Map(Map::Owned(Rc::new(entries.collect())))
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits.get(..2)?).ok()?;
    text.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u8::from_str_radix(text, 16).ok())?
}

fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(hex(&bytes[at + 1..])?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Reads what Go's `ParseRequestURI` takes: an absolute URL or an absolute path.
pub(crate) fn parse_request(text: &str) -> Result<Url, String> {
    let refused = |why: String| format!("parse {}: {why}", quote(text));
    if text.is_empty() {
        return Err(refused("empty url".into()));
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(refused("net/url: invalid control character in URL".into()));
    }
    let (scheme, rest) = scheme(text).map_err(|why| refused(why.into()))?;
    let before_fragment = rest.split('#').next().unwrap_or_default();
    let (rest, query) = before_fragment.split_once('?').unwrap_or((before_fragment, ""));
    if !rest.starts_with('/') && scheme.is_empty() {
        return Err(refused("invalid URI for request".into()));
    }
    if !rest.starts_with('/') {
        // `mailto:x`: an opaque URL is no request's.
        return Err(refused("invalid URI for request".into()));
    }
    let (host, path) = match rest.strip_prefix("//") {
        Some(rest) if !scheme.is_empty() || !rest.starts_with('/') => {
            let end = rest.find('/').unwrap_or(rest.len());
            (authority(&rest[..end]).map_err(refused)?, &rest[end..])
        }
        _ => (String::new(), rest),
    };
    let path = escaped_path(path).map_err(refused)?;
    Ok(Url { text: text.to_string(), scheme: scheme.to_ascii_lowercase(), host, path, query: query.to_string() })
}

fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme"),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn authority(text: &str) -> Result<String, String> {
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let port = if let Some(rest) = host.strip_prefix('[') {
        let (_, port) = rest.split_once(']').ok_or("missing ']' in host")?;
        port
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let valid = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if !valid {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    if let Some(c) = host.chars().find(|c| matches!(c, ' ' | '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        return Err(format!("invalid character {} in host name", quote(&c.to_string())));
    }
    Ok(host.to_string())
}

/// What is not allowed in a path is escaped; escapes that stand there stay.
fn escaped_path(path: &str) -> Result<String, String> {
    let mut out = String::with_capacity(path.len());
    let bytes = path.as_bytes();
    for (at, b) in bytes.iter().enumerate() {
        match b {
            b'%' if hex(&bytes[at + 1..]).is_none() => {
                let shown: String = path[at..].chars().take(3).collect();
                return Err(format!("invalid URL escape {}", quote(&shown)));
            }
            b'%' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(*b as char),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' | b'!' | b'\''
            | b'(' | b')' | b'*' => {
                out.push(*b as char);
            }
            b'[' | b']' => out.push(*b as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(out)
}
