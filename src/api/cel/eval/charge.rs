//! What running functions costs, in cel-go's units: a traversal of a text is a tenth of its length, most else is one.
//!
//! The counterpart of `estimate`, with sizes that are known instead of guessed.

use crate::cel::value::{List, Value};

pub(super) const SELECT: u64 = 1;
pub(super) const LIST: u64 = 10;
pub(super) const MAP: u64 = 30;
pub(super) const OBJECT: u64 = 40;

fn tenth(size: u64) -> u64 {
    scaled(size, 0.1)
}

fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// The cost of a pattern on a text.
pub(super) fn pattern(text: u64, pattern: u64) -> u64 {
    scaled(text + 1, 0.1).saturating_mul(scaled(pattern, 0.25))
}

/// The cost of a call, known when its arguments are.
pub(super) fn before(name: &str, args: &[Value<'_>]) -> u64 {
    let size = |index: usize| args.get(index).map_or(0, Value::size);
    match name {
        "check" => 350_000,
        "fieldSelector" | "labelSelector" => {
            let length = size(1);
            LIST + tenth(length) + scaled(scaled(length, 0.5), (LIST + OBJECT) as f64)
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => args.first().map_or(0, traversal),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver"
        | "startsWith"
        | "endsWith"
        | "strings.quote"
        | "format" => {
            // The language's own tests look at the text they are called on.
            tenth(size(0))
        }
        "replace" | "split" | "ip.isCanonical" => scaled(size(0), 0.2),
        "matches" | "find" | "findAll" => pattern(size(0), size(1)),
        "ip" => {
            if matches!(args.first(), Some(Value::Cidr(_))) {
                1
            } else {
                tenth(size(0))
            }
        }
        "containsIP" => {
            scaled(size(0) * 2, 0.1) + if matches!(args.get(1), Some(Value::String(_))) { tenth(size(1)) } else { 0 }
        }
        "containsCIDR" => {
            let parsed = if matches!(args.get(1), Some(Value::String(_))) { tenth(size(1)) } else { 0 };
            scaled(size(0) * 2, 0.1) + tenth(size(0)) + 1 + parsed
        }
        "validate" => match args.first() {
            Some(Value::Format(format)) => pattern(size(1), format.pattern_size),
            _ => 1,
        },
        "contains" => tenth(size(0)).saturating_mul(tenth(size(1))),
        "@in" => {
            if matches!(args.get(1), Some(Value::List(_))) {
                size(1)
            } else {
                1
            }
        }
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" => tenth(size(0).min(size(1))),
        "_+_" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => tenth(size(0).saturating_add(size(1))),
            _ => 1,
        },
        "bytes" | "string" if matches!(args.first(), Some(Value::String(_) | Value::Bytes(_))) => tenth(size(0)),
        "sets.contains" | "sets.intersects" => 1 + size(0).saturating_mul(size(1)),
        "sets.equivalent" => 1 + size(0).saturating_mul(size(1)).saturating_mul(2),
        "sort" | "distinct" => self_compared(&args[0]),
        "@sortByAssociatedKeys" => args.get(1).map_or(1, self_compared),
        "flatten" => {
            let depth = match args.get(1) {
                Some(Value::Int(depth)) => (*depth).max(0) as f64,
                _ => 1.0,
            };
            (size(0) as f64 * depth) as u64 + 1 + LIST
        }
        "lists.range" => match args.first() {
            Some(Value::Int(count)) => (*count).max(0) as u64 + 1 + LIST,
            _ => 1,
        },
        "reverse" => size(0) + 1 + LIST,
        // Known only from what comes out of it.
        "join" | "slice" => 0,
        _ => 1,
    }
}

/// What is known of a call's cost only afterwards.
pub(super) fn after(name: &str, result: &Value<'_>) -> u64 {
    match name {
        "join" => scaled(result.size(), 0.2),
        "slice" => result.size() + 1 + LIST,
        _ => 0,
    }
}

fn self_compared(list: &Value<'_>) -> u64 {
    let size = list.size();
    let texts =
        matches!(list, Value::List(list) if matches!(list.get(0), Some(Ok(Value::String(_) | Value::Bytes(_)))));
    let factor = if texts { 2.1 } else { 2.0 };
    (size.saturating_mul(size) as f64 * factor) as u64 + 1 + LIST
}

/// Looking at everything in a value once.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => text.len() as u64 / 10,
        Value::Bytes(bytes) => bytes.len() as u64 / 10,
        Value::List(list @ (List::Json { .. } | List::Claims(_) | List::Owned { .. })) => {
            list.iter().map(|item| item.map_or(1, |item| traversal(&item))).fold(0, u64::saturating_add)
        }
        Value::Map(map) => map.entries().map_or(1, |entries| {
            entries
                .iter()
                .map(|(key, value)| traversal(key).saturating_add(traversal(value)))
                .fold(0, u64::saturating_add)
        }),
        _ => 1,
    }
}
