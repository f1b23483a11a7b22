//! Sets of fields, as `managedFields` writes them (`FieldsV1`), and what of an object they are.
//!
//! ```text
//! {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}, "f:finalizers": {"v:\"x\"": {}}}}
//! ```

use std::collections::BTreeMap;

use mk8s_api::schema::{ListType, Node};
use serde_json::{Map, Value, json};

use super::merge;

/// One step down from an object to a field or an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    Field(String),
    /// The item of a list whose keys are these, as sorted JSON.
    Key(String),
    /// The item of a set, as JSON.
    Item(String),
}

/// A set of fields: a tree whose leaves are the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// This place itself is a member, beside what is below it.
    pub(super) here: bool,
    pub(super) below: BTreeMap<Element, Fields>,
}

impl Element {
    fn to_text(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(keys) => format!("k:{keys}"),
            Element::Item(value) => format!("v:{value}"),
        }
    }

    fn from_text(text: &str) -> Option<Element> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Element::Field(rest.to_string())),
            "k" => Some(Element::Key(normal(rest)?)),
            "v" => Some(Element::Item(normal(rest)?)),
            _ => None,
        }
    }
}

/// JSON with its keys sorted and no spaces, so that equal values have equal texts.
fn normal(json: &str) -> Option<String> {
    serde_json::from_str::<Value>(json).ok().map(|value| value.to_string())
}

/// A path in the words of messages: `.spec.containers[name="a"].image`.
pub(super) fn show(path: &[Element]) -> String {
    let mut text = String::new();
    for element in path {
        match element {
            Element::Field(name) => text.push_str(&format!(".{name}")),
            Element::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                text.push_str(&format!("[{}]", pairs.join(",")));
            }
            Element::Item(value) => text.push_str(&format!("[={value}]")),
        }
    }
    text
}

/// How the items of a list are told apart.
pub(super) enum Items<'a> {
    /// Not at all: the list is one value.
    Atomic,
    /// By their values.
    Set,
    /// By these fields.
    Keyed(Vec<&'a str>),
}

/// What the schema says of a list; what it says of patches counts where it says nothing of lists.
pub(super) fn items(node: Node<'_>) -> Items<'_> {
    match node.list_type() {
        ListType::Atomic => Items::Atomic,
        ListType::Set => Items::Set,
        ListType::Map => Items::Keyed(node.list_map_keys().collect()),
        ListType::Unsaid if !node.merges() => Items::Atomic,
        ListType::Unsaid => node.merge_key().map_or(Items::Set, |key| Items::Keyed(vec![key])),
    }
}

/// The element of a list's item; `None` when it lacks its keys.
pub(super) fn element(items: &Items<'_>, item: &Value) -> Option<Element> {
    match items {
        Items::Atomic => None,
        Items::Set => Some(Element::Item(item.to_string())),
        Items::Keyed(names) => {
            let key = |name: &&str| match item.get(*name) {
                Some(value) => Some(((*name).to_string(), value.clone())),
                // The one key that has a default.
                None if *name == "protocol" => Some(("protocol".to_string(), json!("TCP"))),
                None => None,
            };
            let keys: Map<String, Value> = names.iter().filter_map(key).collect();
            (!keys.is_empty()).then(|| Element::Key(Value::Object(keys).to_string()))
        }
    }
}

/// Whether a value is taken as a whole.
pub(super) fn is_atomic(node: Node<'_>, value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty() || node.is_atomic_map() || !(node.is_struct() || node.is_map()),
        Value::Array(list) => list.is_empty() || !node.is_list() || matches!(items(node), Items::Atomic),
        _ => true,
    }
}

impl Fields {
    fn leaf() -> Fields {
        Fields { here: true, below: BTreeMap::new() }
    }

    /// The fields that a value has.
    pub(super) fn of(node: Node<'_>, value: &Value) -> Fields {
        if is_atomic(node, value) {
            return Fields::leaf();
        }
        let mut fields = Fields::default();
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let below = node.child(name).map_or_else(Fields::leaf, |child| Fields::of(child, value));
                    fields.below.insert(Element::Field(name.clone()), below);
                }
            }
            Value::Array(list) => {
                let kind = items(node);
                for item in list {
                    let Some(element) = element(&kind, item) else { continue };
                    let mut below = match (&kind, node.items()) {
                        (Items::Keyed(_), Some(child)) => Fields::of(child, item),
                        _ => Fields::default(),
                    };
                    below.here = true;
                    fields.below.insert(element, below);
                }
            }
            _ => {}
        }
        fields
    }

    /// Takes out what names the object and what only the server writes: nobody owns that.
    pub(super) fn forget_address(&mut self) {
        let field = |name: &str| Element::Field(name.to_string());
        self.below.remove(&field("apiVersion"));
        self.below.remove(&field("kind"));
        let Some(metadata) = self.below.get_mut(&field("metadata")) else { return };
        for name in [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
        ] {
            metadata.below.remove(&field(name));
        }
        if metadata.below.is_empty() {
            self.below.remove(&field("metadata"));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    /// All members of both.
    pub(super) fn add(&mut self, other: Fields) {
        self.here |= other.here;
        for (element, below) in other.below {
            self.below.entry(element).or_default().add(below);
        }
    }

    /// Takes all members of the other out.
    pub(super) fn subtract(&mut self, other: &Fields) {
        if other.here {
            self.here = false;
        }
        for (element, theirs) in &other.below {
            if let Some(below) = self.below.get_mut(element) {
                below.subtract(theirs);
                if below.is_empty() {
                    self.below.remove(element);
                }
            }
        }
    }

    /// The members that the other has not.
    pub(super) fn without(&self, other: &Fields) -> Fields {
        let mut left = self.clone();
        left.subtract(other);
        left
    }

    /// The members whose value differs, or which the other has not. Both are the fields of their values.
    pub(super) fn changed(
        &self,
        node: Node<'_>,
        value: Option<&Value>,
        other: &Fields,
        theirs: Option<&Value>,
    ) -> Fields {
        if self.below.is_empty() || other.below.is_empty() {
            return if value == theirs { Fields::default() } else { self.clone() };
        }
        let mut changed = Fields { here: self.here && !other.here, below: BTreeMap::new() };
        for (element, mine) in &self.below {
            let value = value.and_then(|value| merge::at(node, value, element));
            let theirs = theirs.and_then(|value| merge::at(node, value, element));
            let below = match (other.below.get(element), merge::child(node, element)) {
                (Some(known), Some(child)) => mine.changed(child, value, known, theirs),
                (Some(_), None) if value == theirs => Fields::default(),
                _ => mine.clone(),
            };
            if !below.is_empty() {
                changed.below.insert(element.clone(), below);
            }
        }
        changed
    }

    /// Takes one member out, and places that hold nothing any more.
    pub(super) fn remove(&mut self, path: &[Element]) {
        match path {
            [] => self.here = false,
            [first, rest @ ..] => {
                if let Some(below) = self.below.get_mut(first) {
                    below.remove(rest);
                    if below.is_empty() {
                        self.below.remove(first);
                    }
                }
            }
        }
    }

    /// `FieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (element, below) in &self.below {
            let mut json = below.to_json();
            if below.here && !below.below.is_empty() {
                json["."] = json!({});
            }
            map.insert(element.to_text(), json);
        }
        Value::Object(map)
    }

    pub(super) fn from_json(json: &Value) -> Fields {
        let map = json.as_object();
        let below: BTreeMap<Element, Fields> = map
            .into_iter()
            .flatten()
            .filter_map(|(text, json)| Some((Element::from_text(text)?, Fields::from_json(json))))
            .collect();
        let here = below.is_empty() || json.get(".").is_some();
        Fields { here, below }
    }
}
