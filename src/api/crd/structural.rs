//! A structural schema: `openAPIV3Schema` of one version, read once, so that objects are walked without parsing.
//!
//! The same type stands for the schemas below `allOf`, `anyOf`, `oneOf` and `not`, where it only restricts values.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::at::{flag, get, int, list, map, maybe_text, text, texts};

/// What an object, or a part of it, may look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structural {
    /// `object`, `array`, `string`, ...; empty when the schema does not say.
    pub kind: Box<str>,
    pub nullable: bool,
    pub preserves_unknown: bool,
    /// An object with `apiVersion`, `kind` and `metadata` of its own.
    pub embedded: bool,
    pub int_or_string: bool,
    pub default: Option<Value>,
    pub items: Option<Box<Structural>>,
    pub properties: BTreeMap<Box<str>, Structural>,
    pub additional: Option<Additional>,
    pub list_type: Option<Box<str>>,
    pub list_keys: Vec<Box<str>>,
    pub map_type: Option<Box<str>>,
    /// What few schemas have.
    pub checks: Option<Box<Checks>>,
    /// There are rules in CEL here.
    pub has_rules: bool,
    pub has_title: bool,
    pub has_description: bool,
    /// There is a default here or below.
    pub defaults: bool,
    /// An embedded object is here or below.
    pub embeds: bool,
    /// A list whose items must differ is here or below.
    pub keyed_lists: bool,
}

/// `additionalProperties`.
#[derive(Clone, Debug, PartialEq)]
pub enum Additional {
    Any(bool),
    Schema(Box<Structural>),
}

/// Restrictions of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    pub format: Box<str>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<Box<str>>,
    pub values: Vec<Value>,
    pub all_of: Vec<Structural>,
    pub any_of: Vec<Structural>,
    pub one_of: Vec<Structural>,
    pub not: Option<Box<Structural>>,
}

/// A regular expression, and why it is none.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub text: Box<str>,
    pub regex: Result<Regex, String>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

/// A schema that cannot be read as a structural one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStructural {
    #[error("OpenAPIV3Schema '{0}' is not supported")]
    Unsupported(&'static str),
    #[error("OpenAPIV3Schema 'items' must be a schema, but is an array")]
    Items,
    #[error("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined")]
    PreserveUnknown,
}

impl Structural {
    /// Reads a schema that passed the checks of its definition, or says what of it has no meaning here.
    pub fn read(schema: &Value) -> Result<Structural, NotStructural> {
        unsupported(schema)?;
        let mut read = Structural {
            kind: text(schema, "type").into(),
            nullable: flag(schema, "nullable") == Some(true),
            preserves_unknown: match flag(schema, "x-kubernetes-preserve-unknown-fields") {
                Some(false) => return Err(NotStructural::PreserveUnknown),
                said => said == Some(true),
            },
            embedded: flag(schema, "x-kubernetes-embedded-resource") == Some(true),
            int_or_string: flag(schema, "x-kubernetes-int-or-string") == Some(true),
            default: get(schema, "default").cloned(),
            items: match get(schema, "items") {
                Some(Value::Array(_)) => return Err(NotStructural::Items),
                Some(items) => Some(Box::new(Structural::read(items)?)),
                None => None,
            },
            properties: BTreeMap::new(),
            additional: match get(schema, "additionalProperties") {
                Some(Value::Bool(any)) => Some(Additional::Any(*any)),
                Some(values) => Some(Additional::Schema(Box::new(Structural::read(values)?))),
                None => None,
            },
            list_type: maybe_text(schema, "x-kubernetes-list-type").map(Into::into),
            list_keys: texts(schema, "x-kubernetes-list-map-keys").map(Into::into).collect(),
            map_type: maybe_text(schema, "x-kubernetes-map-type").map(Into::into),
            checks: Checks::read(schema)?,
            has_rules: !list(schema, "x-kubernetes-validations").is_empty(),
            has_title: !text(schema, "title").is_empty(),
            has_description: !text(schema, "description").is_empty(),
            defaults: false,
            embeds: false,
            keyed_lists: false,
        };
        for (name, property) in map(schema, "properties") {
            read.properties.insert(name.as_str().into(), Structural::read(property)?);
        }
        read.defaults = read.default.is_some() || read.children().any(|child| child.defaults);
        read.embeds = read.embedded || read.children().any(|child| child.embeds);
        let is_keyed = read.list_type.as_deref().is_some_and(|kind| kind != "atomic");
        read.keyed_lists = is_keyed || read.children().any(|child| child.keyed_lists);
        Ok(read)
    }

    /// The schemas of parts of an object, not those that only restrict.
    pub fn children(&self) -> impl Iterator<Item = &Structural> {
        let additional = match &self.additional {
            Some(Additional::Schema(values)) => Some(&**values),
            _ => None,
        };
        self.properties.values().chain(self.items.as_deref()).chain(additional)
    }

    /// The schema of a field, by name or as one of many.
    pub fn field(&self, name: &str) -> Option<&Structural> {
        match (self.properties.get(name), &self.additional) {
            (Some(property), _) => Some(property),
            (None, Some(Additional::Schema(values))) => Some(values),
            _ => None,
        }
    }

    /// Whether some schema here or below fulfils a condition.
    pub fn any(&self, condition: &dyn Fn(&Structural) -> bool) -> bool {
        condition(self) || self.children().any(|child| child.any(condition))
    }
}

impl Checks {
    fn read(schema: &Value) -> Result<Option<Box<Checks>>, NotStructural> {
        let number = |name: &str| get(schema, name).and_then(Value::as_f64);
        let all = |name: &str| list(schema, name).iter().map(Structural::read).collect::<Result<Vec<_>, _>>();
        let checks = Checks {
            format: text(schema, "format").into(),
            maximum: number("maximum"),
            exclusive_maximum: flag(schema, "exclusiveMaximum") == Some(true),
            minimum: number("minimum"),
            exclusive_minimum: flag(schema, "exclusiveMinimum") == Some(true),
            multiple_of: number("multipleOf"),
            max_length: int(schema, "maxLength"),
            min_length: int(schema, "minLength"),
            pattern: Some(text(schema, "pattern")).filter(|text| !text.is_empty()).map(Pattern::new),
            max_items: int(schema, "maxItems"),
            min_items: int(schema, "minItems"),
            unique_items: flag(schema, "uniqueItems") == Some(true),
            max_properties: int(schema, "maxProperties"),
            min_properties: int(schema, "minProperties"),
            required: texts(schema, "required").map(Into::into).collect(),
            values: list(schema, "enum").to_vec(),
            all_of: all("allOf")?,
            any_of: all("anyOf")?,
            one_of: all("oneOf")?,
            not: get(schema, "not").map(Structural::read).transpose()?.map(Box::new),
        };
        Ok((checks != Checks::default()).then(|| Box::new(checks)))
    }
}

impl Pattern {
    fn new(text: &str) -> Pattern {
        let regex = Regex::new(text).map_err(|error| error.to_string().replace('\n', " "));
        Pattern { text: text.into(), regex }
    }
}

fn unsupported(schema: &Value) -> Result<(), NotStructural> {
    for (name, shown) in [("id", "id"), ("$schema", "schema"), ("$ref", "$ref")] {
        if !text(schema, name).is_empty() {
            return Err(NotStructural::Unsupported(shown));
        }
    }
    for name in ["patternProperties", "dependencies", "definitions"] {
        if !map(schema, name).is_empty() {
            return Err(NotStructural::Unsupported(name));
        }
    }
    match get(schema, "additionalItems") {
        Some(_) => Err(NotStructural::Unsupported("additionalItems")),
        None => Ok(()),
    }
}
