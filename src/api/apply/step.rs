//! The steps from an object down to its fields and items, as `FieldsV1` and messages write them.

use serde_json::{Map, Value};

use crate::{
    field::quote,
    schema::{ListType, Node},
};

/// How the items of a list are told apart.
#[derive(Clone, Copy)]
pub(super) enum Items<'a> {
    /// Not at all: the list is one value.
    Atomic,
    /// By their values.
    Set,
    /// By some of their fields.
    Keyed(Node<'a>),
}

/// What the schema says of a list; what it says of patches counts where it says nothing of lists.
pub(super) fn items(node: Node<'_>) -> Items<'_> {
    match node.list_type() {
        ListType::Atomic => Items::Atomic,
        ListType::Set => Items::Set,
        ListType::Map => Items::Keyed(node),
        ListType::Unsaid if !node.merges() => Items::Atomic,
        ListType::Unsaid if node.merge_key().is_some() => Items::Keyed(node),
        ListType::Unsaid => Items::Set,
    }
}

impl<'a> Items<'a> {
    /// The type of an item; `None` where anything may stand.
    pub(super) fn of(self, node: Option<Node<'a>>) -> Option<Node<'a>> {
        node.and_then(Node::items)
    }

    /// The step to an item, or what is wrong with it.
    pub(super) fn step(self, item: &Value) -> Result<String, &'static str> {
        match self {
            Items::Atomic => Err("invalid indexing of non-associative list"),
            Items::Set => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type"),
                Value::Array(_) => Err("not supported: associative list with lists as elements"),
                Value::Null => Err("associative list without keys has an element that's an explicit null"),
                plain => Ok(format!("v:{plain}")),
            },
            Items::Keyed(node) => keyed(node, item),
        }
    }
}

fn keyed(node: Node<'_>, item: &Value) -> Result<String, &'static str> {
    let fields = match item {
        Value::Object(fields) => fields,
        Value::Null => return Err("associative list with keys may not have a null element"),
        _ => return Err("associative list with keys may not have non-map elements"),
    };
    let item_type = node.items();
    let mut pairs: Vec<(&str, String)> = Vec::new();
    let names = node.list_map_keys().chain(node.merge_key().filter(|_| node.list_type() != ListType::Map));
    for name in names {
        let text = match fields.get(name) {
            Some(value) => Some(value.to_string()),
            None => item_type.and_then(|item| item.key_default(name)).map(|value| value.to_string()),
        };
        pairs.extend(text.map(|text| (name, text)));
    }
    if pairs.is_empty() {
        return Err("associative list with keys has an element that omits all key fields");
    }
    pairs.sort_unstable_by_key(|(name, _)| *name);
    let mut step = String::with_capacity(32);
    step.push_str("k:{");
    for (at, (name, text)) in pairs.iter().enumerate() {
        if at > 0 {
            step.push(',');
        }
        step.push('"');
        step.push_str(name);
        step.push_str("\":");
        step.push_str(text);
    }
    step.push('}');
    Ok(step)
}

/// The step to a field.
pub(super) fn field(name: &str) -> String {
    let mut step = String::with_capacity(name.len() + 2);
    step.push_str("f:");
    step.push_str(name);
    step
}

/// The name of the field that a step leads to.
pub(super) fn name(step: &str) -> Option<&str> {
    step.strip_prefix("f:")
}

/// A path in the words of messages: `.spec.containers[name="a"].image`.
pub(super) fn show<'a>(steps: impl IntoIterator<Item = &'a str>) -> String {
    steps.into_iter().map(show_one).collect()
}

pub(super) fn show_one(step: &str) -> String {
    match step.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={}", show_value(value))).collect();
            format!("[{}]", pairs.join(","))
        }
        Some(("v:", text)) => match serde_json::from_str(text) {
            Ok(value) => format!("[={}]", show_value(&value)),
            Err(_) => format!("[={text}]"),
        },
        Some(("i:", index)) => format!("[{index}]"),
        _ => step.to_owned(),
    }
}

fn show_value(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => other.to_string(),
    }
}
