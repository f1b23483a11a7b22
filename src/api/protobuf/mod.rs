//! Kubernetes' protobuf encoding: bodies are read into the JSON they stand for, stored JSON is written in it.
//!
//! Client-go's typed clients send and prefer built-in objects this way. Field numbers come from a table
//! (`messages.txt`); what a field means is the schema's business, as it is for JSON.
//!
//! Reading order: [`table`], [`wire`], this file (reading), [`encode`] (writing), [`special`].
//!
//! Invariant: any bytes are decoded or refused; nothing here recurses deeper than [`DEPTH`].

mod encode;
#[cfg(test)]
mod generate;
mod special;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use crate::decode::nests_within;
use serde_json::{Map, Value};

pub use self::encode::{EncodeError, Encoder, openapi};
use self::{
    table::{Field, Form, Message, Shape, TABLE, Table, Type},
    wire::{Field as Wire, Reader},
};

/// The content type of these bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";

/// How deeply messages may nest.
const DEPTH: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("proto: unexpected end or illegal field")]
    Wire,
    #[error("proto: message is nested too deeply")]
    Depth,
    #[error("proto: a text is not valid UTF-8")]
    Text,
    #[error("no kind {kind:?} is registered for version {api_version:?} in protobuf")]
    Unknown { api_version: String, kind: String },
    #[error("proto: a field holds JSON that cannot be read")]
    Json,
}

/// Decodes a body: the envelope says which kind it is.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader(envelope);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Wire::Bytes(bytes)) => (api_version, kind) = type_meta(bytes)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = TABLE.kind(&api_version, &kind) else {
        return Err(ProtobufError::Unknown { api_version, kind });
    };
    let mut object = match TABLE.read_message(message, raw, 0)? {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    let object = Value::Object(object);
    if nests_within(&object, crate::decode::DEPTH) { Ok(object) } else { Err(ProtobufError::Depth) }
}

fn type_meta(bytes: &[u8]) -> Result<(String, String), ProtobufError> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader(bytes);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Wire::Bytes(bytes)) => api_version = wire::text(bytes)?,
            (2, Wire::Bytes(bytes)) => kind = wire::text(bytes)?,
            _ => {}
        }
    }
    Ok((api_version, kind))
}

impl Table {
    fn read_message(&self, id: usize, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
        let message = self.message(id);
        let mut object = Map::new();
        self.fields(message, bytes, depth, &mut object)?;
        Ok(match message.form {
            Form::Object | Form::Choice => Value::Object(object),
            Form::List => object.remove("items").unwrap_or_else(|| Value::Array(Vec::new())),
            Form::Either => either(message, object),
        })
    }

    fn fields(
        &self,
        message: &Message,
        bytes: &[u8],
        depth: usize,
        object: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        if depth > DEPTH {
            return Err(ProtobufError::Depth);
        }
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            // Fields of a newer client, which JSON would call unknown, are passed over.
            let Some(field) = message.by_number(number) else { continue };
            match (field.shape, field.of, wire) {
                (Shape::Inline, Type::Message(id), Wire::Bytes(bytes)) => {
                    self.fields(self.message(id), bytes, depth + 1, object)?
                }
                (Shape::Map, of, Wire::Bytes(bytes)) => {
                    let (key, value) = self.entry(of, bytes, depth)?;
                    member(object, &field.name, || Value::Object(Map::new()))
                        .as_object_mut()
                        .map(|map| map.insert(key, value));
                }
                (Shape::List, of, wire) => {
                    let values = self.values(of, wire, depth)?;
                    if let Some(list) = member(object, &field.name, || Value::Array(Vec::new())).as_array_mut() {
                        list.extend(values);
                    }
                }
                (_, of, wire) => {
                    let value = self.value(of, wire, depth)?;
                    object.insert(field.name.clone(), value);
                }
            }
        }
        Ok(())
    }

    /// One entry of a map: a message of key and value.
    fn entry(&self, of: Type, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Bytes(bytes)) => key = wire::text(bytes)?,
                (2, wire) => value = Some(self.value(of, wire, depth)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(of, Wire::Bytes(&[]), depth).unwrap_or_default(),
        };
        Ok((key, value))
    }

    /// One item of a list, or several numbers packed together.
    fn values(&self, of: Type, wire: Wire<'_>, depth: usize) -> Result<Vec<Value>, ProtobufError> {
        match (of, wire) {
            (Type::Integer | Type::Boolean, Wire::Bytes(packed)) => {
                let mut reader = Reader(packed);
                let mut values = Vec::new();
                while !reader.0.is_empty() {
                    let number = reader.varint()?;
                    values.push(self.value(of, Wire::Varint(number), depth)?);
                }
                Ok(values)
            }
            (of, wire) => Ok(vec![self.value(of, wire, depth)?]),
        }
    }

    fn value(&self, of: Type, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
        match (of, wire) {
            (Type::Text, Wire::Bytes(bytes)) => wire::text(bytes).map(Value::String),
            (Type::Boolean, Wire::Varint(number)) => Ok(Value::Bool(number != 0)),
            (Type::Integer, Wire::Varint(number)) => Ok(Value::from(number.cast_signed())),
            (Type::Double, Wire::Fixed64(bits)) => Ok(Value::from(f64::from_bits(bits))),
            (Type::Double, Wire::Fixed32(bits)) => Ok(Value::from(f64::from(f32::from_bits(bits)))),
            (Type::Bytes, Wire::Bytes(bytes)) => Ok(Value::String(special::base64(bytes))),
            (Type::Special(special), Wire::Bytes(bytes)) => special.read(bytes),
            (Type::Message(id), Wire::Bytes(bytes)) => self.read_message(id, bytes, depth + 1),
            _ => Err(ProtobufError::Wire),
        }
    }
}

/// What is set of a message of which one field is: a message before a list before a flag.
fn either(message: &Message, mut object: Map<String, Value>) -> Value {
    let rank = |field: &&Field| match (field.shape, field.of) {
        (Shape::One, Type::Message(_)) => 0,
        (Shape::List, _) => 1,
        _ => 2,
    };
    let mut fields: Vec<&Field> = message.fields.iter().collect();
    fields.sort_by_key(rank);
    let set = fields.iter().find_map(|field| object.remove(&field.name));
    set.unwrap_or_else(|| match message.alternative(|field| field.of == Type::Boolean) {
        Some(_) => Value::Bool(false),
        None => Value::Null,
    })
}

fn member<'a>(object: &'a mut Map<String, Value>, name: &str, make: impl FnOnce() -> Value) -> &'a mut Value {
    object.entry(name.to_string()).or_insert_with(make)
}
