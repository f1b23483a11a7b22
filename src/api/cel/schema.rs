//! Schemas as expressions see them: which fields there are and of what types, how large values can get, and how JSON becomes values.
//!
//! Made from the JSON of a structural schema (`openAPIV3Schema` of a custom resource). What has no known type is not seen at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::escape::escape;
use super::types::Type;
use crate::at;

/// The largest request a server takes: the size nothing exceeds.
pub(crate) const MAX_REQUEST: i64 = 3 * 1024 * 1024;

/// The type of values at one place in a schema.
#[derive(Debug)]
pub struct DeclType {
    pub(crate) kind: Kind,
    /// Characters, bytes, items or entries at most.
    pub(crate) max_elements: u64,
    /// The least bytes a value takes in JSON.
    pub(crate) min_size: i64,
    pub(crate) nullable: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    IntOrString,
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Duration,
    Date,
    DateTime,
    List {
        items: Arc<DeclType>,
        order: ListOrder,
    },
    Map {
        /// Characters of a key at most, as far as they are counted.
        keys: u64,
        values: Arc<DeclType>,
    },
    /// Fields by their escaped names.
    Object {
        name: Arc<str>,
        fields: BTreeMap<Arc<str>, Arc<DeclType>>,
    },
    /// A device's attribute: of one of several types.
    Attribute,
    Quantity,
}

/// How lists are compared and joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListOrder {
    Atomic,
    Set,
    Map(Arc<[String]>),
}

impl DeclType {
    /// The type of a schema's values, or nothing when expressions cannot see them. `name` is what its object types are named after;
    /// `root` tells that the object has `apiVersion`, `kind` and `metadata` whatever its schema says.
    pub fn from_schema(schema: &Json, name: &str, root: bool) -> Option<DeclType> {
        let nullable = at::flag(schema, "nullable").unwrap_or(false);
        let make = |kind, max_elements: i64, min_size| {
            let max_elements = u64::try_from(max_elements).unwrap_or(0);
            Some(DeclType { kind, max_elements, min_size, nullable })
        };
        if at::flag(schema, "x-kubernetes-int-or-string") == Some(true) {
            return make(Kind::IntOrString, length(schema, MAX_REQUEST - 2), 1);
        }
        match at::text(schema, "type") {
            "array" => {
                let items = at::get(schema, "items").filter(|items| items.is_object())?;
                let items = DeclType::from_schema(items, &format!("{name}.@idx"), embedded(items))?;
                let max = at::int(schema, "maxItems").unwrap_or((MAX_REQUEST - 2) / (items.min_size + 1));
                make(Kind::List { items: Arc::new(items), order: order(schema) }, max, 2)
            }
            "object" => {
                if let Some(values) = at::get(schema, "additionalProperties").filter(|values| values.is_object()) {
                    let values = DeclType::from_schema(values, &format!("{name}.@elem"), embedded(values))?;
                    let max = at::int(schema, "maxProperties").unwrap_or((MAX_REQUEST - 2) / (values.min_size + 6));
                    return make(Kind::Map { keys: 0, values: Arc::new(values) }, max, 2);
                }
                let (fields, min_size) = object_fields(schema, name, root);
                make(Kind::Object { name: name.into(), fields }, 0, min_size)
            }
            "string" => match at::text(schema, "format") {
                "byte" => make(Kind::Bytes, at::int(schema, "maxLength").unwrap_or(MAX_REQUEST - 2), 2),
                "duration" => make(Kind::Duration, 32, 3),
                "date" => make(Kind::Date, 12, 12),
                "date-time" => make(Kind::DateTime, 32, 21),
                _ => make(Kind::String, length(schema, longest_of(schema).unwrap_or(MAX_REQUEST - 2)), 2),
            },
            "boolean" => make(Kind::Bool, 0, 4),
            "number" => make(Kind::Double, 0, 1),
            "integer" => make(Kind::Int, 0, 1),
            _ => None,
        }
    }

    /// A type whose sizes do not matter.
    pub(crate) fn new(kind: Kind) -> DeclType {
        DeclType::of_size(kind, 0)
    }

    pub(crate) fn of_size(kind: Kind, max_elements: u64) -> DeclType {
        DeclType { kind, max_elements, min_size: 0, nullable: false }
    }

    pub(crate) fn cel_type(&self) -> Type {
        match &self.kind {
            Kind::IntOrString | Kind::Attribute => Type::Dyn,
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Double => Type::Double,
            Kind::String => Type::String,
            Kind::Bytes => Type::Bytes,
            Kind::Duration => Type::Duration,
            Kind::Date | Kind::DateTime => Type::Timestamp,
            Kind::List { items, .. } => Type::list(items.cel_type()),
            Kind::Map { values, .. } => Type::map(Type::String, values.cel_type()),
            Kind::Object { name, .. } => Type::Struct(name.clone()),
            Kind::Quantity => Type::Struct("kubernetes.Quantity".into()),
        }
    }

    /// The type of a property, by the name it has in JSON.
    pub(crate) fn property(&self, name: &str) -> Option<&Arc<DeclType>> {
        match &self.kind {
            Kind::Object { fields, .. } => fields.get(escape(name)?.as_ref()),
            _ => None,
        }
    }

    /// The type of the elements of a list or the values of a map.
    pub(crate) fn element(&self) -> Option<&Arc<DeclType>> {
        match &self.kind {
            Kind::List { items, .. } => Some(items),
            Kind::Map { values, .. } => Some(values),
            _ => None,
        }
    }
}

fn embedded(schema: &Json) -> bool {
    at::flag(schema, "x-kubernetes-embedded-resource") == Some(true)
}

fn order(schema: &Json) -> ListOrder {
    match at::text(schema, "x-kubernetes-list-type") {
        "set" => ListOrder::Set,
        "map" => ListOrder::Map(at::texts(schema, "x-kubernetes-list-map-keys").map(str::to_string).collect()),
        _ => ListOrder::Atomic,
    }
}

/// `maxLength` counts characters, which take up to four bytes.
fn length(schema: &Json, otherwise: i64) -> i64 {
    at::int(schema, "maxLength").map_or(otherwise, |max| max.max(0).saturating_mul(4))
}

fn longest_of(schema: &Json) -> Option<i64> {
    let values = at::list(schema, "enum");
    let longest = values.iter().filter_map(Json::as_str).map(str::len).max().unwrap_or(0);
    (!values.is_empty()).then_some(longest as i64)
}

fn object_fields(schema: &Json, name: &str, root: bool) -> (BTreeMap<Arc<str>, Arc<DeclType>>, i64) {
    let mut fields = BTreeMap::new();
    // The two braces.
    let mut min_size: i64 = 2;
    let mut add = |property: &str, schema: &Json, required: bool| {
        let type_name = format!("{name}.{}", escape(property).unwrap_or_default());
        let Some(field) = DeclType::from_schema(schema, &type_name, embedded(schema)) else { return };
        if required && at::get(schema, "default").is_none() {
            min_size += property.len() as i64 + field.min_size + 4;
        }
        if let Some(escaped) = escape(property) {
            fields.insert(Arc::from(escaped.as_ref()), Arc::new(field));
        }
    };
    let required: Vec<&str> = at::texts(schema, "required").collect();
    let given = !root || has_type_and_meta(schema);
    for (property, inner) in at::map(schema, "properties") {
        if given || !matches!(property.as_str(), "kind" | "apiVersion" | "metadata") {
            add(property, inner, required.contains(&property.as_str()));
        }
    }
    if !given {
        let text = serde_json::json!({"type": "string"});
        let meta = serde_json::json!({"type": "object", "properties": {"name": text, "generateName": text}});
        for (property, schema) in [("kind", &text), ("apiVersion", &text), ("metadata", &meta)] {
            add(property, schema, required.contains(&property));
        }
    }
    (fields, min_size)
}

fn has_type_and_meta(schema: &Json) -> bool {
    let properties = at::sub(schema, "properties");
    let is = |of: &Json, name: &str, t: &str| at::text(at::sub(of, name), "type") == t;
    let meta = at::sub(at::sub(properties, "metadata"), "properties");
    is(properties, "kind", "string")
        && is(properties, "apiVersion", "string")
        && is(properties, "metadata", "object")
        && is(meta, "name", "string")
        && is(meta, "generateName", "string")
}
