//! What functions do: one file a library, a table from names to them. The texts of errors are cel-go's and Kubernetes'.

mod aggregates;
mod authorizer;
pub(crate) mod convert;
mod format_text;
pub(crate) mod formats;
pub(crate) mod networks;
mod operators;
mod optionals;
pub(crate) mod patterns;
mod quantities;
mod strings;
pub(crate) mod times;
pub(crate) mod urls;
pub(crate) mod versions;

use super::error::EvalError;
use super::value::Value;

pub(crate) type Outcome<'a> = Result<Value<'a>, EvalError>;
/// A function of its arguments, the receiver first.
pub(crate) type Function = for<'a> fn(&[Value<'a>]) -> Outcome<'a>;

pub(crate) use self::operators::{index, map_insert};

/// The function with the name. Every name of the checker's table has one, but for the forms that evaluation knows itself.
pub(crate) fn function(name: &str) -> Option<Function> {
    operators::function(name)
        .or_else(|| convert::function(name))
        .or_else(|| strings::function(name))
        .or_else(|| patterns::function(name))
        .or_else(|| times::function(name))
        .or_else(|| optionals::function(name))
        .or_else(|| aggregates::function(name))
        .or_else(|| urls::function(name))
        .or_else(|| networks::function(name))
        .or_else(|| shared(name))
        .or_else(|| formats::function(name))
        .or_else(|| authorizer::function(name))
}

/// Functions of the same name for quantities and versions.
fn shared(name: &str) -> Option<Function> {
    Some(match name {
        "isGreaterThan" | "isLessThan" | "compareTo" => match name {
            "isGreaterThan" => |args| Ok(Value::Bool(order(args)? == 1)),
            "isLessThan" => |args| Ok(Value::Bool(order(args)? == -1)),
            _ => |args| Ok(Value::Int(order(args)?)),
        },
        _ => return quantities::function(name).or_else(|| versions::function(name)),
    })
}

fn order(args: &[Value<'_>]) -> Result<i64, EvalError> {
    match args {
        [Value::Quantity(a), Value::Quantity(b)] => Ok(a.cmp(b) as i64),
        [Value::Version(a), Value::Version(b)] => Ok(a.precedence(b) as i64),
        _ => Err(EvalError::overload()),
    }
}
