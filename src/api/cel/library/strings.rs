//! Texts: search, cut, split, join, replace. Positions count characters.

use super::{Function, Outcome, format_text};
use crate::cel::error::EvalError;
use crate::cel::value::Value;

/// The largest text or list that a function makes: no larger one could be paid for.
pub(super) const MAX_MADE: usize = 16 << 20;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "contains" => |args| two(args, |text, part| Ok(Value::Bool(text.contains(part)))),
        "startsWith" => |args| two(args, |text, part| Ok(Value::Bool(text.starts_with(part)))),
        "endsWith" => |args| two(args, |text, part| Ok(Value::Bool(text.ends_with(part)))),
        "charAt" => char_at,
        "indexOf" => {
            |args| if matches!(args[0], Value::List(_)) { super::aggregates::index_of(args) } else { index_of(args) }
        }
        "lastIndexOf" => |args| {
            if matches!(args[0], Value::List(_)) { super::aggregates::last_index_of(args) } else { last_index_of(args) }
        },
        "lowerAscii" => |args| one(args, |text| Ok(Value::text(text.to_ascii_lowercase()))),
        "upperAscii" => |args| one(args, |text| Ok(Value::text(text.to_ascii_uppercase()))),
        "trim" => |args| one(args, |text| Ok(Value::text(text.trim()))),
        "replace" => replace,
        "split" => split,
        "substring" => substring,
        "join" => join,
        "format" => |args| match args {
            [Value::String(text), Value::List(list)] => format_text::format(text, list),
            _ => Err(EvalError::overload()),
        },
        "strings.quote" => |args| one(args, |text| Ok(Value::text(quoted(text)))),
        "jsonpatch.escapeKey" => |args| one(args, |text| Ok(Value::text(text.replace('~', "~0").replace('/', "~1")))),
        _ => return None,
    })
}

fn one<'a>(args: &[Value<'a>], of: fn(&str) -> Outcome<'a>) -> Outcome<'a> {
    match &args[0] {
        Value::String(text) => of(text),
        _ => Err(EvalError::overload()),
    }
}

fn two<'a>(args: &[Value<'a>], of: fn(&str, &str) -> Outcome<'a>) -> Outcome<'a> {
    match args {
        [Value::String(text), Value::String(other)] => of(text, other),
        _ => Err(EvalError::overload()),
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::other(format!("index out of range: {index}"))
}

pub(super) fn too_large() -> EvalError {
    EvalError::CostLimit
}

/// The byte where the character is, the end included.
fn byte_of(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(index)
}

fn char_at<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::Int(index)] = args else { return Err(EvalError::overload()) };
    let at = byte_of(text, *index).ok_or_else(|| out_of_range(*index))?;
    Ok(Value::text(text[at..].chars().next().map(String::from).unwrap_or_default()))
}

/// The text, what is sought, and where to begin.
fn search<'v>(args: &'v [Value<'_>]) -> Result<(&'v str, &'v str, Option<i64>), EvalError> {
    match args {
        [Value::String(text), Value::String(part)] => Ok((text, part, None)),
        [Value::String(text), Value::String(part), Value::Int(offset)] => Ok((text, part, Some(*offset))),
        _ => Err(EvalError::overload()),
    }
}

fn index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, part, offset) = search(args)?;
    let offset = offset.unwrap_or(0);
    if part.is_empty() {
        return Ok(Value::Int(offset));
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    let found = byte_of(text, offset).and_then(|start| text[start..].find(part).map(|at| start + at));
    Ok(Value::Int(found.map_or(-1, |at| text[..at].chars().count() as i64)))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, part, offset) = search(args)?;
    let length = text.chars().count() as i64;
    if part.is_empty() {
        return Ok(Value::Int(offset.unwrap_or(length)));
    }
    let offset = offset.unwrap_or((length - 1).max(0));
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    if offset >= length {
        return Ok(Value::Int(-1));
    }
    // What begins at the offset may still be found.
    let last = byte_of(text, offset).unwrap_or(text.len());
    let end = (last + part.len()).min(text.len());
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Ok(Value::Int(text[..end].rfind(part).map_or(-1, |at| text[..at].chars().count() as i64)))
}

fn replace<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, old, new, limit) = match args {
        [Value::String(text), Value::String(old), Value::String(new)] => (text, old, new, -1),
        [Value::String(text), Value::String(old), Value::String(new), Value::Int(limit)] => (text, old, new, *limit),
        _ => return Err(EvalError::overload()),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let places = if old.is_empty() { text.len() + 1 } else { text.len() / old.len() };
    let grown = places.min(limit).saturating_mul(new.len());
    if grown > MAX_MADE && text.matches(&**old).take(limit).count().saturating_mul(new.len()) > MAX_MADE {
        return Err(too_large());
    }
    Ok(Value::text(text.replacen(&**old, new, limit)))
}

fn split<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, separator, limit) = match args {
        [Value::String(text), Value::String(separator)] => (text, separator, -1),
        [Value::String(text), Value::String(separator), Value::Int(limit)] => (text, separator, *limit),
        _ => return Err(EvalError::overload()),
    };
    if limit == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<&str> = if separator.is_empty() {
        let mut parts: Vec<&str> = Vec::new();
        let mut rest: &str = text;
        while let Some(c) = rest.chars().next() {
            let (head, tail) = if parts.len() + 1 >= limit { (rest, "") } else { rest.split_at(c.len_utf8()) };
            parts.push(head);
            rest = tail;
        }
        parts
    } else {
        text.splitn(limit, &**separator).collect()
    };
    Ok(Value::list(parts.into_iter().map(Value::text).collect()))
}

fn substring<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, start, end) = match args {
        [Value::String(text), Value::Int(start)] => (text, *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return Err(EvalError::overload()),
    };
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(EvalError::other(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = byte_of(text, start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        None => text.len(),
        Some(end) => byte_of(text, end).ok_or_else(|| out_of_range(end))?,
    };
    Ok(Value::text(&text[from..to]))
}

fn join<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (list, separator) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, &**separator),
        _ => return Err(EvalError::overload()),
    };
    let mut joined = String::new();
    for (n, item) in list.iter().enumerate() {
        if n > 0 {
            joined.push_str(separator);
        }
        match item? {
            Value::String(text) => joined.push_str(&text),
            other => return Err(EvalError::other(format!("join: invalid input: {}", other.shown()))),
        }
        if joined.len() > MAX_MADE {
            return Err(too_large());
        }
    }
    Ok(Value::text(joined))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
