//! Equality and order of values. Numbers compare across their types, and lists as their schema says: as sets, by keys, in order.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value as Json;

use super::error::EvalError;
use super::schema::ListOrder;
use super::value::{Entries, List, Map, Value};

/// Whether two values are the same. Values of different types are not.
pub(crate) fn equal<'a>(a: &Value<'a>, b: &Value<'a>) -> Result<bool, EvalError> {
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            numbers(a, b) == Some(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::List(a), Value::List(b)) => return lists(a, b),
        (Value::Map(a), Value::Map(b)) => return maps(a, b),
        (Value::Made(a), Value::Made(b)) => {
            if a.name != b.name || a.fields.len() != b.fields.len() {
                return Ok(false);
            }
            for (name, value) in &a.fields {
                match b.fields.get(name) {
                    Some(other) if equal(value, other)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => return equal(a, b),
        (Value::Type(a), Value::Type(b)) => a.runtime_name() == b.runtime_name(),
        (Value::Quantity(a), Value::Quantity(b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a), Value::Cidr(b)) => a == b,
        (Value::Url(a), Value::Url(b)) => a == b,
        (Value::Version(a), Value::Version(b)) => a.precedence(b) == Ordering::Equal,
        (Value::Format(a), Value::Format(b)) => a.name == b.name,
        _ => false,
    })
}

/// The order of two values that have one.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Option<Ordering>, EvalError> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some((**a).cmp(&**b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Int(_) | Value::Uint(_) | Value::Double(_), Value::Int(_) | Value::Uint(_) | Value::Double(_)) => {
            numbers(a, b)
        }
        _ => return Err(EvalError::overload()),
    })
}

/// Nothing where one is no number at all.
fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), b) => double_to_whole(*a, as_whole(b)?),
        (a, Value::Double(b)) => double_to_whole(*b, as_whole(a)?).map(Ordering::reverse),
        (a, b) => Some(as_whole(a)?.cmp(&as_whole(b)?)),
    }
}

fn as_whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some((*value).into()),
        Value::Uint(value) => Some((*value).into()),
        _ => None,
    }
}

fn double_to_whole(double: f64, whole: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Beyond every 64-bit number the exact value does not matter.
    if double.abs() >= 1e30 {
        return double.partial_cmp(&0.0);
    }
    let floor = double.floor();
    Some((floor as i128).cmp(&whole).then(if double > floor { Ordering::Greater } else { Ordering::Equal }))
}

fn lists<'a>(a: &List<'a>, b: &List<'a>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.order() {
        Some(order @ (ListOrder::Set | ListOrder::Map(_))) => {
            let known = index(a, order)?;
            for item in b.iter() {
                let item = item?;
                match known.get(&identity(&item, order)?) {
                    Some(found) if equal(&at(a, *found)?, &item)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        _ => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(&a?, &b?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

fn at<'a>(list: &List<'a>, index: usize) -> Result<Value<'a>, EvalError> {
    list.get(index).unwrap_or_else(|| Err(EvalError::other(format!("index out of bounds: {index}"))))
}

/// Whether an element is equal to the value.
pub(crate) fn contains<'a>(list: &List<'a>, value: &Value<'a>) -> Result<bool, EvalError> {
    for item in list.iter() {
        if equal(&item?, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where each element is, by what tells it apart.
fn index(list: &List<'_>, order: &ListOrder) -> Result<HashMap<String, usize>, EvalError> {
    list.iter().enumerate().map(|(at, item)| Ok((identity(&item?, order)?, at))).collect()
}

/// What tells an element apart from the others: its keys, or all of it.
fn identity(item: &Value<'_>, order: &ListOrder) -> Result<String, EvalError> {
    let ListOrder::Map(keys) = order else { return Ok(item.to_json()?.to_string()) };
    let mut text = String::new();
    for key in keys.iter() {
        match key_of(item, key).transpose()? {
            Some(value) => text.push_str(&value.to_json()?.to_string()),
            None => text.push('-'),
        }
        text.push(',');
    }
    Ok(text)
}

fn key_of<'a>(item: &Value<'a>, key: &str) -> Option<Result<Value<'a>, EvalError>> {
    match item {
        Value::Map(map) => map.get_text(&super::escape::escape(key).unwrap_or(key.into())),
        _ => None,
    }
}

/// Both lists as one: appended, united as sets, or merged by keys.
pub(crate) fn join<'a>(a: &List<'a>, b: &List<'a>) -> Result<Vec<Value<'a>>, EvalError> {
    let mut joined: Vec<Value<'a>> = a.iter().collect::<Result<_, _>>()?;
    let Some(order @ (ListOrder::Set | ListOrder::Map(_))) = a.order() else {
        for item in b.iter() {
            joined.push(item?);
        }
        return Ok(joined);
    };
    let mut known = index(a, order)?;
    for item in b.iter() {
        let item = item?;
        match known.entry(identity(&item, order)?) {
            Entry::Occupied(place) => joined[*place.get()] = item,
            Entry::Vacant(place) => {
                place.insert(joined.len());
                joined.push(item);
            }
        }
    }
    Ok(joined)
}

fn maps<'a>(a: &Map<'a>, b: &Map<'a>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for key in a.keys() {
        match (a.get(&key), b.get(&key)) {
            (Some(a), Some(b)) => {
                if !equal(&a?, &b?)? {
                    return Ok(false);
                }
            }
            (None, None) => {}
            _ => return Ok(false),
        }
    }
    Ok(unseen_equal(a, b))
}

/// Fields that the schema hides from expressions count all the same.
fn unseen_equal(a: &Map<'_>, b: &Map<'_>) -> bool {
    let (Map::Json { map: a, of: Entries::Fields(of) }, Map::Json { map: b, .. }) = (a, b) else { return true };
    a.iter()
        .filter(|(name, _)| of.property(name).is_none())
        .all(|(name, value): (&String, &Json)| b.get(name).is_none_or(|other| crate::at::same(value, other)))
}
