//! Quantities: `quantity('1.5Gi').isGreaterThan(quantity('1G'))`.

use super::{Function, Outcome};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::quantity::{Format, Quantity};

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "quantity" => |args| match &args[0] {
            Value::String(text) => {
                Quantity::parse(text).map(Value::Quantity).map_err(|why| EvalError::other(why.to_string()))
            }
            _ => Err(EvalError::overload()),
        },
        "isQuantity" => |args| match &args[0] {
            Value::String(text) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
            _ => Err(EvalError::overload()),
        },
        "sign" => |args| of(args, |quantity| Ok(Value::Int(quantity.nanos().signum() as i64))),
        "asApproximateFloat" => |args| of(args, |quantity| Ok(Value::Double(quantity.as_f64()))),
        "asInteger" => |args| {
            of(args, |quantity| {
                whole(quantity).map(Value::Int).ok_or_else(|| EvalError::other("cannot convert value to integer"))
            })
        },
        "isInteger" => |args| of(args, |quantity| Ok(Value::Bool(whole(quantity).is_some()))),
        "add" => |args| with(args, |a, b| a + b),
        "sub" => |args| with(args, |a, b| a - b),
        _ => return None,
    })
}

fn of<'a>(args: &[Value<'a>], of: fn(Quantity) -> Outcome<'a>) -> Outcome<'a> {
    match &args[0] {
        Value::Quantity(quantity) => of(*quantity),
        _ => Err(EvalError::overload()),
    }
}

fn whole(quantity: Quantity) -> Option<i64> {
    (quantity.nanos() % 1_000_000_000 == 0).then(|| i64::try_from(quantity.nanos() / 1_000_000_000).ok())?
}

fn with<'a>(args: &[Value<'a>], of: fn(Quantity, Quantity) -> Quantity) -> Outcome<'a> {
    match args {
        [Value::Quantity(a), Value::Quantity(b)] => Ok(Value::Quantity(of(*a, *b))),
        [Value::Quantity(a), Value::Int(b)] => Ok(Value::Quantity(of(*a, Quantity::from_units(*b, Format::Decimal)))),
        _ => Err(EvalError::overload()),
    }
}
