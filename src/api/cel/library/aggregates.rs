//! Lists as a whole: sums and extremes, order, sets, slices.

use std::cmp::Ordering;
use std::rc::Rc;

use super::strings::{MAX_MADE, too_large};
use super::{Function, Outcome};
use crate::cel::equal::{compare, contains, equal};
use crate::cel::error::EvalError;
use crate::cel::value::{List, Value};

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "isSorted" => is_sorted,
        "sum" => sum,
        "min" => |args| extreme(args, "min", Ordering::Greater),
        "max" => |args| extreme(args, "max", Ordering::Less),
        "slice" => slice,
        "flatten" => |args| match args {
            [Value::List(list)] => flatten(list, 1),
            [Value::List(list), Value::Int(depth)] => flatten(list, *depth),
            _ => Err(EvalError::overload()),
        },
        "sort" => |args| sorted(args, args),
        "@sortByAssociatedKeys" => |args| sorted(args, &args[1..]),
        "lists.range" => range,
        "reverse" => |args| {
            let mut items = items(args, 0)?;
            items.reverse();
            Ok(Value::list(items))
        },
        "distinct" => distinct,
        "sets.contains" => |args| Ok(Value::Bool(holds_all(&args[0], &args[1])?)),
        "sets.equivalent" => |args| Ok(Value::Bool(holds_all(&args[0], &args[1])? && holds_all(&args[1], &args[0])?)),
        "sets.intersects" => intersects,
        _ => return None,
    })
}

fn list<'v, 'a>(args: &'v [Value<'a>], index: usize) -> Result<&'v List<'a>, EvalError> {
    match args.get(index) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(EvalError::overload()),
    }
}

fn items<'a>(args: &[Value<'a>], index: usize) -> Result<Vec<Value<'a>>, EvalError> {
    list(args, index)?.iter().collect()
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    for pair in items(args, 0)?.windows(2) {
        if compare(&pair[0], &pair[1])? == Some(Ordering::Greater) {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let add = super::operators::function("_+_").expect("addition is an operator");
    let mut total: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        let item = item?;
        total = Some(match total {
            None => item,
            Some(total) => add(&[total, item])?,
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

fn extreme<'a>(args: &[Value<'a>], name: &str, replaced_when: Ordering) -> Outcome<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        let item = item?;
        best = match best {
            Some(best) if compare(&best, &item)? != Some(replaced_when) => Some(best),
            _ => Some(item),
        };
    }
    best.ok_or_else(|| EvalError::other(format!("{name} called on empty list")))
}

pub(super) fn index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    for (index, item) in list(args, 0)?.iter().enumerate() {
        if equal(&item?, &args[1])? {
            return Ok(Value::Int(index as i64));
        }
    }
    Ok(Value::Int(-1))
}

pub(super) fn last_index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    for (index, item) in items(args, 0)?.iter().enumerate().rev() {
        if equal(item, &args[1])? {
            return Ok(Value::Int(index as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn slice<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::List(list), Value::Int(start), Value::Int(end)] = args else { return Err(EvalError::overload()) };
    let refused = |why: String| EvalError::other(format!("cannot slice({start}, {end}), {why}"));
    if *start < 0 || *end < 0 {
        return Err(refused("negative indexes not supported".into()));
    }
    if start > end {
        return Err(refused("start index must be less than or equal to end index".into()));
    }
    if *end > list.len() as i64 {
        return Err(refused(format!("list is length {}", list.len())));
    }
    let items: Vec<_> = list.iter().skip(*start as usize).take((end - start) as usize).collect::<Result<_, _>>()?;
    Ok(Value::list(items))
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Outcome<'a> {
    if depth < 0 {
        return Err(EvalError::other("level must be non-negative"));
    }
    let mut out = Vec::new();
    flatten_into(&mut out, list, depth)?;
    Ok(Value::list(out))
}

fn flatten_into<'a>(out: &mut Vec<Value<'a>>, list: &List<'a>, depth: i64) -> Result<(), EvalError> {
    for item in list.iter() {
        match item? {
            Value::List(inner) if depth > 0 => flatten_into(out, &inner, depth - 1)?,
            _ if out.len() >= MAX_MADE => return Err(too_large()),
            other => out.push(other),
        }
    }
    Ok(())
}

/// The elements in the order of their keys.
fn sorted<'a>(args: &[Value<'a>], keys: &[Value<'a>]) -> Outcome<'a> {
    let (items, keys) = (items(args, 0)?, self::items(keys, 0)?);
    if items.len() != keys.len() {
        return Err(EvalError::other(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            items.len(),
            keys.len()
        )));
    }
    let Some(first) = keys.first() else { return Ok(Value::list(items)) };
    compare(first, first).map_err(|_| EvalError::other("list elements must be comparable"))?;
    let kind = first.type_of();
    if keys.iter().any(|key| key.type_of() != kind) {
        return Err(EvalError::other("list elements must have the same type"));
    }
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|a, b| compare(&keys[*a], &keys[*b]).ok().flatten().unwrap_or(Ordering::Equal));
    Ok(Value::list(order.into_iter().map(|index| items[index].clone()).collect()))
}

fn range<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match args {
        [Value::Int(end)] if *end > MAX_MADE as i64 / 8 => Err(too_large()),
        [Value::Int(end)] => Ok(Value::list((0..*end).map(Value::Int).collect())),
        _ => Err(EvalError::overload()),
    }
}

fn distinct<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut unique = List::Owned { items: Rc::new(Vec::new()), order: None };
    for item in list(args, 0)?.iter() {
        let item = item?;
        if !contains(&unique, &item)?
            && let List::Owned { items, .. } = &mut unique
        {
            Rc::make_mut(items).push(item);
        }
    }
    Ok(Value::List(unique))
}

fn holds_all<'a>(list: &Value<'a>, of: &Value<'a>) -> Result<bool, EvalError> {
    let (Value::List(list), Value::List(of)) = (list, of) else { return Err(EvalError::overload()) };
    for item in of.iter() {
        if !contains(list, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (a, b) = (list(args, 0)?, list(args, 1)?);
    for item in a.iter() {
        if contains(b, &item?)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
