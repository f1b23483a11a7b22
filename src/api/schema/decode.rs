//! One pass over an object beside its type, which leaves it as Kubernetes' Go types would encode it.
//!
//! Go decodes into structs and encodes them again, and clients see the result: `null` is absence; an empty string, list or
//! map vanishes where the field has `omitempty`; a struct value is always written (`status: {}`, `resources: {}`);
//! `divisor: "0"` and `lastProbeTime: null` appear from nowhere. [`Presence`] says which field is which.

use serde_json::{Map, Number, Value};

use super::embedded;
use super::graph::{Field, Node, Presence, Shape, ShapeId, Struct};
use super::time;
use crate::{
    meta,
    quantity::{self, Quantity},
};

/// Why an object is not one of its kind, in the words of Go's decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}")]
    Field { found: String, owner: String, path: String, wanted: String },
    #[error("json: cannot unmarshal {found} into Go value of type {wanted}")]
    Value { found: String, wanted: String },
    #[error(transparent)]
    Quantity(#[from] quantity::ParseError),
    #[error("{0}")]
    Time(String),
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// The metadata of an object within the object.
    #[error("{0}")]
    Embedded(String),
}

pub(super) fn decode(root: Node<'_>, object: &mut Value) -> Result<Vec<String>, DecodeError> {
    let mut walk = Walk { root, unknown: Vec::new(), error: None };
    walk.value(root.id, object, &At::Root, None);
    match walk.error {
        Some(error) => Err(error),
        None => Ok(walk.unknown),
    }
}

pub(super) fn prune(root: Node<'_>, object: &mut Value) -> Vec<String> {
    let mut walk = Walk { root, unknown: Vec::new(), error: None };
    walk.value(root.id, object, &At::Root, None);
    walk.unknown
}

/// Where the walk is: a list on the stack, printed only when something is wrong.
enum At<'a> {
    Root,
    /// A field of a struct.
    Name(&'a At<'a>, &'a str, &'a Struct),
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    /// `spec.containers[0].foo`
    fn path(&self, name: &str) -> String {
        let mut path = String::new();
        self.write(&mut path, true);
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        path
    }

    /// `spec.containers.name`: Go's type errors leave indices and keys out.
    fn names(&self) -> String {
        let mut path = String::new();
        self.write(&mut path, false);
        path
    }

    fn write(&self, path: &mut String, whole: bool) {
        match self {
            At::Root => {}
            At::Key(parent, _) if !whole => parent.write(path, whole),
            At::Name(parent, name, _) | At::Key(parent, name) => {
                parent.write(path, whole);
                if let At::Name(_, name, owner) = self
                    && let Some(within) = embedded::within(&owner.go, name).filter(|_| !whole)
                {
                    push(path, within);
                }
                push(path, name);
            }
            At::Index(parent, index) => {
                parent.write(path, whole);
                if whole {
                    path.push_str(&format!("[{index}]"));
                }
            }
        }
    }
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// The struct and field a value belongs to, for error texts.
#[derive(Clone, Copy)]
struct Owner<'a> {
    object: &'a Struct,
    field: &'a Field,
}

struct Walk<'g> {
    root: Node<'g>,
    unknown: Vec<String>,
    /// The first one, as Go reports.
    error: Option<DecodeError>,
}

impl<'g> Walk<'g> {
    fn shape(&self, id: ShapeId) -> &'g Shape {
        self.root.graph.shape(id)
    }

    fn value(&mut self, id: ShapeId, value: &mut Value, at: &At<'_>, owner: Option<Owner<'g>>) {
        match (self.shape(id), &mut *value) {
            (Shape::Any, _) | (Shape::String, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Objects(id), value) => self.objects(*id, value, at, owner),
            (Shape::Object(object), Value::Object(map)) => self.object(object, map, at),
            (Shape::Map(values), Value::Object(map)) => {
                for (key, item) in map.iter_mut() {
                    if item.is_null() {
                        *item = self.zero(values.shape);
                    } else {
                        self.value(values.shape, item, &At::Key(at, key), owner);
                    }
                }
            }
            (Shape::List(items), Value::Array(list)) => {
                for (index, item) in list.iter_mut().enumerate() {
                    if item.is_null() {
                        *item = self.zero(items.shape);
                    } else {
                        self.value(items.shape, item, &At::Index(at, index), owner);
                    }
                }
            }
            (Shape::Integer { bits }, Value::Number(number)) if fits(number, *bits) => {}
            (Shape::IntOrString, Value::String(_)) => {}
            (Shape::IntOrString, Value::Number(number)) if fits(number, 32) => {}
            (Shape::Number, Value::Number(_)) => {}
            (Shape::Quantity, _) => match Quantity::from_json(value) {
                Ok(quantity) => {
                    let canonical = quantity.to_string();
                    if *value != *canonical {
                        *value = Value::String(canonical);
                    }
                }
                Err(error) => self.fail(error.into()),
            },
            (Shape::Time { micro: true }, Value::String(text)) => match time::read_micro(text) {
                Some(time) => *text = meta::format_micro_time(time),
                None => self.fail(DecodeError::Time(time::wrong(text, true))),
            },
            (Shape::Time { micro }, Value::String(text)) => match time::read(text) {
                // Already in the form it is written in.
                Some(_) if text.len() == "2006-01-02T15:04:05Z".len() && text.ends_with('Z') => {}
                Some(time) => *text = meta::format_time(time),
                None => self.fail(DecodeError::Time(time::wrong(text, *micro))),
            },
            (Shape::Bytes, Value::String(text)) => match base64_error(text) {
                Some(at) => self.fail(DecodeError::Base64(at)),
                None if text.contains(['\r', '\n']) => text.retain(|c| c != '\r' && c != '\n'),
                None => {}
            },
            (shape, _) => {
                let error = self.mismatch(id, shape, value, at, owner);
                self.fail(error);
            }
        }
    }

    /// Go decodes such a value by itself, and nobody hears of its unknown fields.
    fn objects(&mut self, id: ShapeId, value: &mut Value, at: &At<'_>, owner: Option<Owner<'g>>) {
        let known = self.unknown.len();
        match value {
            Value::Object(_) => self.value(id, value, at, owner),
            Value::Array(list) => list.iter_mut().filter(|item| item.is_object()).for_each(|item| {
                self.value(id, item, at, owner);
            }),
            _ => {}
        }
        self.unknown.truncate(known);
    }

    fn object(&mut self, object: &'g Struct, map: &mut Map<String, Value>, at: &At<'_>) {
        // Both sides are sorted, so most fields are found next to the one before.
        let mut next = 0;
        map.retain(|name, value| {
            let found = match object.fields.get(next) {
                Some(field) if *field.name == **name => Some(next),
                _ => object.fields.binary_search_by(|field| (*field.name).cmp(name)).ok(),
            };
            let Some(found) = found else {
                if !object.open {
                    self.unknown.push(at.path(name));
                }
                return object.open;
            };
            next = found + 1;
            let field = &object.fields[found];
            if value.is_null() {
                return false;
            }
            self.value(field.shape, value, &At::Name(at, name, object), Some(Owner { object, field }));
            if field.presence == Presence::Always && is_empty(value) && self.zero(field.shape).is_null() {
                // What is stored does not tell an empty list from none.
                *value = Value::Null;
            }
            field.presence != Presence::NonZero || !is_zero(value)
        });
        for field in &object.fields {
            let absent = match field.presence {
                Presence::NonZero | Presence::Given => continue,
                Presence::Always | Presence::AlwaysOrNull => !map.contains_key(&*field.name),
            };
            if absent {
                let zero = match field.presence {
                    Presence::AlwaysOrNull => Value::Null,
                    _ => self.zero(field.shape),
                };
                map.insert(field.name.to_string(), zero);
            }
        }
    }

    /// What Go encodes for a value that was never set.
    fn zero(&self, id: ShapeId) -> Value {
        match self.shape(id) {
            Shape::Any | Shape::Objects(_) | Shape::Time { .. } | Shape::Map(_) | Shape::List(_) => Value::Null,
            Shape::String | Shape::Bytes => Value::String(String::new()),
            Shape::Integer { .. } | Shape::Number | Shape::IntOrString => Value::from(0),
            Shape::Boolean => Value::Bool(false),
            Shape::Quantity => Value::from("0"),
            Shape::Object(object) => {
                let always = object.fields.iter().filter_map(|field| match field.presence {
                    Presence::Always => Some((field.name.to_string(), self.zero(field.shape))),
                    Presence::AlwaysOrNull => Some((field.name.to_string(), Value::Null)),
                    Presence::NonZero | Presence::Given => None,
                });
                Value::Object(always.collect())
            }
        }
    }

    fn fail(&mut self, error: DecodeError) {
        self.error.get_or_insert(error);
    }

    fn mismatch(
        &self,
        id: ShapeId,
        shape: &Shape,
        value: &Value,
        at: &At<'_>,
        owner: Option<Owner<'_>>,
    ) -> DecodeError {
        let found = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
            Value::Number(number) if matches!(shape, Shape::Integer { .. } | Shape::IntOrString) => {
                format!("number {number}")
            }
            Value::Number(_) => "number".to_owned(),
        };
        match owner {
            None => DecodeError::Value { found, wanted: self.go_type(id) },
            Some(Owner { object, field }) => DecodeError::Field {
                found,
                owner: object.go.rsplit('.').next().unwrap_or_default().to_owned(),
                path: at.names(),
                wanted: match &field.go {
                    _ if matches!(shape, Shape::IntOrString) => "int32".to_owned(),
                    Some(go) if field.shape == id => go.to_string(),
                    Some(go) => item_type(go).to_owned(),
                    None => self.go_type(id),
                },
            },
        }
    }

    fn go_type(&self, id: ShapeId) -> String {
        match self.shape(id) {
            Shape::Any
            | Shape::Objects(_)
            | Shape::String
            | Shape::Quantity
            | Shape::Time { .. }
            | Shape::IntOrString => "string".to_owned(),
            Shape::Bytes => "[]uint8".to_owned(),
            Shape::Integer { bits } => format!("int{bits}"),
            Shape::Number => "float64".to_owned(),
            Shape::Boolean => "bool".to_owned(),
            Shape::Object(object) => object.go.to_string(),
            Shape::Map(values) => format!("map[string]{}", self.go_type(values.shape)),
            Shape::List(items) => format!("[]{}", self.go_type(items.shape)),
        }
    }
}

/// `v1.Protocol` of `[]v1.Protocol`, `string` of `map[v1.Name]string`.
fn item_type(go: &str) -> &str {
    go.strip_prefix("[]").or_else(|| go.split_once(']').map(|(_, value)| value)).unwrap_or(go)
}

fn fits(number: &Number, bits: u8) -> bool {
    match (number.as_i64(), bits) {
        (Some(value), 32) => i32::try_from(value).is_ok(),
        (value, _) => value.is_some(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0) || number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Where padded standard base64 (line breaks allowed) goes wrong, as Go counts: a group of four that ends too early goes
/// wrong where it begins.
fn base64_error(text: &str) -> Option<usize> {
    let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let bytes = text.as_bytes();
    let (mut at, mut digits) = (0, 0);
    while let Some(byte) = bytes.get(at).copied() {
        at += 1;
        match byte {
            byte if is_break(byte) => {}
            byte if is_digit(byte) => digits = (digits + 1) % 4,
            b'=' if digits >= 2 => {
                let skip = |from: usize| bytes.iter().skip(from).take_while(|byte| is_break(**byte)).count() + from;
                let mut next = skip(at);
                if digits == 2 {
                    match bytes.get(next) {
                        None => return Some(text.len()),
                        Some(b'=') => next = skip(next + 1),
                        Some(_) => return Some(next - 1),
                    }
                }
                return (next < bytes.len()).then_some(next);
            }
            _ => return Some(at - 1),
        }
    }
    (digits > 0).then_some(at - digits)
}
