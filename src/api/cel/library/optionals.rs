//! Optional values: made, asked and opened.

use super::{Function, Outcome};
use crate::cel::error::EvalError;
use crate::cel::value::Value;

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "optional.of" => |args| Ok(Value::some(args[0].clone())),
        "optional.none" => |_| Ok(Value::NONE),
        "optional.ofNonZeroValue" => {
            |args| Ok(if is_zero(&args[0]) { Value::NONE } else { Value::some(args[0].clone()) })
        }
        "value" => |args| match &args[0] {
            Value::Optional(Some(value)) => Ok((**value).clone()),
            Value::Optional(None) => Err(EvalError::other("optional.none() dereference")),
            _ => Err(EvalError::overload()),
        },
        "hasValue" => |args| match &args[0] {
            Value::Optional(value) => Ok(Value::Bool(value.is_some())),
            _ => Err(EvalError::overload()),
        },
        "first" => |args| end(args, 0),
        "last" => |args| end(args, 1),
        "optional.unwrap" | "unwrapOpt" => unwrap,
        _ => return None,
    })
}

fn end<'a>(args: &[Value<'a>], from_end: usize) -> Outcome<'a> {
    let Value::List(list) = &args[0] else { return Err(EvalError::overload()) };
    let index = if from_end == 0 { 0 } else { list.len().wrapping_sub(1) };
    Ok(match list.get(index) {
        Some(item) => Value::some(item?),
        None => Value::NONE,
    })
}

fn unwrap<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let Value::List(list) = &args[0] else { return Err(EvalError::overload()) };
    let mut items = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(Some(value)) => items.push((*value).clone()),
            Value::Optional(None) => {}
            other => {
                let kind = other.type_of();
                return Err(EvalError::other(format!("value {} is not optional", kind.runtime_name())));
            }
        }
    }
    Ok(Value::list(items))
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(value) => !value,
        Value::Int(value) | Value::Duration(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => value.size() == 0,
        Value::Made(made) => made.fields.is_empty(),
        _ => false,
    }
}
