//! Stored JSON as protobuf: one walk over the text, field by field as the table has them.
//!
//! ```text
//! k8s\0 | Unknown { typeMeta, raw: the message, contentEncoding: "", contentType: "" }
//! ```
//!
//! What is in front of a message has its length in it, which is known only after the walk; so room is left there
//! ([`Front`]) and nothing is moved. Fields that the JSON does not have are not written: to a reader that is what Go
//! writes for them.
//!
//! Invariant: any JSON is encoded; a value that is not what the table says is left out.

use std::{collections::HashMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    MAGIC,
    special::Special,
    table::{Field, Form, Message, Place, Shape, TABLE, Type},
    wire::{close, open, put_bytes, put_double, put_varint, put_varint_field},
};

/// JSON that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("an object cannot be encoded as protobuf")]
pub enum EncodeError {
    Json(#[from] serde_json::Error),
    Text(#[from] std::str::Utf8Error),
}

/// How objects of one kind are encoded.
#[derive(Debug, Clone)]
pub struct Encoder {
    message: usize,
    /// The `typeMeta` of the envelope.
    type_meta: Vec<u8>,
}

impl Encoder {
    /// `None` for kinds that have no such encoding.
    pub fn of(api_version: &str, kind: &str) -> Option<Encoder> {
        Some(Encoder { message: TABLE.kind(api_version, kind)?, type_meta: type_meta(api_version, kind) })
    }

    /// One object.
    pub fn object(&self, json: &[u8]) -> Result<Bytes, EncodeError> {
        let mut front = Front::with_capacity(json.len());
        write(self.message, json, &mut front.bytes)?;
        self.envelope(&mut front);
        Ok(front.finish())
    }

    /// A list: its metadata, and its objects one by one. `kind` is that of the list.
    pub fn list<'a>(
        &self,
        api_version: &str,
        kind: &str,
        metadata: &[u8],
        items: impl Iterator<Item = &'a [u8]>,
        size: usize,
    ) -> Result<Bytes, EncodeError> {
        let mut front = Front::with_capacity(size);
        nested(1, &mut front.bytes, |out| write(TABLE.named("meta.ListMeta"), metadata, out))?;
        for item in items {
            nested(2, &mut front.bytes, |out| write(self.message, item, out))?;
        }
        let list = Encoder { message: self.message, type_meta: type_meta(api_version, kind) };
        list.envelope(&mut front);
        Ok(front.finish())
    }

    /// An event of a watch, framed by its length.
    pub fn event(&self, kind: &str, json: &[u8]) -> Result<Bytes, EncodeError> {
        let mut front = Front::with_capacity(json.len());
        write(self.message, json, &mut front.bytes)?;
        self.envelope(&mut front);
        // RawExtension { raw: 1 } in WatchEvent { type: 1, object: 2 }.
        front.prepend_length(1);
        front.prepend_length(2);
        let mut head = Vec::with_capacity(16);
        put_bytes(1, kind.as_bytes(), &mut head);
        front.prepend(&head);
        let length = u32::try_from(front.len()).unwrap_or(u32::MAX);
        front.prepend(&length.to_be_bytes());
        Ok(front.finish())
    }

    /// Makes of a written message the whole body.
    fn envelope(&self, front: &mut Front) {
        front.prepend_length(2);
        front.prepend(&self.type_meta);
        front.prepend(MAGIC);
        put_bytes(3, b"", &mut front.bytes);
        put_bytes(4, b"", &mut front.bytes);
    }
}

fn type_meta(api_version: &str, kind: &str) -> Vec<u8> {
    let mut inner = Vec::new();
    put_bytes(1, api_version.as_bytes(), &mut inner);
    put_bytes(2, kind.as_bytes(), &mut inner);
    let mut out = Vec::new();
    put_bytes(1, &inner, &mut out);
    out
}

/// An OpenAPI document of version 2 or 3, of which protobuf is the bare message.
pub fn openapi(version: u8, json: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(json.len());
    write(TABLE.named(if version == 2 { "openapi.v2.Document" } else { "openapi.v3.Document" }), json, &mut out)?;
    Ok(out)
}

/// Bytes that can still be written in front of.
struct Front {
    bytes: Vec<u8>,
    start: usize,
}

impl Front {
    /// Room for the envelope and what a watch puts around it.
    const ROOM: usize = 192;

    fn with_capacity(size: usize) -> Front {
        let mut bytes = Vec::with_capacity(Front::ROOM + size);
        bytes.resize(Front::ROOM, 0);
        Front { bytes, start: Front::ROOM }
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn prepend(&mut self, head: &[u8]) {
        if head.len() > self.start {
            let more = head.len() + Front::ROOM;
            self.bytes.splice(0..0, std::iter::repeat_n(0, more));
            self.start += more;
        }
        self.start -= head.len();
        self.bytes[self.start..self.start + head.len()].copy_from_slice(head);
    }

    /// Makes what is there the value of a field.
    fn prepend_length(&mut self, number: u32) {
        let mut head = Vec::with_capacity(12);
        put_varint(u64::from(number) << 3 | 2, &mut head);
        put_varint(self.len() as u64, &mut head);
        self.prepend(&head);
    }

    fn finish(self) -> Bytes {
        Bytes::from(self.bytes).slice(self.start..)
    }
}

/// Writes the fields of a message.
fn write(message: usize, json: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut deserializer = serde_json::Deserializer::from_str(std::str::from_utf8(json)?);
    deserializer.deserialize_any(Fields { message: TABLE.message(message), out })?;
    Ok(deserializer.end()?)
}

/// What `inner` writes, as a field of known length.
fn nested<E>(number: u32, out: &mut Vec<u8>, inner: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let at = open(number, out);
    inner(out)?;
    close(at, out);
    Ok(())
}

/// The fields of a message, without tag and length.
struct Fields<'a> {
    message: &'static Message,
    out: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(Name(self.message))? {
            let place = match found {
                Found::Place(place) => place,
                Found::Other(field, name) => {
                    let at = open(field.number, self.out);
                    put_bytes(1, name.as_bytes(), self.out);
                    map.next_value_seed(Value {
                        number: 2,
                        shape: Shape::One,
                        of: field.of,
                        item: true,
                        out: self.out,
                    })?;
                    close(at, self.out);
                    continue;
                }
                Found::Nothing => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let field = &TABLE.message(place.message).fields[place.field];
            let start = self.out.len();
            let opened: Vec<usize> = place.within.iter().map(|number| open(*number, self.out)).collect();
            let inside = self.out.len();
            map.next_value_seed(Value {
                number: field.number,
                shape: field.shape,
                of: field.of,
                item: false,
                out: self.out,
            })?;
            if self.out.len() == inside {
                self.out.truncate(start);
                continue;
            }
            for at in opened.into_iter().rev() {
                close(at, self.out);
            }
        }
        Ok(())
    }
}

/// What a name means in a message.
enum Found {
    Place(&'static Place),
    /// It is a key of this field's entries.
    Other(&'static Field, String),
    Nothing,
}

/// The field of a message whose condition holds for a value.
fn chosen(message: &'static Message, raw: &str) -> Option<&'static Field> {
    let member = |name: &str| -> Option<&RawValue> {
        let members: HashMap<&str, &RawValue> = serde_json::from_str(raw).ok()?;
        members.get(name).copied()
    };
    let holds = |field: &&Field| match (field.name.as_str(), field.name.split_once('=')) {
        ("-", _) => false,
        ("!b", _) => raw.starts_with(['t', 'f']),
        ("!n", _) => raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()),
        ("!s", _) => raw.starts_with('"'),
        (_, Some((name, text))) => member(name).is_some_and(|found| found.get().trim_matches('"') == text),
        (name, None) => member(name).is_some(),
    };
    let fields = &message.fields;
    fields.iter().find(holds).or_else(|| fields.iter().find(|field| field.name == "-"))
}

/// The name of a field, looked up without being copied.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Found;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        if let Some(place) = self.0.by_name(name) {
            return Ok(Found::Place(place));
        }
        Ok(self.0.other(name).map_or(Found::Nothing, |field| Found::Other(field, name.to_owned())))
    }
}

/// One value as the field of a number.
struct Value<'a> {
    number: u32,
    shape: Shape,
    of: Type,
    /// Stands in a list, where nothing is something too.
    item: bool,
    out: &'a mut Vec<u8>,
}

impl Value<'_> {
    fn is_one(&self) -> bool {
        self.shape == Shape::One
    }

    /// What `inner` writes, as this field; nothing when it is no such thing.
    fn if_any(self, inner: impl FnOnce(&mut Vec<u8>) -> Option<()>) {
        let start = self.out.len();
        let at = open(self.number, self.out);
        match inner(self.out) {
            Some(()) => close(at, self.out),
            None => self.out.truncate(start),
        }
    }

    fn number(self, number: i64) {
        match self.of {
            _ if !self.is_one() => {}
            Type::Integer => put_varint_field(self.number, number.cast_unsigned(), self.out),
            Type::Double => put_double(self.number, number as f64, self.out),
            Type::Special(special) => self.if_any(|out| special.put_number(number, out)),
            _ => {}
        }
    }

    /// The message this value is, with the field of it that values of this form are.
    fn alternative(&self, form: Form, wanted: impl Fn(&Field) -> bool) -> Option<&'static Field> {
        match self.of {
            Type::Message(id) if self.is_one() && TABLE.message(id).form == form => {
                TABLE.message(id).alternative(wanted)
            }
            _ => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.is_one() && self.of == Type::Special(Special::Raw) {
            let raw = <&RawValue>::deserialize(deserializer)?.get();
            if raw != "null" {
                return nested(self.number, self.out, |out| {
                    put_bytes(1, raw.as_bytes(), out);
                    Ok(())
                });
            }
            return self.visit_unit();
        }
        match self.of {
            Type::Special(Special::Any) if self.is_one() => {
                let raw = <&RawValue>::deserialize(deserializer)?.get();
                nested(self.number, self.out, |out| {
                    put_bytes(2, raw.as_bytes(), out);
                    Ok(())
                })
            }
            Type::Message(id) if self.is_one() && TABLE.message(id).form == Form::Choice => {
                let raw = <&RawValue>::deserialize(deserializer)?.get();
                let Some(field) = chosen(TABLE.message(id), raw) else {
                    put_bytes(self.number, b"", self.out);
                    return Ok(());
                };
                nested(self.number, self.out, |out| {
                    let value = Value { number: field.number, shape: Shape::One, of: field.of, item: true, out };
                    value.deserialize(&mut serde_json::Deserializer::from_str(raw)).map_err(D::Error::custom)
                })
            }
            Type::Message(id) if self.is_one() && TABLE.message(id).is_list_of_messages() => {
                let raw = <&RawValue>::deserialize(deserializer)?.get();
                let mut inner = serde_json::Deserializer::from_str(raw);
                if raw.starts_with('[') {
                    return inner.deserialize_any(self).map_err(D::Error::custom);
                }
                // A list may be written as its only item.
                let (number, of) = (TABLE.message(id).fields[0].number, TABLE.message(id).fields[0].of);
                nested(self.number, self.out, |out| {
                    Value { number, shape: Shape::One, of, item: true, out }
                        .deserialize(&mut inner)
                        .map_err(D::Error::custom)
                })
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        match self.of {
            _ if !self.item => {}
            Type::Boolean | Type::Integer => put_varint_field(self.number, 0, self.out),
            Type::Double => put_double(self.number, 0.0, self.out),
            _ => put_bytes(self.number, b"", self.out),
        }
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        if self.is_one() && self.of == Type::Boolean {
            put_varint_field(self.number, u64::from(flag), self.out);
        } else if let Some(field) = self.alternative(Form::Either, |field| field.of == Type::Boolean) {
            let at = open(self.number, self.out);
            put_varint_field(field.number, u64::from(flag), self.out);
            close(at, self.out);
        }
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.number(number);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.number(number.cast_signed());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        match self.of {
            Type::Double if self.is_one() => put_double(self.number, number, self.out),
            // A whole number may be written with a point.
            _ if number.fract() == 0.0 && number.abs() < 9e15 => self.number(number as i64),
            _ => {}
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.of {
            _ if !self.is_one() => {}
            Type::Text => put_bytes(self.number, text.as_bytes(), self.out),
            Type::Bytes => self.if_any(|out| STANDARD.decode_vec(text, out).ok()),
            Type::Special(special) => self.if_any(|out| special.put_text(text, out)),
            // So may a list of texts.
            Type::Message(_) => {
                if let Some(field) = self.alternative(Form::List, |field| field.of == Type::Text) {
                    let at = open(self.number, self.out);
                    put_bytes(field.number, text.as_bytes(), self.out);
                    close(at, self.out);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Value { number, of, .. } = self;
        if self.shape == Shape::List {
            let out = self.out;
            while seq.next_element_seed(Value { number, shape: Shape::One, of, item: true, out: &mut *out })?.is_some()
            {
            }
            return Ok(());
        }
        let list = |field: &Field| field.shape == Shape::List;
        let field = self.alternative(Form::List, list).or_else(|| self.alternative(Form::Either, list));
        match field {
            Some(field) => {
                let (number, of) = (field.number, field.of);
                nested(self.number, self.out, |out| {
                    while seq
                        .next_element_seed(Value { number, shape: Shape::One, of, item: true, out: &mut *out })?
                        .is_some()
                    {}
                    Ok(())
                })
            }
            None => {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(())
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match (self.shape, self.of) {
            (Shape::Map, of) => {
                let out = self.out;
                while let Some(at) = map.next_key_seed(Key { number: self.number, out: &mut *out })? {
                    map.next_value_seed(Value { number: 2, shape: Shape::One, of, item: true, out: &mut *out })?;
                    close(at, out);
                }
                Ok(())
            }
            (Shape::One, Type::Message(id)) => {
                let message = TABLE.message(id);
                match message.form {
                    Form::Object => nested(self.number, self.out, |out| Fields { message, out }.visit_map(map)),
                    Form::Either => nested(self.number, self.out, |out| {
                        for flag in
                            message.fields.iter().filter(|field| field.of == Type::Boolean && field.name == "allows")
                        {
                            put_varint_field(flag.number, 1, out);
                        }
                        let of_message =
                            |field: &Field| field.shape == Shape::One && matches!(field.of, Type::Message(_));
                        match message.alternative(of_message) {
                            Some(Field { number, of: Type::Message(id), .. }) => {
                                nested(*number, out, |out| Fields { message: TABLE.message(*id), out }.visit_map(map))
                            }
                            _ => drain(map),
                        }
                    }),
                    Form::List | Form::Choice => drain(map),
                }
            }
            _ => drain(map),
        }
    }
}

fn drain<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Begins the entry of a map with its key; the entry's end is for the caller to close.
struct Key<'a> {
    number: u32,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<usize, E> {
        let at = open(self.number, self.out);
        put_bytes(1, key.as_bytes(), self.out);
        Ok(at)
    }
}
