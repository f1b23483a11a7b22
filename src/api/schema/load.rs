//! From JSON schemas to the graph.

use std::collections::HashMap;

use serde_json::Value;

use super::graph::{Element, Extra, Field, Graph, ListType, Presence, Shape, ShapeId, Struct};

/// A JSON schema that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("schema {0} refers to {1}, which does not exist")]
    Dangling(String, String),
}

/// Builds the graph of all definitions, which come in the order of their names, and tells where each of them is.
pub(super) fn load(
    names: &[&str],
    definitions: impl Iterator<Item = Value>,
) -> Result<(Graph, Vec<ShapeId>), LoadError> {
    let mut loader =
        Loader { graph: Graph::default(), names: HashMap::new(), derived: HashMap::new(), at: "", open: false };
    let roots: Vec<ShapeId> = names.iter().map(|_| loader.push(Shape::Any)).collect();
    loader.names = names.iter().copied().zip(roots.iter().copied()).collect();
    for ((name, root), definition) in names.iter().zip(&roots).zip(definitions) {
        loader.at = name;
        loader.open = preserves(&definition);
        let shape = loader.named(name, &definition)?;
        loader.graph.shapes[root.0 as usize] = shape;
    }
    let mut graph = loader.graph;
    let defaults = reaching(&graph, |field| field.extra.as_ref().is_some_and(|extra| extra.default.is_some()));
    let rules =
        reaching(&graph, |field| field.required || field.extra.as_ref().is_some_and(|extra| !extra.values.is_empty()));
    for (at, shape) in graph.shapes.iter_mut().enumerate() {
        if let Shape::Object(object) = shape {
            (object.has_defaults, object.has_rules) = (defaults[at], rules[at]);
        }
    }
    Ok((graph, roots))
}

struct Loader<'a> {
    graph: Graph,
    names: HashMap<&'a str, ShapeId>,
    /// Unnamed types by what they are: `list 7`.
    derived: HashMap<String, ShapeId>,
    at: &'a str,
    /// Unknown fields are kept here: what a schema says of itself holds for all schemas inside it.
    open: bool,
}

impl Loader<'_> {
    fn push(&mut self, shape: Shape) -> ShapeId {
        let id = ShapeId(u32::try_from(self.graph.shapes.len()).expect("fewer types than 2^32"));
        self.graph.shapes.push(shape);
        id
    }

    fn shared(&mut self, key: String, shape: impl FnOnce() -> Shape) -> ShapeId {
        if let Some(id) = self.derived.get(&key) {
            return *id;
        }
        let id = self.push(shape());
        self.derived.insert(key, id);
        id
    }

    fn named(&mut self, name: &str, schema: &Value) -> Result<Shape, LoadError> {
        Ok(match name {
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Shape::Time { micro: false },
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Shape::Time { micro: true },
            "io.k8s.apimachinery.pkg.api.resource.Quantity" => Shape::Quantity,
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Shape::IntOrString,
            _ if name.contains(".JSONSchemaPropsOr") => {
                let one = name.split_once("Or").and_then(|(one, _)| self.names.get(one).copied());
                one.map_or(Shape::Any, Shape::Objects)
            }
            _ if schema.get("properties").is_some() => Shape::Object(self.object(name, schema)?),
            _ if schema["type"] == "object" && schema.get("x-kubernetes-group-version-kind").is_none() => {
                // Structs without fields (emptyDir-like markers) are closed; raw extensions are not.
                if ["RawExtension", "FieldsV1", "Patch"].iter().any(|raw| name.ends_with(raw)) {
                    Shape::Any
                } else {
                    Shape::Object(self.object(name, schema)?)
                }
            }
            _ => Shape::Any,
        })
    }

    fn object(&mut self, name: &str, schema: &Value) -> Result<Struct, LoadError> {
        let mut parts = name.rsplit('.');
        let (kind, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let required =
            |field: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|name| name == field));
        let mut fields = Vec::new();
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            fields.push(self.field(field, property, required(field))?);
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Struct {
            go: format!("{package}.{kind}").into(),
            fields: fields.into(),
            open: self.open,
            atomic: schema["x-kubernetes-map-type"] == "atomic",
            has_defaults: false,
            has_rules: false,
        })
    }

    fn field(&mut self, name: &str, schema: &Value, required: bool) -> Result<Field, LoadError> {
        let shape = self.any(schema)?;
        let (marks, go) = match schema["x-go"].as_str() {
            Some(go) => go.split_once(':').unwrap_or((go, "")),
            None => ("*", ""),
        };
        let is_struct = schema.get("allOf").is_some();
        let presence = match (marks.contains('*'), marks.contains('!')) {
            (true, true) => Presence::AlwaysOrNull,
            (true, false) => Presence::Given,
            (false, true) => Presence::Always,
            (false, false) if is_struct && !marks.contains('~') => Presence::Always,
            (false, false) if is_struct => Presence::Given,
            (false, false) => Presence::NonZero,
        };
        Ok(Field {
            name: name.into(),
            shape,
            presence,
            required,
            zero_default: schema.get("default").is_some_and(|default| !default.is_null() && is_zero(default)),
            go: (!go.is_empty()).then(|| go.into()),
            extra: if is_raw(schema) { Some(raw()) } else { extra(schema, presence) },
        })
    }

    fn element(&mut self, schema: &Value) -> Result<Element, LoadError> {
        let shape = self.any(schema)?;
        let said = ["x-kubernetes-list-type", "x-kubernetes-map-type"].iter().any(|key| schema.get(*key).is_some());
        let extra = if is_raw(schema) { Some(raw()) } else { extra(schema, Presence::Given).filter(|_| said) };
        Ok(Element { shape, extra })
    }

    /// A list or map. Those of which nothing more is known than the type of what they hold are one type.
    fn sequence(&mut self, what: &str, element: Element, shape: impl FnOnce(Element) -> Shape) -> ShapeId {
        match element.extra {
            None => self.shared(format!("{what} {}", element.shape.0), || shape(element)),
            Some(_) => self.push(shape(element)),
        }
    }

    fn any(&mut self, schema: &Value) -> Result<ShapeId, LoadError> {
        let outside = self.open;
        self.open |= preserves(schema);
        let shape = self.inside(schema);
        self.open = outside;
        shape
    }

    fn inside(&mut self, schema: &Value) -> Result<ShapeId, LoadError> {
        let reference = schema.get("$ref").or_else(|| schema["allOf"].get(0)?.get("$ref"));
        if let Some(reference) = reference.and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let dangling = || LoadError::Dangling(self.at.to_owned(), name.to_owned());
            return self.names.get(name).copied().ok_or_else(dangling);
        }
        let format = schema["format"].as_str().unwrap_or_default();
        Ok(match schema["type"].as_str().unwrap_or_default() {
            "string" if format == "byte" => self.shared("bytes".into(), || Shape::Bytes),
            "string" => self.shared("string".into(), || Shape::String),
            "integer" => {
                let bits = if format == "int32" { 32 } else { 64 };
                self.shared(format!("integer {bits}"), || Shape::Integer { bits })
            }
            "number" => self.shared("number".into(), || Shape::Number),
            "boolean" => self.shared("boolean".into(), || Shape::Boolean),
            "array" => {
                let items = self.element(&schema["items"])?;
                self.sequence("list", items, Shape::List)
            }
            "object" if schema["additionalProperties"].is_object() => {
                let values = self.element(&schema["additionalProperties"])?;
                self.sequence("map", values, Shape::Map)
            }
            "object" if schema.get("properties").is_some() => {
                let object = self.object("object", schema)?;
                self.push(Shape::Object(object))
            }
            _ => self.shared("any".into(), || Shape::Any),
        })
    }
}

fn preserves(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

/// A field that holds any object, and holds it as one value.
fn is_raw(schema: &Value) -> bool {
    let reference = schema.get("$ref").or_else(|| schema["allOf"].get(0)?.get("$ref"));
    reference.and_then(Value::as_str).is_some_and(|reference| reference.ends_with(".RawExtension"))
}

fn raw() -> Box<Extra> {
    Box::new(Extra { atomic_map: true, ..Extra::default() })
}

fn extra(schema: &Value, presence: Presence) -> Option<Box<Extra>> {
    let text = |key: &str| schema[key].as_str().unwrap_or_default();
    let texts = |key: &str| -> Box<[Box<str>]> {
        schema[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
    };
    let shown = schema.get("default").filter(|default| presence == Presence::Given || !is_zero(default));
    let mut strategies = text("x-kubernetes-patch-strategy").split(',').peekable();
    let known = ["x-default", "x-enum", "enum", "x-kubernetes-list-type", "x-kubernetes-map-type"];
    if shown.is_none() && strategies.peek() == Some(&"") && !known.iter().any(|key| schema.get(*key).is_some()) {
        return None;
    }
    let mut extra = Extra {
        default: schema.get("x-default").or(shown).cloned(),
        values: if schema.get("x-enum").is_some() { texts("x-enum") } else { texts("enum") },
        list: match text("x-kubernetes-list-type") {
            "atomic" => ListType::Atomic,
            "set" => ListType::Set,
            "map" => ListType::Map,
            _ => ListType::Unsaid,
        },
        map_keys: texts("x-kubernetes-list-map-keys"),
        atomic_map: text("x-kubernetes-map-type") == "atomic",
        merge_key: schema["x-kubernetes-patch-merge-key"].as_str().map(Into::into),
        ..Extra::default()
    };
    for strategy in strategies {
        extra.merge |= strategy == "merge";
        extra.retain_keys |= strategy == "retainKeys";
    }
    Some(Box::new(extra))
}

/// Zero values are not defaults to set: a value field has them anyway.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(true) => false,
    }
}

/// Per type: whether a field that `wants` it can be reached from it. Types are recursive, so this goes on until nothing
/// changes any more.
fn reaching(graph: &Graph, wants: impl Fn(&Field) -> bool) -> Vec<bool> {
    let mut marks = vec![false; graph.shapes.len()];
    loop {
        let mut changed = false;
        for (at, shape) in graph.shapes.iter().enumerate() {
            let mark = match shape {
                Shape::List(inner) | Shape::Map(inner) => marks[inner.shape.0 as usize],
                Shape::Object(object) => {
                    object.fields.iter().any(|field| wants(field) || marks[field.shape.0 as usize])
                }
                _ => false,
            };
            changed |= mark && !marks[at];
            marks[at] |= mark;
        }
        if !changed {
            return marks;
        }
    }
}
