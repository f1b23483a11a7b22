//! Whether a configuration fits its type: an apply does not go through the decoder before it is merged, and the merge needs
//! lists whose items can be told apart.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    atom::child,
    step::{Items, items, show_one},
};
use crate::{
    patch::strategic::go_text,
    schema::{Node, Plain},
};

/// Where the object does not fit, in Kubernetes' words; empty when it does.
pub(super) fn check(node: Node<'_>, object: &Value) -> Vec<String> {
    let mut walk = Walk { errors: Vec::new() };
    walk.value(Some(node), object, &At::Root);
    walk.errors
}

/// Where a configuration does not fit its type, as one text; `None` when it does.
pub fn misfit(node: Node<'_>, configuration: &Value) -> Option<String> {
    let errors = check(node, configuration);
    (!errors.is_empty()).then(|| told(&errors))
}

/// One error, or all of them below a heading.
pub(super) fn told(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => many.iter().fold("errors:".to_owned(), |text, error| format!("{text}\n  {error}")),
    }
}

enum At<'a> {
    Root,
    Below(&'a At<'a>, &'a str),
}

impl At<'_> {
    fn show(&self) -> String {
        match self {
            At::Root => String::new(),
            At::Below(parent, step) => parent.show() + &show_one(step),
        }
    }
}

struct Walk {
    errors: Vec<String>,
}

impl Walk {
    fn say(&mut self, at: &At<'_>, what: &str) {
        let path = at.show();
        self.errors.push(if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") });
    }

    fn value(&mut self, node: Option<Node<'_>>, value: &Value, at: &At<'_>) {
        let Some(node) = node.filter(|node| !node.is_any()) else { return };
        if value.is_null() {
            return;
        }
        if node.is_struct() || node.is_map() {
            match value {
                Value::Object(fields) => self.map(node, fields, at),
                other => self.say(at, &format!("expected map, got {}", shown(other))),
            }
        } else if node.is_list() {
            match value {
                Value::Array(list) => self.list(node, list, at),
                other => self.say(at, &format!("expected list, got {}", shown(other))),
            }
        } else if let Some(plain) = node.plain() {
            self.plain(plain, value, at);
        }
    }

    fn map(&mut self, node: Node<'_>, fields: &Map<String, Value>, at: &At<'_>) {
        for (name, value) in fields {
            let step = format!("f:{name}");
            let here = At::Below(at, &step);
            match child(Some(node), name) {
                Some(child) => self.value(Some(child), value, &here),
                None if node.is_open() => {}
                None => {
                    self.say(&here, "field not declared in schema");
                    return;
                }
            }
        }
    }

    fn list(&mut self, node: Node<'_>, list: &[Value], at: &At<'_>) {
        let kind = items(node);
        let mut known = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            let step = match kind {
                Items::Atomic => format!("i:{index}"),
                _ => match kind.step(item) {
                    Ok(step) => step,
                    Err(why) => {
                        self.say(at, &format!("element {index}: {why}{}", missing(kind, why)));
                        return;
                    }
                },
            };
            if !known.insert(step.clone()) {
                self.say(at, &format!("duplicate entries for key {}", show_one(&step)));
            }
            self.value(node.items(), item, &At::Below(at, &step));
        }
    }

    fn plain(&mut self, plain: Plain, value: &Value, at: &At<'_>) {
        let fits = match plain {
            Plain::Text => value.is_string(),
            Plain::Number => value.is_number(),
            Plain::Flag => value.is_boolean(),
            Plain::Any => !value.is_object() && !value.is_array(),
        };
        if fits {
            return;
        }
        let what = match plain {
            Plain::Text => format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value)),
            Plain::Number => format!("expected numeric (int or float), got {}", go_type(value)),
            Plain::Flag => format!("expected boolean, got {}", shown(value)),
            Plain::Any => format!("expected any scalar, got {}", shown(value)),
        };
        self.say(at, &what);
    }
}

/// The keys that an item lacks, for the one message that names them.
fn missing(items: Items<'_>, why: &str) -> String {
    let Items::Keyed(node) = items else { return String::new() };
    if !why.ends_with("omits all key fields") {
        return String::new();
    }
    let keys: Vec<String> = node.list_map_keys().chain(node.merge_key()).map(crate::field::quote).collect();
    let mut once = keys.clone();
    once.dedup();
    format!(" [{}] (and doesn't have default values for any key fields)", once.join(" "))
}

fn shown(value: &Value) -> String {
    format!("&{{{}}}", go_text(value))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%#v` prints it.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", crate::field::quote(key), go_syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        Value::String(text) => crate::field::quote(text),
        other => other.to_string(),
    }
}
