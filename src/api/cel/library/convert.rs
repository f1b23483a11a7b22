//! Conversions between types: `int('1')`, `string(1.5)`, `type(x)`.

use super::{Function, Outcome, times};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::duration;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "type" => |args| Ok(Value::Type(args[0].type_of())),
        "dyn" => |args| Ok(args[0].clone()),
        "bool" => bool_of,
        "bytes" => |args| match &args[0] {
            Value::String(text) => Ok(Value::Bytes(text.as_bytes().into())),
            value @ Value::Bytes(_) => Ok(value.clone()),
            other => Err(no_conversion(other, "bytes")),
        },
        "double" => double_of,
        "int" => int_of,
        "uint" => uint_of,
        "string" => |args| Ok(Value::text(text_of(&args[0])?)),
        "duration" => |args| match &args[0] {
            Value::String(text) => {
                duration::parse(text).map(Value::Duration).map_err(|_| conversion("string", "google.protobuf.Duration"))
            }
            Value::Int(nanos) => Ok(Value::Duration(*nanos)),
            value @ Value::Duration(_) => Ok(value.clone()),
            other => Err(no_conversion(other, "google.protobuf.Duration")),
        },
        "timestamp" => |args| match &args[0] {
            Value::String(text) => times::parse_timestamp(text)
                .map(Value::Timestamp)
                .ok_or_else(|| conversion("string", "google.protobuf.Timestamp")),
            Value::Int(seconds) => Ok(Value::Timestamp(times::in_range(jiff::Timestamp::from_second(*seconds).ok())?)),
            value @ Value::Timestamp(_) => Ok(value.clone()),
            other => Err(no_conversion(other, "google.protobuf.Timestamp")),
        },
        _ => return None,
    })
}

fn conversion(from: &str, to: &str) -> EvalError {
    EvalError::other(format!("type conversion error from '{from}' to '{to}'"))
}

fn no_conversion(from: &Value<'_>, to: &str) -> EvalError {
    match from {
        Value::Null | Value::List(_) | Value::Map(_) => conversion(from.type_of().runtime_name(), to),
        _ => EvalError::overload(),
    }
}

fn bool_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match &args[0] {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(conversion("string", "bool")),
        },
        other => Err(no_conversion(other, "bool")),
    }
}

fn double_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::Double(match &args[0] {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::String(text) => text.parse().map_err(|_| conversion("string", "double"))?,
        other => return Err(no_conversion(other, "double")),
    }))
}

fn int_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let overflow = || EvalError::other("integer overflow");
    Ok(Value::Int(match &args[0] {
        Value::Int(value) | Value::Duration(value) => *value,
        Value::Uint(value) => i64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if *value > -9_223_372_036_854_775_808.0 && *value < 9_223_372_036_854_775_807.0 => {
            *value as i64
        }
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => text.parse().map_err(|_| conversion("string", "int"))?,
        Value::Timestamp(time) => time.as_second(),
        other => return Err(no_conversion(other, "int")),
    }))
}

fn uint_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let overflow = || EvalError::other("unsigned integer overflow");
    Ok(Value::Uint(match &args[0] {
        Value::Uint(value) => *value,
        Value::Int(value) => u64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if *value >= 0.0 && *value < 18_446_744_073_709_551_615.0 => *value as u64,
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => text.parse().map_err(|_| conversion("string", "uint"))?,
        other => return Err(no_conversion(other, "uint")),
    }))
}

/// What `string(x)` is.
pub(crate) fn text_of(value: &Value<'_>) -> Result<String, EvalError> {
    Ok(match value {
        Value::String(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double_text(*value),
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec())
            .map_err(|_| EvalError::other("invalid UTF-8 in bytes, cannot convert to string"))?,
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(nanos) => duration::seconds(*nanos),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(cidr) => cidr.to_string(),
        Value::Quantity(quantity) => quantity.to_string(),
        other => return Err(no_conversion(other, "string")),
    })
}

/// As Go's `%g` with the shortest exact digits.
pub(super) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    value.to_string()
}
