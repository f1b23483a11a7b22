//! Messages whose JSON is no object: quantities, times, numbers-or-texts, raw JSON.

use crate::{duration, meta};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    ProtobufError,
    wire::{Field, Reader, put_bytes, put_varint_field, text},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Quantity,
    Time,
    MicroTime,
    Duration,
    IntOrString,
    Raw,
    /// A value of any form in an OpenAPI document: YAML, of which JSON is a part.
    Any,
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
            "any" => Special::Any,
            _ => return None,
        })
    }

    pub(super) fn read(self, bytes: &[u8]) -> Result<Value, ProtobufError> {
        match self {
            Special::Quantity => Ok(Value::String(first_bytes(bytes)?.map_or(Ok("0".to_string()), text)?)),
            Special::Time => Ok(time(bytes)?.map_or(Value::Null, |time| meta::format_time(time).into())),
            Special::MicroTime => Ok(time(bytes)?.map_or(Value::Null, |time| meta::format_micro_time(time).into())),
            Special::Duration => Ok(Value::String(duration::seconds(numbers(bytes)?.0))),
            Special::IntOrString => int_or_string(bytes),
            Special::Raw | Special::Any => match first_bytes(bytes)? {
                None | Some([]) => Ok(Value::Null),
                Some(json) => serde_json::from_slice(json).map_err(|_| ProtobufError::Json),
            },
        }
    }
}

impl Special {
    /// Writes the message of what JSON has as a text; `None` for a text that is no such thing.
    pub(super) fn put_text(self, text: &str, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Special::Quantity => put_bytes(1, text.as_bytes(), out),
            Special::Time => put_time(text.parse().ok()?, false, out),
            Special::MicroTime => put_time(text.parse().ok()?, true, out),
            Special::Duration => put_varint_field(1, duration::parse(text).ok()?.cast_unsigned(), out),
            Special::IntOrString => put_int_or_string(1, 0, text, out),
            Special::Raw | Special::Any => return None,
        }
        Some(())
    }

    /// As [`Special::put_text`] for a number.
    pub(super) fn put_number(self, number: i64, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Special::Quantity => put_bytes(1, number.to_string().as_bytes(), out),
            Special::IntOrString => put_int_or_string(0, number, "", out),
            _ => return None,
        }
        Some(())
    }
}

/// Only [`Special::MicroTime`] has parts of a second.
fn put_time(time: Timestamp, parts: bool, out: &mut Vec<u8>) {
    let (mut seconds, mut nanos) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    if nanos < 0 {
        (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
    }
    put_varint_field(1, seconds.cast_unsigned(), out);
    put_varint_field(2, if parts { nanos.cast_unsigned() } else { 0 }, out);
}

fn put_int_or_string(kind: u64, number: i64, text: &str, out: &mut Vec<u8>) {
    put_varint_field(1, kind, out);
    put_varint_field(2, number.cast_unsigned(), out);
    put_bytes(3, text.as_bytes(), out);
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
