//! What an expression may refer to: variables with types, and the objects behind them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::schema::{DeclType, Kind};
use super::types::Type;

/// The variables and object types of an expression.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    variables: Vec<(Arc<str>, Type)>,
    structs: HashMap<Arc<str>, BTreeMap<Arc<str>, Type>>,
    /// Per variable, where its sizes are known from a schema.
    sized: Vec<Option<Arc<DeclType>>>,
    /// Whether `Object{…}` and `JSONPatch{…}` can be made.
    mutation: bool,
    /// Whether `cel.bind` can be used.
    bind: bool,
}

impl Declarations {
    pub fn new() -> Declarations {
        Declarations::default()
    }

    /// Declares a variable. The order of declarations is the order of the values when the expression runs.
    pub fn variable(mut self, name: &str, t: Type) -> Declarations {
        self.variables.push((name.into(), t));
        self.sized.push(None);
        self
    }

    /// Declares a variable whose value has a schema.
    pub fn schema_variable(mut self, name: &str, schema: &Arc<DeclType>) -> Declarations {
        self.add_structs(schema);
        self.variables.push((name.into(), schema.cel_type()));
        self.sized.push(Some(schema.clone()));
        self
    }

    /// Declares a variable that may hold a value of the schema, or nothing.
    pub fn optional_schema_variable(mut self, name: &str, schema: &Arc<DeclType>) -> Declarations {
        self.add_structs(schema);
        self.variables.push((name.into(), Type::optional(schema.cel_type())));
        self.sized.push(Some(schema.clone()));
        self
    }

    /// Declares an object type with fields, for a variable of [`Type::Struct`].
    pub fn object<'f>(mut self, name: &str, fields: impl IntoIterator<Item = (&'f str, Type)>) -> Declarations {
        self.structs.insert(name.into(), fields.into_iter().map(|(name, t)| (name.into(), t)).collect());
        self
    }

    /// Lets expressions make `Object{…}` and `JSONPatch{…}`.
    pub fn with_mutation(mut self) -> Declarations {
        self.mutation = true;
        self
    }

    /// Lets expressions name a value: `cel.bind(x, 1 + 2, x * x)`.
    pub fn with_bind(mut self) -> Declarations {
        self.bind = true;
        self
    }

    pub(super) fn knows_bind(&self) -> bool {
        self.bind
    }

    fn add_structs(&mut self, schema: &Arc<DeclType>) {
        match &schema.kind {
            Kind::List { items, .. } => self.add_structs(items),
            Kind::Map { values, .. } => self.add_structs(values),
            Kind::Object { name, fields } if !self.structs.contains_key(name) => {
                let types = fields.iter().map(|(name, field)| (name.clone(), field.cel_type())).collect();
                self.structs.insert(name.clone(), types);
                fields.values().for_each(|field| self.add_structs(field));
            }
            _ => {}
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Type)> {
        let index = self.variables.iter().position(|(variable, _)| &**variable == name)?;
        Some((index, &self.variables[index].1))
    }

    pub(crate) fn schema_of(&self, name: &str) -> Option<&Arc<DeclType>> {
        let (index, _) = self.find(name)?;
        self.sized[index].as_ref()
    }

    /// The type of an object's field: nothing when the object is not known, and nothing within when the field is not.
    pub(crate) fn field(&self, object: &str, field: &str) -> Option<Option<Type>> {
        if self.mutation && object == "JSONPatch" {
            return Some(match field {
                "op" | "path" | "from" => Some(Type::String),
                "value" => Some(Type::Dyn),
                _ => None,
            });
        }
        if self.mutation && is_object(object) {
            return Some(Some(Type::Dyn));
        }
        let fields = self.structs.get(object)?;
        // A field whose name is a reserved word is known by its escaped name, and may be written plainly after a dot.
        Some(fields.get(field).or_else(|| fields.get(format!("__{field}__").as_str())).cloned())
    }

    /// The type with the name, for making values of it.
    pub(crate) fn made_type(&self, name: &str) -> Option<Type> {
        let made = self.mutation && (name == "JSONPatch" || is_object(name));
        (made || self.structs.contains_key(name)).then(|| Type::Struct(name.into()))
    }
}

fn is_object(name: &str) -> bool {
    name == "Object" || name.starts_with("Object.")
}

/// Names of types that expressions can use as values: `type(x) == int`.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    let dynamic = || Arc::new(Type::Dyn);
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "int" => Type::Int,
        "list" => Type::List(dynamic()),
        "map" => Type::Map(dynamic(), dynamic()),
        "null_type" => Type::Null,
        "string" => Type::String,
        "type" => Type::Type(None),
        "uint" => Type::Uint,
        "optional_type" => Type::optional(Type::Dyn),
        "net.IP" | "net.CIDR" => Type::Opaque(name.into(), Vec::new()),
        _ => return None,
    })
}
