//! Values of expressions. Those that come from objects borrow from their JSON and look into it only when asked.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::authorize::{Authorizer, Decision, GroupCheck, PathCheck, ResourceCheck};
use super::error::EvalError;
use super::escape;
use super::library::{formats::Format, networks::Cidr, urls::Url, versions::Version};
use super::schema::{DeclType, ListOrder};
use super::types::Type;
use crate::quantity::Quantity;

/// A value, which may borrow from the objects it was found in.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Rc<[u8]>),
    Timestamp(Timestamp),
    /// Nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    /// An object that the expression made.
    Made(Rc<Made<'a>>),
    Optional(Option<Rc<Value<'a>>>),
    Type(Type),
    Quantity(Quantity),
    Ip(IpAddr),
    Cidr(Cidr),
    Url(Rc<Url>),
    Version(Rc<Version>),
    Format(&'static Format),
    Authorizer(Rc<Authorizer<'a>>),
    PathCheck(Rc<PathCheck<'a>>),
    GroupCheck(Rc<GroupCheck<'a>>),
    ResourceCheck(Rc<ResourceCheck<'a>>),
    Decision(Rc<Decision>),
}

/// Text that is borrowed or shared.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    Json {
        items: &'a [Json],
        of: Option<&'a DeclType>,
        order: Option<&'a ListOrder>,
    },
    /// As [`Entries::Claims`].
    Claims(&'a [Json]),
    Owned {
        items: Rc<Vec<Value<'a>>>,
        order: Option<&'a ListOrder>,
    },
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    Json { map: &'a serde_json::Map<String, Json>, of: Entries<'a> },
    Owned(Rc<BTreeMap<Key<'a>, Value<'a>>>),
    Lazy(Rc<dyn Lazy<'a> + 'a>),
}

/// What is known of the entries of a JSON object.
#[derive(Clone, Copy, Debug)]
pub enum Entries<'a> {
    Unknown,
    /// Names may be written escaped, as `kubernetes__dot__io`, and all numbers are doubles: what the claims of a token are.
    Claims,
    Values(&'a DeclType),
    Fields(&'a DeclType),
}

/// Fields whose values are computed when first asked for.
pub trait Lazy<'a>: std::fmt::Debug {
    /// The value, or nothing when there is no such field.
    fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;

    /// Whether `in` finds it.
    fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }
}

/// A key of a map. Whole numbers are the same key whatever their type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

#[derive(Clone, Debug)]
pub struct Made<'a> {
    pub(crate) name: &'a str,
    pub(crate) fields: BTreeMap<&'a str, Value<'a>>,
}

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Rc<str>>) -> Value<'a> {
        Value::String(Text::Shared(text.into()))
    }

    pub(crate) fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Owned { items: Rc::new(items), order: None })
    }

    pub(crate) fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Rc::new(value)))
    }

    /// An optional value that holds nothing.
    pub const NONE: Value<'a> = Value::Optional(None);

    /// JSON of which nothing is known.
    pub fn dynamic(json: &'a Json) -> Value<'a> {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Value::Int(value),
                (None, Some(value)) => Value::Uint(value),
                (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::String(Text::Borrowed(text)),
            Json::Array(items) => Value::List(List::Json { items, of: None, order: None }),
            Json::Object(map) => Value::Map(Map::Json { map, of: Entries::Unknown }),
        }
    }

    /// The claims of a token, or a part of them.
    pub fn claims(json: &'a Json) -> Value<'a> {
        match json {
            Json::Number(number) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            Json::Array(items) => Value::List(List::Claims(items)),
            Json::Object(map) => Value::Map(Map::Json { map, of: Entries::Claims }),
            simple => Value::dynamic(simple),
        }
    }

    /// The name of the value's type.
    pub(crate) fn type_of(&self) -> Type {
        let named = |name: &str| Type::Struct(name.into());
        match self {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Uint(_) => Type::Uint,
            Value::Double(_) => Type::Double,
            Value::String(_) => Type::String,
            Value::Bytes(_) => Type::Bytes,
            Value::Timestamp(_) => Type::Timestamp,
            Value::Duration(_) => Type::Duration,
            Value::List(_) => Type::list(Type::Dyn),
            Value::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Value::Made(made) => named(made.name),
            Value::Optional(_) => Type::optional(Type::Dyn),
            Value::Type(_) => Type::Type(None),
            Value::Quantity(_) => named("kubernetes.Quantity"),
            Value::Ip(_) => Type::Opaque("net.IP".into(), Vec::new()),
            Value::Cidr(_) => Type::Opaque("net.CIDR".into(), Vec::new()),
            Value::Url(_) => named("kubernetes.URL"),
            Value::Version(_) => named("kubernetes.Semver"),
            Value::Format(_) => named("kubernetes.NamedFormat"),
            Value::Authorizer(_) => named("kubernetes.authorization.Authorizer"),
            Value::PathCheck(_) => named("kubernetes.authorization.PathCheck"),
            Value::GroupCheck(_) => named("kubernetes.authorization.GroupCheck"),
            Value::ResourceCheck(_) => named("kubernetes.authorization.ResourceCheck"),
            Value::Decision(_) => named("kubernetes.authorization.Decision"),
        }
    }

    /// What `size` says, or 1 of what has no size: what costs are counted by.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Value::String(text) => text.chars().count() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            Value::Optional(Some(inner)) => inner.size(),
            Value::Ip(ip) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Value::Cidr(cidr) => cidr.bits().div_ceil(8).into(),
            _ => 1,
        }
    }

    /// How an index, a key or a value is named in an error.
    pub(crate) fn shown(&self) -> String {
        match self {
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Uint(value) => value.to_string(),
            Value::Double(value) => value.to_string(),
            Value::String(text) => text.to_string(),
            other => other.type_of().runtime_name().to_string(),
        }
    }

    /// Objects that an expression made must be named after their place: `Object.spec` is what the field `spec` of an `Object` takes.
    pub fn check_type_names(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        match self {
            Value::List(list) => {
                // Of patches, each value is a root of its own.
                for item in list.iter().flatten() {
                    if let Value::Made(patch) = &item {
                        patch.fields.values().for_each(|value| {
                            if let Value::Made(made) = value {
                                check_names(value, made.name, &mut wrong);
                            }
                        });
                    }
                }
            }
            Value::Made(made) => check_names(self, made.name, &mut wrong),
            _ => {}
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// The value as JSON, where JSON has such a value.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        Ok(match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::from(*value),
            Value::Uint(value) => Json::from(*value),
            Value::Double(value) => Json::from(*value),
            Value::String(text) => Json::String(text.to_string()),
            Value::Bytes(bytes) => {
                Json::String(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
            }
            Value::Timestamp(_) | Value::Duration(_) => Json::String(super::library::convert::text_of(self)?),
            Value::List(List::Json { items, .. } | List::Claims(items)) => Json::Array(items.to_vec()),
            Value::List(List::Owned { items, .. }) => {
                Json::Array(items.iter().map(Value::to_json).collect::<Result<_, _>>()?)
            }
            Value::Map(Map::Json { map, .. }) => Json::Object((*map).clone()),
            Value::Map(Map::Owned(entries)) => {
                let mut map = serde_json::Map::new();
                for (key, value) in &**entries {
                    let Key::String(key) = key else {
                        return Err(EvalError::other(format!("map key {} is not a string", key.value().shown())));
                    };
                    map.insert(key.to_string(), value.to_json()?);
                }
                Json::Object(map)
            }
            Value::Made(made) => {
                let fields = made.fields.iter().map(|(name, value)| {
                    Ok((escape::unescape(name).unwrap_or((*name).into()).into_owned(), value.to_json()?))
                });
                Json::Object(fields.collect::<Result<_, EvalError>>()?)
            }
            Value::Optional(Some(inner)) => inner.to_json()?,
            Value::Optional(None) => Json::Null,
            other => {
                return Err(EvalError::other(format!("unable to convert {} to JSON", other.type_of().runtime_name())));
            }
        })
    }
}

fn check_names(value: &Value<'_>, expected: &str, wrong: &mut Vec<String>) {
    match value {
        Value::Made(made) => {
            if made.name != expected {
                let (found, expected) = (crate::field::quote(made.name), crate::field::quote(expected));
                wrong.push(format!(
                    "unexpected type name {found}, expected {expected}, which matches field name path from root Object type"
                ));
            }
            for (name, field) in &made.fields {
                check_names(field, &format!("{expected}.{name}"), wrong);
            }
        }
        Value::List(List::Owned { items, .. }) => items.iter().for_each(|item| check_names(item, expected, wrong)),
        Value::Map(Map::Owned(entries)) => entries.values().for_each(|value| check_names(value, expected, wrong)),
        _ => {}
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            List::Json { items, .. } | List::Claims(items) => items.len(),
            List::Owned { items, .. } => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            List::Json { items, of, .. } => items.get(index).map(|item| Value::of_schema(item, *of)),
            List::Claims(items) => items.get(index).map(|item| Ok(Value::claims(item))),
            List::Owned { items, .. } => items.get(index).cloned().map(Ok),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).map_while(|index| self.get(index))
    }

    pub(crate) fn order(&self) -> Option<&'a ListOrder> {
        match self {
            List::Json { order, .. } | List::Owned { order, .. } => *order,
            List::Claims(_) => None,
        }
    }
}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Map::Json { map, .. } => map.len(),
            Map::Owned(entries) => entries.len(),
            Map::Lazy(_) => 0,
        }
    }

    /// The entry with the name, as a field or a key.
    pub(crate) fn get_text(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        match self {
            Map::Json { map, of } => match of {
                Entries::Unknown => map.get(name).map(|json| Ok(Value::dynamic(json))),
                Entries::Claims => {
                    let plain = escape::unescape(name).unwrap_or(name.into());
                    map.get(plain.as_ref()).map(|json| Ok(Value::claims(json)))
                }
                Entries::Values(of) => map.get(name).map(|json| Value::of_schema(json, Some(of))),
                Entries::Fields(of) => {
                    let name = escape::unescape(name)?;
                    // A null field is an absent one.
                    let json = map.get(name.as_ref()).filter(|json| !json.is_null())?;
                    of.property(&name).map(|of| Value::of_schema(json, Some(of)))
                }
            },
            Map::Owned(entries) => entries.get(&Key::String(Text::Shared(name.into()))).cloned().map(Ok),
            Map::Lazy(lazy) => lazy.field(name),
        }
    }

    pub(crate) fn get(&self, key: &Value<'a>) -> Option<Result<Value<'a>, EvalError>> {
        match (self, key) {
            (_, Value::String(name)) if !matches!(self, Map::Owned(_)) => self.get_text(name),
            (Map::Owned(entries), key) => entries.get(&Key::of(key)?).cloned().map(Ok),
            _ => None,
        }
    }

    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Json { map, of } => map
                .keys()
                .filter_map(|name| match of {
                    Entries::Fields(of) => {
                        of.property(name).and_then(|_| escape::escape(name)).map(|name| match name {
                            std::borrow::Cow::Borrowed(name) => Value::String(Text::Borrowed(name)),
                            std::borrow::Cow::Owned(name) => Value::text(name),
                        })
                    }
                    _ => Some(Value::String(Text::Borrowed(name))),
                })
                .collect(),
            Map::Owned(entries) => entries.keys().map(Key::value).collect(),
            Map::Lazy(_) => Vec::new(),
        }
    }
}

impl<'a> Key<'a> {
    /// The key that a value is, where it can be one.
    pub(crate) fn of(value: &Value<'a>) -> Option<Key<'a>> {
        Some(match value {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Uint(value) => i64::try_from(*value).map_or(Key::Uint(*value), Key::Int),
            Value::Double(value) => Key::Int(crate::decode::whole(*value)?),
            Value::String(text) => Key::String(text.clone()),
            _ => return None,
        })
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(text) => Value::String(text.clone()),
        }
    }
}

impl From<&Arc<str>> for Value<'_> {
    fn from(text: &Arc<str>) -> Self {
        Value::text(&**text)
    }
}
