//! The graph of types. Every named type stands in it once; types refer to each other by index, so that recursion
//! (JSON schemas contain JSON schemas) needs nothing special and all built-in kinds together stay below half a megabyte.

use serde_json::Value;

/// An index into [`Graph::shapes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShapeId(pub(super) u32);

#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) shapes: Vec<Shape>,
}

/// What a value may look like.
#[derive(Debug)]
pub(super) enum Shape {
    /// Anything; kept as it is.
    Any,
    /// Anything, of which objects, and those in a list, are of this type: `items` of a CRD's schema.
    Objects(ShapeId),
    String,
    /// Base64 text.
    Bytes,
    Integer {
        bits: u8,
    },
    Number,
    Boolean,
    IntOrString,
    Quantity,
    /// RFC 3339; seconds or microseconds.
    Time {
        micro: bool,
    },
    Object(Struct),
    /// Its values.
    Map(Element),
    /// Its items.
    List(Element),
}

/// The type of a map's values or of a list's items.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) shape: ShapeId,
    /// Lists in lists and in maps say here how their items are told apart.
    pub(super) extra: Option<Box<Extra>>,
}

/// A type with named fields.
#[derive(Debug)]
pub(super) struct Struct {
    /// As errors name it: `v1.PodSpec` is its Go type.
    pub(super) go: Box<str>,
    /// Sorted by name.
    pub(super) fields: Box<[Field]>,
    /// Unknown fields are kept.
    pub(super) open: bool,
    /// Owned as a whole: `x-kubernetes-map-type: atomic`.
    pub(super) atomic: bool,
    /// Something below has a default, an enum or a required field: others need no walk.
    pub(super) has_defaults: bool,
    pub(super) has_rules: bool,
}

impl Struct {
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok().map(|at| &self.fields[at])
    }
}

/// A field of a [`Struct`].
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) shape: ShapeId,
    pub(super) presence: Presence,
    pub(super) required: bool,
    /// OpenAPI shows the zero value as its default.
    pub(super) zero_default: bool,
    /// The Go type, where it does not follow from the shape.
    pub(super) go: Option<Box<str>>,
    pub(super) extra: Option<Box<Extra>>,
}

/// When a field is written, in Go's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// `T` with `omitempty`: not when zero.
    NonZero,
    /// `*T` with `omitempty`: when given.
    Given,
    /// `T` without `omitempty`, or a struct value: always.
    Always,
    /// `*T` without `omitempty`: always, `null` when absent.
    AlwaysOrNull,
}

/// What few fields have.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) default: Option<Value>,
    pub(super) values: Box<[Box<str>]>,
    pub(super) list: ListType,
    pub(super) map_keys: Box<[Box<str>]>,
    pub(super) atomic_map: bool,
    pub(super) merge_key: Option<Box<str>>,
    pub(super) merge: bool,
    pub(super) retain_keys: bool,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Unsaid,
    Atomic,
    Set,
    Map,
}

/// The form of a plain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Text,
    Number,
    Flag,
    /// Any of these.
    Any,
}

impl Graph {
    pub(super) fn shape(&self, id: ShapeId) -> &Shape {
        &self.shapes[id.0 as usize]
    }
}

/// A place in a schema: a type, and what is said of it where it is used: patch strategies, the types of lists.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    pub(super) graph: &'a Graph,
    pub(super) id: ShapeId,
    extra: Option<&'a Extra>,
}

impl<'a> Node<'a> {
    pub(super) fn new(graph: &'a Graph, id: ShapeId) -> Node<'a> {
        Node { graph, id, extra: None }
    }

    pub(super) fn shape(self) -> &'a Shape {
        self.graph.shape(self.id)
    }

    fn at(self, id: ShapeId, extra: Option<&'a Extra>) -> Node<'a> {
        Node { graph: self.graph, id, extra }
    }

    /// The type of a struct's field, or of a map's values.
    pub fn child(self, name: &str) -> Option<Node<'a>> {
        match self.shape() {
            Shape::Object(object) => object.field(name).map(|field| self.at(field.shape, field.extra.as_deref())),
            Shape::Map(values) => Some(self.at(values.shape, values.extra.as_deref())),
            _ => None,
        }
    }

    /// The type of a list's items.
    pub fn items(self) -> Option<Node<'a>> {
        match self.shape() {
            Shape::List(items) => Some(self.at(items.shape, items.extra.as_deref())),
            _ => None,
        }
    }

    pub fn is_list(self) -> bool {
        matches!(self.shape(), Shape::List(_))
    }

    /// A type with named fields.
    pub fn is_struct(self) -> bool {
        matches!(self.shape(), Shape::Object(_))
    }

    /// A type of arbitrary keys, all of one type.
    pub fn is_map(self) -> bool {
        matches!(self.shape(), Shape::Map(_))
    }

    /// Anything goes: raw extensions.
    pub fn is_any(self) -> bool {
        matches!(self.shape(), Shape::Any | Shape::Objects(_))
    }

    /// The names of a struct's fields.
    pub fn field_names(self) -> impl Iterator<Item = &'a str> {
        let fields: &[Field] = match self.shape() {
            Shape::Object(object) => &object.fields,
            _ => &[],
        };
        fields.iter().map(|field| &*field.name)
    }

    /// `x-kubernetes-list-type` of the place.
    pub fn list_type(self) -> ListType {
        self.extra.map_or(ListType::Unsaid, |extra| extra.list)
    }

    /// `x-kubernetes-list-map-keys` of the place.
    pub fn list_map_keys(self) -> impl Iterator<Item = &'a str> {
        self.extra.into_iter().flat_map(|extra| extra.map_keys.iter()).map(|key| &**key)
    }

    /// `x-kubernetes-map-type: atomic`, of the place or of its type.
    pub fn is_atomic_map(self) -> bool {
        matches!(self.shape(), Shape::Object(object) if object.atomic)
            || self.extra.is_some_and(|extra| extra.atomic_map)
    }

    /// What a plain value must be; `None` for lists, maps, structs and what may be anything.
    pub fn plain(self) -> Option<Plain> {
        match self.shape() {
            Shape::String | Shape::Bytes => Some(Plain::Text),
            Shape::Integer { .. } | Shape::Number => Some(Plain::Number),
            Shape::Boolean => Some(Plain::Flag),
            Shape::IntOrString | Shape::Quantity | Shape::Time { .. } => Some(Plain::Any),
            Shape::Any | Shape::Objects(_) | Shape::Object(_) | Shape::Map(_) | Shape::List(_) => None,
        }
    }

    /// A struct that keeps fields which it does not know.
    pub fn is_open(self) -> bool {
        matches!(self.shape(), Shape::Object(object) if object.open)
    }

    /// What the field counts as that tells items of a list apart, in an item that lacks it.
    pub fn key_default(self, name: &str) -> Option<Value> {
        let Shape::Object(object) = self.shape() else { return None };
        let field = object.field(name)?;
        let told = field.extra.as_ref().and_then(|extra| extra.default.clone());
        if told.is_some() || !field.zero_default {
            return told;
        }
        Some(match self.graph.shape(field.shape) {
            Shape::Integer { .. } | Shape::Number | Shape::IntOrString => Value::from(0),
            Shape::Boolean => Value::Bool(false),
            _ => Value::from(""),
        })
    }

    /// Patch strategy `merge`: a list is merged item by item, not replaced.
    pub fn merges(self) -> bool {
        self.extra.is_some_and(|extra| extra.merge)
    }

    /// Patch strategy `retainKeys`: keys a patch does not list are cleared.
    pub fn retains_keys(self) -> bool {
        self.extra.is_some_and(|extra| extra.retain_keys)
    }

    /// The field that tells items of a merged list apart; `None` for lists of plain values.
    pub fn merge_key(self) -> Option<&'a str> {
        self.extra?.merge_key.as_deref()
    }
}
