//! Regular expressions. They are written for RE2, whose classes are those of ASCII; here they are said in the `regex` crate's words.

use regex::{Regex, RegexBuilder};

use super::{Function, Outcome};
use crate::cel::error::EvalError;
use crate::cel::value::Value;

/// A compiled pattern takes no more memory than this.
const MAX_COMPILED: usize = 1 << 20;
const MAX_NESTING: u32 = 100;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "matches" => |args| with(args, |text, pattern, _| Value::Bool(pattern.is_match(text))),
        "find" => {
            |args| with(args, |text, pattern, _| Value::text(pattern.find(text).map_or("", |found| found.as_str())))
        }
        "findAll" => |args| {
            with(args, |text, pattern, limit| {
                let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
                Value::list(pattern.find_iter(text).take(limit).map(|found| Value::text(found.as_str())).collect())
            })
        },
        _ => return None,
    })
}

fn with<'a>(args: &[Value<'a>], of: fn(&str, &Regex, Option<i64>) -> Value<'a>) -> Outcome<'a> {
    let limit = match args.get(2) {
        None => None,
        Some(Value::Int(limit)) => Some(*limit),
        Some(_) => return Err(EvalError::overload()),
    };
    match args {
        [Value::String(text), Value::String(pattern), ..] => {
            let pattern = compile(pattern).map_err(|why| EvalError::other(format!("Illegal regex: {why}")))?;
            Ok(of(text, &pattern, limit))
        }
        _ => Err(EvalError::overload()),
    }
}

/// The function with its pattern compiled beforehand.
pub(crate) fn prepared<'a>(name: &str, pattern: &Regex, args: &[Value<'a>]) -> Outcome<'a> {
    let Value::String(text) = &args[0] else { return Err(EvalError::overload()) };
    Ok(match name {
        "matches" => Value::Bool(pattern.is_match(text)),
        "find" => Value::text(pattern.find(text).map_or("", |found| found.as_str())),
        _ => {
            let limit = match args.get(2) {
                Some(Value::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            Value::list(pattern.find_iter(text).take(limit).map(|found| Value::text(found.as_str())).collect())
        }
    })
}

/// Compiles a pattern of RE2's syntax, within bounds of memory and nesting.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern)?;
    let built = RegexBuilder::new(&translated)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .nest_limit(MAX_NESTING)
        .build();
    built.map_err(|_| format!("error parsing regexp: invalid pattern: `{pattern}`"))
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    // The first character of a class stands for itself even if it is a bracket.
    let mut class_start = false;
    while let Some(c) = rest.next() {
        let starts_class = std::mem::take(&mut class_start);
        match c {
            '\\' => match rest.next() {
                None => return Err("error parsing regexp: trailing backslash at end of expression: ``".into()),
                Some('d') => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if in_class { "\\t\\n\\x0C\\r " } else { "[\\t\\n\\x0C\\r ]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str("[^\\t\\n\\x0C\\r ]"),
                Some('b') if !in_class => out.push_str("(?-u:\\b)"),
                Some('Q') if !in_class => {
                    let mut literal = String::new();
                    while let Some(c) = rest.next() {
                        if c == '\\' && rest.peek() == Some(&'E') {
                            rest.next();
                            break;
                        }
                        literal.push(c);
                    }
                    out.push_str(&regex::escape(&literal));
                }
                Some('C') => {
                    return Err(format!("error parsing regexp: invalid escape sequence: `\\C` in `{pattern}`"));
                }
                Some(other) if !other.is_ascii() || other == '<' || other == '>' => out.push(other),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
            },
            '[' if !in_class => {
                in_class = true;
                class_start = true;
                out.push('[');
                if rest.peek() == Some(&'^') {
                    rest.next();
                    out.push('^');
                }
            }
            '[' if rest.peek() == Some(&':') => {
                out.push('[');
                while let Some(c) = rest.next() {
                    out.push(c);
                    if c == ':' && rest.peek() == Some(&']') {
                        rest.next();
                        out.push(']');
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            ']' if starts_class => out.push_str("\\]"),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // Classes have no set operators in RE2.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && rest.peek() == Some(&'-') => out.push_str("\\-"),
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        for (pattern, text, matches) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^[\w-]+$", "a-b_c", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^[a[]$", "[", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[]a]+$", "]a", true),
            (r"\Qa.b\E$", "a.b", true),
            (r"\Qa.b\E$", "axb", false),
            (r"^\S+\s\S+$", "a b", true),
            (r"\bfoo\b", "a foo b", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), matches, "{pattern} {text}");
        }
        for pattern in ["(", "[a", "a{2000}{2000}", "\\"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
