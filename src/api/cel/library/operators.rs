//! Operators: arithmetic that tells of overflow, order, membership, indexes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::SignedDuration;

use super::{Function, Outcome, times};
use crate::cel::equal::{compare, contains, equal, join};
use crate::cel::error::EvalError;
use crate::cel::value::{Key, List, Map, Text, Value};

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "_==_" => |args| Ok(Value::Bool(equal(&args[0], &args[1])?)),
        "_!=_" => |args| Ok(Value::Bool(!equal(&args[0], &args[1])?)),
        "_<_" => |args| Ok(Value::Bool(compare(&args[0], &args[1])? == Some(Ordering::Less))),
        "_<=_" => |args| Ok(Value::Bool(compare(&args[0], &args[1])?.is_some_and(Ordering::is_le))),
        "_>_" => |args| Ok(Value::Bool(compare(&args[0], &args[1])? == Some(Ordering::Greater))),
        "_>=_" => |args| Ok(Value::Bool(compare(&args[0], &args[1])?.is_some_and(Ordering::is_ge))),
        "_+_" => add,
        "_-_" => subtract,
        "_*_" => multiply,
        "_/_" => divide,
        "_%_" => modulo,
        "-_" => negate,
        "!_" => |args| match args[0] {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            _ => Err(EvalError::overload()),
        },
        "@in" => |args| match (&args[0], &args[1]) {
            (value, Value::List(list)) => Ok(Value::Bool(contains(list, value)?)),
            (Value::String(name), Value::Map(Map::Lazy(map))) => Ok(Value::Bool(map.has(name))),
            (key, Value::Map(map)) => Ok(Value::Bool(map.get(key).transpose()?.is_some())),
            _ => Err(EvalError::overload()),
        },
        "size" => |args| match &args[0] {
            value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)) => {
                Ok(Value::Int(value.size() as i64))
            }
            _ => Err(EvalError::overload()),
        },
        _ => return None,
    })
}

const INT_OVERFLOW: EvalError = EvalError::Other(std::borrow::Cow::Borrowed("integer overflow"));
const UINT_OVERFLOW: EvalError = EvalError::Other(std::borrow::Cow::Borrowed("unsigned integer overflow"));

fn add<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or(INT_OVERFLOW)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_add(*b).ok_or(UINT_OVERFLOW)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::String(a), Value::String(b)) => {
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Value::text(text)
        }
        (Value::Bytes(a), Value::Bytes(b)) => Value::Bytes([&a[..], &b[..]].concat().into()),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.checked_add(*b).ok_or(INT_OVERFLOW)?),
        (Value::Timestamp(time), Value::Duration(by)) | (Value::Duration(by), Value::Timestamp(time)) => {
            Value::Timestamp(times::in_range(time.checked_add(SignedDuration::from_nanos(*by)).ok())?)
        }
        (Value::List(a), Value::List(b)) => {
            let (order, empty) = (a.order(), b.len() == 0);
            if empty { args[0].clone() } else { Value::List(List::Owned { items: Rc::new(join(a, b)?), order }) }
        }
        _ => return Err(EvalError::overload()),
    })
}

fn subtract<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_sub(*b).ok_or(INT_OVERFLOW)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_sub(*b).ok_or(UINT_OVERFLOW)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.checked_sub(*b).ok_or(INT_OVERFLOW)?),
        (Value::Timestamp(time), Value::Duration(by)) => {
            Value::Timestamp(times::in_range(time.checked_sub(SignedDuration::from_nanos(*by)).ok())?)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            let nanos = a.duration_since(*b).as_nanos();
            Value::Duration(i64::try_from(nanos).map_err(|_| INT_OVERFLOW)?)
        }
        _ => return Err(EvalError::overload()),
    })
}

fn multiply<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_mul(*b).ok_or(INT_OVERFLOW)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_mul(*b).ok_or(UINT_OVERFLOW)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a * b),
        _ => return Err(EvalError::overload()),
    })
}

fn divide<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            return Err(EvalError::other("division by zero"));
        }
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_div(*b).ok_or(INT_OVERFLOW)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a / b),
        (Value::Double(a), Value::Double(b)) => Value::Double(a / b),
        _ => return Err(EvalError::overload()),
    })
}

fn modulo<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            return Err(EvalError::other("modulus by zero"));
        }
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_rem(*b).ok_or(INT_OVERFLOW)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a % b),
        _ => return Err(EvalError::overload()),
    })
}

fn negate<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match &args[0] {
        Value::Int(value) => Value::Int(value.checked_neg().ok_or(INT_OVERFLOW)?),
        Value::Double(value) => Value::Double(-value),
        _ => return Err(EvalError::overload()),
    })
}

/// The element at an index or under a key: nothing when there is none.
pub(crate) fn index<'a>(of: &Value<'a>, at: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
    match of {
        Value::List(list) => {
            let index = match at {
                Value::Int(index) => *index,
                Value::Uint(index) => i64::try_from(*index).unwrap_or(i64::MAX),
                Value::Double(index) if index.fract() == 0.0 => *index as i64,
                other => {
                    return Err(EvalError::other(format!(
                        "unsupported index type '{}' in list",
                        other.type_of().runtime_name()
                    )));
                }
            };
            usize::try_from(index).ok().and_then(|index| list.get(index)).transpose()
        }
        Value::Map(map) => map.get(at).transpose(),
        Value::Made(made) => match at {
            Value::String(name) => Ok(made.fields.get(&**name).cloned()),
            _ => Err(EvalError::overload()),
        },
        // What holds nothing has nothing at any place.
        _ => Ok(None),
    }
}

/// Puts an entry into a map that has none under the key.
pub(crate) fn map_insert<'a>(
    map: &mut BTreeMap<Key<'a>, Value<'a>>,
    key: &Value<'a>,
    value: Value<'a>,
) -> Result<(), EvalError> {
    let known = Key::of(key)
        .ok_or_else(|| EvalError::other(format!("unsupported key type: {}", key.type_of().runtime_name())))?;
    match map.insert(known, value) {
        None => Ok(()),
        Some(_) => Err(EvalError::other(format!("insert failed: key {} already exists", key.shown()))),
    }
}

impl<'a> Map<'a> {
    /// All entries.
    pub(crate) fn entries(&self) -> Result<Vec<(Value<'a>, Value<'a>)>, EvalError> {
        let entries =
            self.keys().into_iter().filter_map(|key| self.get(&key).map(|value| value.map(|value| (key, value))));
        entries.collect()
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(Text::Borrowed(text))
    }
}
