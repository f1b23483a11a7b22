//! Strategic merge: a merge patch that knows which lists are merged item by item, and obeys directives.
//!
//! Directives: `$patch: replace|delete|merge` in a map or an item, `$retainKeys`, `$deleteFromPrimitiveList/F` and
//! `$setElementOrder/F`. Semantics and error texts are those of apimachinery's `strategicpatch`.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Node, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

const BAD_ORDER: &str = "invalid patch format of setElementOrder list";
const BAD_DELETION: &str = "invalid patch format of primitive list";
const BAD_RETAIN: &str = "invalid patch format of retainKeys";

fn refuse<T>(message: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Directive(message.into()))
}

/// The object that the patch makes of `object`.
pub fn apply(schema: &Schema, object: Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else { return refuse("invalid JSON document") };
    let Value::Object(object) = object else { return refuse("invalid JSON document") };
    merge_map(Some(schema.node()), object, patch.clone()).map(Value::Object)
}

/// What the schema says of merging one field.
#[derive(Clone, Copy, Default)]
struct Hints<'a> {
    /// The type of the field's value, or of its items when it is a list.
    inner: Option<Node<'a>>,
    merges: bool,
    merge_key: Option<&'a str>,
    known: bool,
}

fn hints<'a>(node: Option<Node<'a>>, field: &str) -> Hints<'a> {
    let Some(child) = node.and_then(|node| node.child(field)) else { return Hints::default() };
    let inner = if child.is_list() { child.items() } else { Some(child) };
    Hints { inner, merges: child.merges(), merge_key: child.merge_key(), known: true }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn bad_type<T>(expected: &str, found: &Value) -> Result<T, PatchError> {
    refuse(format!("expected a {expected}, but received a {}", type_name(found)))
}

/// A value as Go's `%v` prints it.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

fn no_merge_key<T>(item: &Map<String, Value>, key: &str) -> Result<T, PatchError> {
    let item = go_text(&Value::Object(item.clone()));
    refuse(format!("map: {item} does not contain declared merge key: {key}"))
}

fn bad_directive<T>(directive: &Value, item: &Map<String, Value>) -> Result<T, PatchError> {
    let item = go_text(&Value::Object(item.clone()));
    refuse(format!("unknown patch type: {} in map: {item}", go_text(directive)))
}

fn merge_map(
    node: Option<Node<'_>>,
    mut object: Map<String, Value>,
    mut patch: Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Map::new()),
            _ => bad_directive(directive, &patch),
        };
    }
    retain_keys(&mut object, &mut patch)?;
    set_orders(node, &mut object, &mut patch)?;
    for (field, value) in patch {
        let (field, deletes) = match directive_of(&field, DELETE_FROM_LIST) {
            Some("") => return refuse(BAD_DELETION),
            Some(listed) => (listed.to_string(), true),
            None => (field, false),
        };
        if value.is_null() {
            object.remove(&field);
            continue;
        }
        let merged = match (object.remove(&field), value) {
            (Some(Value::Array(old)), Value::Array(listed)) if deletes => {
                Some(Value::Array(old.into_iter().filter(|item| !listed.contains(item)).collect()))
            }
            (old, _) if deletes => old,
            (Some(Value::Object(old)), Value::Object(value)) => {
                Some(Value::Object(merge_map(hints(node, &field).inner, old, value)?))
            }
            (Some(Value::Array(old)), Value::Array(value)) => {
                let hints = hints(node, &field);
                Some(Value::Array(if hints.merges { merge_list(hints, &field, old, value)? } else { value }))
            }
            (_, value) => without_directives(value),
        };
        if let Some(merged) = merged {
            object.insert(field, merged);
        }
    }
    Ok(object)
}

/// The field that a parallel directive such as `$setElementOrder/ports` is about; empty when it names none.
fn directive_of<'a>(field: &'a str, directive: &str) -> Option<&'a str> {
    let rest = field.strip_prefix(directive)?;
    Some(rest.strip_prefix('/').unwrap_or(""))
}

/// Clears all keys of the object that the patch does not list.
fn retain_keys(object: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return refuse(BAD_RETAIN) };
    let listed = |key: &str| keys.iter().any(|listed| listed.as_str() == Some(key));
    for (key, value) in patch.iter() {
        let directive = key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ORDER);
        if !value.is_null() && !directive && !listed(key) {
            return refuse(BAD_RETAIN);
        }
    }
    object.retain(|key, _| listed(key));
    Ok(())
}

/// Merges and orders the lists that `$setElementOrder` directives name, taking both out of the patch.
fn set_orders(
    node: Option<Node<'_>>,
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            Some(other) => return bad_type("[]interface {}", &other),
            None => continue,
        };
        let field = match directive_of(&directive, SET_ORDER) {
            Some(field) if !field.is_empty() => field.to_string(),
            _ => return refuse(BAD_ORDER),
        };
        let hints = hints(node, &field);
        if !hints.known {
            return refuse(format!("unable to find api field in struct for the json field {field:?}"));
        }
        let old = list_at(object, &field)?;
        let new = list_at(patch, &field)?;
        check_order(new.as_deref().unwrap_or(&[]), &order, hints.merge_key)?;
        let server_order = old.clone().unwrap_or_default();
        let merged = match (old, new) {
            (Some(old), Some(new)) if hints.merges => merge_list(hints, &field, old, new)?,
            (Some(_), Some(new)) => new,
            (Some(old), None) => old,
            (None, Some(new)) => match without_directives(Value::Array(new)) {
                Some(Value::Array(new)) => new,
                _ => continue,
            },
            (None, None) => continue,
        };
        let ordered = ordered(merged, &order, &server_order, hints.merge_key)?;
        object.insert(field.clone(), Value::Array(ordered));
        patch.remove(&field);
    }
    Ok(())
}

fn list_at(fields: &Map<String, Value>, field: &str) -> Result<Option<Vec<Value>>, PatchError> {
    match fields.get(field) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(other) => bad_type("[]interface {}", other),
    }
}

/// The patch's items must come in the order that the directive gives.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let is_directive = |item: &Value| item.get(DIRECTIVE).is_some();
    let mut wanted = patch.iter().filter(|item| !is_directive(item)).peekable();
    for entry in order {
        let Some(item) = wanted.peek() else { break };
        if identity(item, key)? == identity(entry, key)? {
            wanted.next();
        }
    }
    if wanted.peek().is_some() {
        return refuse(format!(
            "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
            go_text(&Value::Array(patch.to_vec())),
            go_text(&Value::Array(order.to_vec()))
        ));
    }
    Ok(())
}

/// What tells an item from others: its merge key's value, or itself in a list of plain values.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Result<&'a Value, PatchError> {
    let Some(key) = key else { return Ok(item) };
    let Value::Object(fields) = item else { return bad_type("map[string]interface {}", item) };
    match fields.get(key) {
        Some(value) => Ok(value),
        None => no_merge_key(fields, key),
    }
}

fn merge_list(hints: Hints<'_>, field: &str, old: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, PatchError> {
    let Some(first) = old.first().or(patch.first()) else { return Ok(old) };
    let maps = first.is_object();
    if let Some(odd) = old.iter().chain(&patch).find(|item| item.is_object() != maps) {
        return if odd.is_array() || first.is_array() {
            Err(PatchError::ListOfLists)
        } else {
            refuse(format!("list element types are not identical: {}, {}", type_name(first), type_name(odd)))
        };
    }
    if first.is_array() {
        return Err(PatchError::ListOfLists);
    }
    if !maps {
        let order = patch.clone();
        let server_order = old.clone();
        let mut merged = Vec::with_capacity(old.len() + patch.len());
        for item in old.into_iter().chain(patch) {
            if !merged.contains(&item) {
                merged.push(item);
            }
        }
        return ordered(merged, &order, &server_order, None);
    }
    let Some(key) = hints.merge_key else {
        return refuse(format!("cannot merge lists without merge key for {field}"));
    };
    merge_items(hints.inner, key, old, patch)
}

fn merge_items(
    node: Option<Node<'_>>,
    key: &str,
    mut old: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, PatchError> {
    let mut wanted: Vec<Map<String, Value>> = Vec::new();
    let mut replace = false;
    for item in patch {
        let Value::Object(item) = item else { return bad_type("map[string]interface {}", &item) };
        match item.get(DIRECTIVE) {
            None => wanted.push(item),
            Some(Value::String(directive)) if directive == "delete" => {
                let Some(value) = item.get(key) else { return no_merge_key(&item, key) };
                old.retain(|found| found.get(key) != Some(value));
            }
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => {
                return refuse("merging lists cannot yet be specified in the patch");
            }
            Some(directive) => return bad_directive(directive, &item),
        }
    }
    if replace {
        return Ok(wanted.into_iter().map(Value::Object).collect());
    }
    let server_order = old.clone();
    let mut order = Vec::with_capacity(wanted.len());
    for item in wanted {
        let Some(value) = item.get(key) else { return no_merge_key(&item, key) };
        order.push(Value::Object(Map::from_iter([(key.to_string(), value.clone())])));
        match old.iter_mut().find(|found| found.get(key) == Some(value)) {
            Some(found) => {
                let Value::Object(fields) = std::mem::take(found) else { continue };
                *found = Value::Object(merge_map(node, fields, item)?);
            }
            None => old.push(Value::Object(item)),
        }
    }
    ordered(old, &order, &server_order, Some(key))
}

/// Items that `order` names in its order, the rest in the server's order, woven so that both orders hold where they can.
fn ordered(
    items: Vec<Value>,
    order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    let mut ranked: Vec<(Option<usize>, Option<usize>, Value)> = Vec::with_capacity(items.len());
    let places = |list: &[Value]| list.iter().map(|item| identity(item, key).cloned()).collect::<Result<Vec<_>, _>>();
    let (order, server_order) = (places(order)?, places(server_order)?);
    for item in items {
        let id = identity(&item, key)?;
        let place = |list: &[Value]| list.iter().position(|listed| listed == id);
        ranked.push((place(&order), place(&server_order), item));
    }
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = ranked.into_iter().partition(|(place, ..)| place.is_some());
    ours.sort_by_key(|(place, ..)| *place);
    theirs.sort_by(|(_, left, _), (_, right, _)| match (left, right) {
        (Some(left), Some(right)) => left.cmp(right),
        _ => Ordering::Equal,
    });
    let mut woven = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    loop {
        let server_first = match (theirs.peek(), ours.peek()) {
            (None, None) => return Ok(woven),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((_, Some(left), _)), Some((_, Some(right), _))) => left < right,
            _ => false,
        };
        let next = if server_first { theirs.next() } else { ours.next() };
        woven.extend(next.map(|(.., item)| item));
    }
}

/// A value that a patch adds: directives and nulls have nothing to act on. `None` when the value was a directive itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(DIRECTIVE) {
                return None;
            }
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Some(Value::Object(kept.filter_map(|(key, value)| Some((key, without_directives(value)?))).collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}
