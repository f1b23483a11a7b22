//! `x-kubernetes-validations`: the rules of a structural schema.
//!
//! - [`check`] looks at them when a schema is written: they compile, they stay within their budgets, their words are in order.
//! - [`Rules`] are the compiled rules of a schema; [`Rules::validate`] runs them on an object and the one it replaces.
//! - `path`: the `fieldPath` of a rule. `correlate`: which old value belongs to a new one.
//!
//! Messages and field paths are upstream's.

mod check;
mod correlate;
mod path;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

pub use self::check::check;
pub use self::validate::Outcome;

use super::schema::DeclType;
use super::{Compiled, Declarations, compile};
use crate::at;
use crate::field::Path;

/// The rules of a schema and of what is within it.
#[derive(Debug)]
pub struct Rules {
    root: Node,
}

/// A place in a schema at or below which there are rules.
#[derive(Debug, Default)]
struct Node {
    of: Option<Arc<DeclType>>,
    /// The schema's `type`, named in some errors.
    kind: String,
    rules: Vec<Rule>,
    properties: BTreeMap<String, Node>,
    items: Option<Box<Node>>,
    values: Option<Box<Node>>,
    all_of: Vec<Node>,
    /// The keys of a list whose elements are told apart by them.
    keys: Option<Vec<String>>,
    /// Whether entries of a map belong to the old ones of the same name.
    correlatable: bool,
}

/// One rule as its author wrote it.
#[derive(Clone, Debug, Default)]
struct Source {
    rule: String,
    message: String,
    message_expression: String,
    reason: Option<String>,
    field_path: String,
    optional_old_self: Option<bool>,
}

#[derive(Debug)]
struct Rule {
    source: Source,
    compiled: Result<Compiled, String>,
    message: Option<Result<Compiled, String>>,
    /// Where the error is told, below the place of the rule.
    field_path: Option<Path>,
}

impl Source {
    fn all(schema: &Json) -> Vec<Source> {
        at::list(schema, "x-kubernetes-validations").iter().map(Source::read).collect()
    }

    fn read(rule: &Json) -> Source {
        let text = |field: &str| at::text(rule, field).to_string();
        Source {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: at::maybe_text(rule, "reason").map(str::to_string),
            field_path: text("fieldPath"),
            optional_old_self: at::flag(rule, "optionalOldSelf"),
        }
    }

    /// How errors name the rule.
    fn words(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { self.message.trim() }
    }

    fn declarations(&self, of: &Arc<DeclType>) -> Declarations {
        let declarations = Declarations::new().schema_variable("self", of);
        if self.optional_old_self == Some(true) {
            declarations.optional_schema_variable("oldSelf", of)
        } else {
            declarations.schema_variable("oldSelf", of)
        }
    }
}

/// The place of `oldSelf` among the variables.
const OLD_SELF: usize = 1;

impl Rule {
    fn compile(source: Source, of: &Arc<DeclType>, schema: &Json) -> Rule {
        let declarations = source.declarations(of);
        let compiled = match compile(&source.rule, &declarations) {
            Err(error @ super::CompileError::Problems(_)) => Err(format!("compilation failed: {error}")),
            Err(error) => Err(error.to_string()),
            Ok(compiled) if *compiled.program.output() != super::Type::Bool => {
                Err("cel expression must evaluate to a bool".into())
            }
            Ok(compiled) => Ok(compiled),
        };
        let message = (compiled.is_ok() && !source.message_expression.is_empty()).then(|| {
            match compile(&source.message_expression, &declarations) {
                Err(error @ super::CompileError::Problems(_)) => {
                    Err(format!("messageExpression compilation failed: {error}"))
                }
                Err(super::CompileError::Instantiation(why)) => {
                    Err(format!("messageExpression instantiation failed: {why}"))
                }
                Ok(compiled) if *compiled.program.output() != super::Type::String => {
                    Err("messageExpression must evaluate to a string".into())
                }
                Ok(compiled) => Ok(compiled),
            }
        });
        let field_path = if source.field_path.is_empty() { None } else { path::valid(&source.field_path, schema).ok() };
        Rule { source, compiled, message, field_path }
    }

    fn uses_old_self(&self) -> bool {
        self.compiled.as_ref().is_ok_and(|compiled| compiled.variables.contains(&OLD_SELF))
    }
}

impl Rules {
    /// Compiles the rules of a custom resource's schema; nothing when there are none.
    pub fn compile(schema: &Json) -> Option<Rules> {
        if !has_rules(schema) {
            return None;
        }
        let of = DeclType::from_schema(schema, "selfType", true).map(Arc::new);
        build(schema, schema, of).map(|root| Rules { root })
    }
}

fn has_rules(schema: &Json) -> bool {
    let within = |field: &str| at::get(schema, field).is_some_and(has_rules);
    !at::list(schema, "x-kubernetes-validations").is_empty()
        || within("items")
        || within("additionalProperties")
        || at::map(schema, "properties").values().any(has_rules)
        || at::list(schema, "allOf").iter().any(has_rules)
}

/// `rules` is where rules are looked for: the schema itself, or one of its `allOf`.
fn build(rules: &Json, schema: &Json, of: Option<Arc<DeclType>>) -> Option<Node> {
    let element = of.as_ref().and_then(|of| of.element().cloned());
    let both = |field: &str| {
        Some((at::get(rules, field).filter(|v| v.is_object())?, at::get(schema, field).filter(|v| v.is_object())?))
    };
    let child =
        |field: &str| both(field).and_then(|(rules, schema)| build(rules, schema, element.clone())).map(Box::new);
    let mut node = Node {
        kind: at::text(schema, "type").to_string(),
        items: child("items"),
        values: child("additionalProperties"),
        correlatable: matches!(at::maybe_text(schema, "x-kubernetes-map-type"), None | Some("granular" | "atomic")),
        keys: (at::text(schema, "x-kubernetes-list-type") == "map")
            .then(|| at::texts(schema, "x-kubernetes-list-map-keys").map(str::to_string).collect()),
        ..Node::default()
    };
    for (name, inner_rules) in at::map(rules, "properties") {
        let Some(inner) = at::get(at::sub(schema, "properties"), name) else { continue };
        let embedded = at::flag(inner, "x-kubernetes-embedded-resource") == Some(true);
        let inner_of = match &of {
            // A name that is no identifier is not seen from outside, but rules within may still be.
            Some(of) => of.property(name).cloned().or_else(|| {
                super::escape::escape(name)
                    .is_none()
                    .then(|| DeclType::from_schema(inner, "selfType", embedded).map(Arc::new))?
            }),
            None => None,
        };
        if let Some(child) = inner_of.and_then(|of| build(inner_rules, inner, Some(of))) {
            node.properties.insert(name.clone(), child);
        }
    }
    if let Some(of) = &of {
        node.rules = Source::all(rules).into_iter().map(|source| Rule::compile(source, of, schema)).collect();
    }
    node.all_of = at::list(rules, "allOf").iter().filter_map(|part| build(part, schema, of.clone())).collect();
    node.of = of;
    let empty = node.rules.is_empty()
        && node.properties.is_empty()
        && node.items.is_none()
        && node.values.is_none()
        && node.all_of.is_empty();
    (!empty).then_some(node)
}
