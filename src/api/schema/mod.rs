//! What objects may contain: one graph of types for all kinds, and the operations that walk an object beside it.
//!
//! - `graph`: the types, small and shared; [`Node`] is a place in it.
//! - `load`: from JSON schemas (our built-in ones, later those of custom resources) to a graph.
//! - `decode`: brings an object into the form Go's types would give it: unknown fields reported and dropped, wrong types
//!   refused, values canonical, zero values omitted or written.
//! - `default`, `validate`: what a schema knows of defaults, enums and required fields.
//! - `expressions`: a schema as CEL sees it.
//!
//! The order on a write is decode, default, (rules), validate. None of them looks at anything but the schema and the object.

mod decode;
mod default;
mod embedded;
mod expressions;
mod graph;
mod load;
mod time;
mod validate;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use serde_json::{Value, json};

pub(crate) use self::expressions::decl_type;
use self::graph::{Graph, ShapeId};
pub use self::{
    decode::DecodeError,
    graph::{ListType, Node, Plain},
};
use crate::field::{FieldError, Path};

/// The type of one kind's objects: a root in a shared graph of types.
#[derive(Clone, Debug)]
pub struct Schema {
    graph: Arc<Graph>,
    root: ShapeId,
}

impl Schema {
    /// The root, from where fields, list types and merge keys are found.
    pub fn node(&self) -> Node<'_> {
        Node::new(&self.graph, self.root)
    }

    /// Brings the object into its canonical form in one pass: drops nulls and unknown fields, checks types, normalises
    /// quantities, times and base64, omits or writes zero values as Go's encoder would.
    /// Returns the paths of unknown fields (`spec.containers[0].foo`).
    pub fn decode(&self, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        decode::decode(self.node(), object)
    }

    /// Like [`Schema::decode`] where types are known to be right (a stored or computed object): wrongly typed values stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        decode::prune(self.node(), object)
    }

    /// Sets the defaults that depend on nothing but the absence of a field.
    pub fn default(&self, object: &mut Value) {
        default::default(self.node(), object);
    }

    /// Required fields and enums, outside of `metadata` and `status`. What a rule of the kind says of the same field is said
    /// better there.
    pub fn validate(&self, object: &Value, path: &Path, errors: &mut Vec<FieldError>) {
        validate::validate(self.node(), object, path, errors);
    }
}

static BUILTIN: LazyLock<Builtin> = LazyLock::new(Builtin::load);

struct Builtin {
    kinds: HashMap<[String; 3], Schema>,
    names: HashMap<String, Schema>,
}

impl Builtin {
    fn load() -> Builtin {
        let lines = crate::openapi::embedded::schemas();
        let names: Vec<&str> = lines.iter().map(|line| line.name).collect();
        let schemas = lines.iter().map(|line| line.schema());
        let (graph, roots) = load::load(&names, schemas).expect("the built-in schemas are made by build.rs and tested");
        let graph = Arc::new(graph);
        let mut builtin = Builtin { kinds: HashMap::new(), names: HashMap::new() };
        for (line, root) in lines.iter().zip(roots) {
            let schema = Schema { graph: graph.clone(), root };
            builtin.kinds.extend(line.kinds().map(|kind| (kind, schema.clone())));
            builtin.names.insert(line.name.to_owned(), schema);
        }
        builtin
    }
}

/// The schema of a built-in kind, or of a request body that is one (`Scale`, `Eviction`, `TokenRequest`, `Binding`).
pub fn schema_of(group: &str, version: &str, kind: &str) -> Option<&'static Schema> {
    BUILTIN.kinds.get(&[group, version, kind].map(str::to_owned))
}

/// The schema of a definition by its OpenAPI name, as `io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions`.
pub fn definition(name: &str) -> Option<&'static Schema> {
    BUILTIN.names.get(name)
}

/// The definitions that metadata consists of, which every custom kind has.
static METADATA: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    const NAMES: [&str; 5] = ["FieldsV1", "ManagedFieldsEntry", "ObjectMeta", "OwnerReference", "Time"];
    let is_wanted = |name: &str| name.strip_prefix(META).is_some_and(|kind| NAMES.contains(&kind));
    let lines = crate::openapi::embedded::schemas();
    lines.iter().filter(|line| is_wanted(line.name)).map(|line| (line.name.to_owned(), line.schema())).collect()
});

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// The fields of a custom kind, from its `openAPIV3Schema`: for merging and applying, where list types and keys count.
/// Null is the schema of a kind that does not say anything.
pub fn of_custom(published: &Value) -> Schema {
    let mut root = if published.is_object() { published.clone() } else { json!({"type": "object"}) };
    if root.get("properties").is_none_or(|properties| !properties.is_object()) {
        root["properties"] = json!({});
    }
    root["properties"]["apiVersion"] = json!({"type": "string"});
    root["properties"]["kind"] = json!({"type": "string"});
    root["properties"]["metadata"] = json!({"allOf": [{"$ref": format!("#/{META}ObjectMeta")}]});
    let names: Vec<&str> = METADATA.iter().map(|(name, _)| name.as_str()).chain(["custom"]).collect();
    let load = |root: Value| load::load(&names, METADATA.iter().map(|(_, schema)| schema.clone()).chain([root]));
    let fallback = json!({"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": true});
    let (graph, mut roots) =
        load(root).or_else(|_| load(fallback)).expect("a schema without references to others can be loaded");
    let root = roots.pop().expect("as many roots as names");
    Schema { graph: Arc::new(graph), root }
}

#[cfg(test)]
mod tests;
