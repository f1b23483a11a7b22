//! `'%s has %d'.format([…])`: the clauses `%s %d %f %e %b %x %X %o` with a precision for the two fractions.

use super::strings::{MAX_MADE, too_large};
use super::{Outcome, convert};
use crate::cel::error::EvalError;
use crate::cel::value::{List, Value};

/// No number needs more digits.
const MAX_PRECISION: usize = 1000;

pub(super) fn format<'a>(template: &str, args: &List<'a>) -> Outcome<'a> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    let mut next = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        if rest.is_empty() {
            return Err(EvalError::other("unexpected end of string"));
        }
        let arg = args.get(next).unwrap_or_else(|| Err(EvalError::other(format!("index {next} out of range"))))?;
        let (precision, tail) = precision(rest)?;
        let clause = tail
            .chars()
            .next()
            .ok_or_else(|| EvalError::other("could not parse formatting clause: unexpected end of string"))?;
        out.push_str(&clause_text(clause, &arg, precision)?);
        if out.len() > MAX_MADE {
            return Err(too_large());
        }
        rest = &tail[clause.len_utf8()..];
        next += 1;
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

fn precision(text: &str) -> Result<(usize, &str), EvalError> {
    let Some(rest) = text.strip_prefix('.') else { return Ok((6, text)) };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let value = rest[..digits].parse::<usize>().ok().filter(|value| *value <= MAX_PRECISION);
    let value = value.ok_or_else(|| {
        EvalError::other("error while parsing precision: error while converting precision to integer")
    })?;
    Ok((value, &rest[digits..]))
}

fn clause_text(clause: char, arg: &Value<'_>, precision: usize) -> Result<String, EvalError> {
    let refused = |what: &str| {
        let found = arg.type_of();
        Err(EvalError::other(format!("error during formatting: {what}, was given {}", found.runtime_name())))
    };
    Ok(match (clause, arg) {
        ('s', _) => text(arg, false)?,
        ('d', Value::Int(value)) => value.to_string(),
        ('d', Value::Uint(value)) => value.to_string(),
        ('d', Value::Double(value)) if !value.is_finite() => special(*value),
        ('d', _) => return refused("decimal clause can only be used on integers"),
        ('f' | 'e', _) => {
            let value = match arg {
                Value::Double(value) => *value,
                Value::Int(value) => *value as f64,
                Value::Uint(value) => *value as f64,
                Value::String(text) if matches!(&**text, "NaN" | "Infinity" | "-Infinity") => {
                    return Ok(text.to_string());
                }
                _ if clause == 'f' => return refused("fixed-point clause can only be used on doubles"),
                _ => return refused("scientific clause can only be used on doubles"),
            };
            if !value.is_finite() {
                special(value)
            } else if clause == 'f' {
                grouped(&format!("{value:.precision$}"))
            } else {
                scientific(value, precision)
            }
        }
        ('b', Value::Int(value)) => signed(*value, |value| format!("{value:b}")),
        ('b', Value::Uint(value)) => format!("{value:b}"),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('b', _) => return refused("only integers and bools can be formatted as binary"),
        ('o', Value::Int(value)) => signed(*value, |value| format!("{value:o}")),
        ('o', Value::Uint(value)) => format!("{value:o}"),
        ('o', _) => return refused("octal clause can only be used on integers"),
        ('x' | 'X', _) => {
            let hex = match arg {
                Value::Int(value) => signed(*value, |value| format!("{value:x}")),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => text.bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
                _ => return refused("only integers, byte buffers, and strings can be formatted as hex"),
            };
            if clause == 'X' { hex.to_uppercase() } else { hex }
        }
        _ => {
            let text = format!("could not parse formatting clause: unrecognized formatting clause \"{clause}\"");
            return Err(EvalError::other(text));
        }
    })
}

fn signed(value: i64, digits: fn(u64) -> String) -> String {
    format!("{}{}", if value < 0 { "-" } else { "" }, digits(value.unsigned_abs()))
}

fn special(value: f64) -> String {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .into()
}

/// Thousands are told apart, as in English.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = sign.to_string();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `3.14×10⁰⁰`: the exponent is raised and has two digits at least.
fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("", exponent), |exponent| ("⁻", exponent));
    let raised = |digit: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit as usize - '0' as usize).unwrap_or(digit);
    format!("{digits}×10{sign}{}", format!("{exponent:0>2}").chars().map(raised).collect::<String>())
}

/// Within lists and maps, texts are quoted.
fn text(value: &Value<'_>, nested: bool) -> Result<String, EvalError> {
    Ok(match value {
        Value::String(text) if nested => format!("{:?}", &**text),
        Value::Timestamp(time) if nested => format!("timestamp(\"{time}\")"),
        Value::Duration(nanos) if nested => format!("duration(\"{}\")", crate::duration::seconds(*nanos)),
        Value::Double(value) if nested => format!("{value:.6}"),
        Value::Null => "null".into(),
        Value::Type(t) => if nested { format!("type({})", t.runtime_name()) } else { t.runtime_name().into() },
        Value::Double(value) if !value.is_finite() => special(*value),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| text(&item?, true)).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries = Vec::new();
            for (key, value) in map.entries()? {
                entries.push(format!("{}:{}", text(&key, true)?, text(&value, true)?));
            }
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        other => convert::text_of(other).map_err(|_| {
            let found = other.type_of();
            EvalError::other(format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                found.runtime_name()
            ))
        })?,
    })
}
