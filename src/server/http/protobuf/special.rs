//! Messages whose JSON is no object: quantities, times, numbers-or-texts, raw JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::Value;

use super::{
    ProtobufError,
    wire::{Field, Reader, text},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Quantity,
    Time,
    MicroTime,
    Duration,
    IntOrString,
    Raw,
}

impl Special {
    pub(super) fn of(name: &str) -> Option<Special> {
        Some(match name {
            "quantity" => Special::Quantity,
            "time" => Special::Time,
            "microtime" => Special::MicroTime,
            "duration" => Special::Duration,
            "intorstring" => Special::IntOrString,
            "raw" => Special::Raw,
            _ => return None,
        })
    }

    pub(super) fn read(self, bytes: &[u8]) -> Result<Value, ProtobufError> {
        match self {
            Special::Quantity => Ok(Value::String(first_bytes(bytes)?.map_or(Ok("0".to_string()), text)?)),
            Special::Time => Ok(time(bytes)?.map_or(Value::Null, |time| meta::format_time(time).into())),
            Special::MicroTime => Ok(time(bytes)?.map_or(Value::Null, |time| meta::format_micro_time(time).into())),
            Special::Duration => Ok(Value::String(duration(numbers(bytes)?.0))),
            Special::IntOrString => int_or_string(bytes),
            Special::Raw => match first_bytes(bytes)? {
                None | Some([]) => Ok(Value::Null),
                Some(json) => serde_json::from_slice(json).map_err(|_| ProtobufError::Json),
            },
        }
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn first_bytes(message: &[u8]) -> Result<Option<&[u8]>, ProtobufError> {
    let mut reader = Reader(message);
    let mut found = None;
    while let Some((number, value)) = reader.field()? {
        if let (1, Field::Bytes(bytes)) = (number, value) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

/// The numbers 1 and 2 of a message.
fn numbers(message: &[u8]) -> Result<(i64, i64), ProtobufError> {
    let mut reader = Reader(message);
    let (mut first, mut second) = (0, 0);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Field::Varint(value)) => first = value.cast_signed(),
            (2, Field::Varint(value)) => second = value.cast_signed(),
            _ => {}
        }
    }
    Ok((first, second))
}

/// An empty message is the absence of a time.
fn time(message: &[u8]) -> Result<Option<Timestamp>, ProtobufError> {
    if message.is_empty() {
        return Ok(None);
    }
    let (seconds, nanos) = numbers(message)?;
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Wire)?;
    Timestamp::new(seconds, nanos).map(Some).map_err(|_| ProtobufError::Wire)
}

/// Go's text of a duration, in seconds with as many digits as it needs.
fn duration(nanos: i64) -> String {
    let (sign, nanos) = if nanos < 0 { ("-", nanos.unsigned_abs()) } else { ("", nanos.unsigned_abs()) };
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let digits = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", digits.trim_end_matches('0'))
}

fn int_or_string(message: &[u8]) -> Result<Value, ProtobufError> {
    let (kind, number) = numbers(message)?;
    let mut reader = Reader(message);
    let mut string = String::new();
    while let Some((field, value)) = reader.field()? {
        if let (3, Field::Bytes(bytes)) = (field, value) {
            string = text(bytes)?;
        }
    }
    Ok(if kind == 1 { Value::String(string) } else { Value::from(number) })
}
