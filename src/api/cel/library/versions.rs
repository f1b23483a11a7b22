//! Semantic versions: `semver('1.2.3').isLessThan(semver('2.0.0'))`.

use std::cmp::Ordering;
use std::rc::Rc;

use super::{Function, Outcome};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::field::quote;

#[derive(Clone, Debug)]
pub struct Version {
    numbers: [u64; 3],
    pre: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Numbers come before words.
    Number(u64),
    Word(String),
}

impl Version {
    /// The order of versions; what comes after a plus does not count.
    pub(crate) fn precedence(&self, other: &Version) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        })
    }
}

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "semver" => |args| Ok(Value::Version(Rc::new(read(args)?.map_err(EvalError::other)?))),
        "isSemver" => |args| Ok(Value::Bool(read(args)?.is_ok())),
        "major" => |args| number(args, 0),
        "minor" => |args| number(args, 1),
        "patch" => |args| number(args, 2),
        _ => return None,
    })
}

fn number<'a>(args: &[Value<'a>], index: usize) -> Outcome<'a> {
    match &args[0] {
        Value::Version(version) => Ok(Value::Int(version.numbers[index] as i64)),
        _ => Err(EvalError::overload()),
    }
}

fn read(args: &[Value<'_>]) -> Result<Result<Version, String>, EvalError> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Ok(parse(text)),
        [Value::String(text), Value::Bool(true)] => Ok(normalize(text).and_then(|text| parse(&text))),
        _ => Err(EvalError::overload()),
    }
}

/// `v1.02` is `1.2.0`.
fn normalize(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_string).collect();
    for part in &mut parts {
        if part.len() > 1 {
            let trimmed = part.trim_start_matches('0');
            *part = if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                trimmed.to_string()
            } else {
                format!("0{trimmed}")
            };
        }
    }
    if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
        return Err("short version cannot contain PreRelease/Build meta data".into());
    }
    parts.resize(3, "0".into());
    Ok(parts.join("."))
}

pub(crate) fn parse(text: &str) -> Result<Version, String> {
    if text.is_empty() {
        return Err("Version string empty".into());
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, rest] = parts[..] else { return Err("No Major.Minor.Patch elements found".into()) };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
    let number = |text: &str, what: &str| -> Result<u64, String> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("Invalid character(s) found in {what} number {}", quote(text)));
        }
        if text.len() > 1 && text.starts_with('0') {
            let what = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
            return Err(format!("{what} number must not contain leading zeroes {}", quote(text)));
        }
        text.parse().map_err(|_| format!("strconv.ParseUint: parsing {}: value out of range", quote(text)))
    };
    let numbers = [number(major, "major")?, number(minor, "minor")?, number(patch, "patch")?];
    let mut parts = Vec::new();
    for part in pre.into_iter().flat_map(|pre| pre.split('.')) {
        parts.push(pre_part(part)?);
    }
    for part in build.into_iter().flat_map(|build| build.split('.')) {
        if part.is_empty() {
            return Err("Build meta data is empty".into());
        }
        if !is_word(part) {
            return Err(format!("Invalid character(s) found in build meta data {}", quote(part)));
        }
    }
    Ok(Version { numbers, pre: parts })
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn pre_part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".into());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {}", quote(text)));
        }
        return text
            .parse()
            .map(Part::Number)
            .map_err(|_| format!("strconv.ParseUint: parsing {}: value out of range", quote(text)));
    }
    if is_word(text) {
        Ok(Part::Word(text.to_string()))
    } else {
        Err(format!("Invalid character(s) found in prerelease {}", quote(text)))
    }
}
