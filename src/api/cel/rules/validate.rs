//! Rules on objects: each rule with `self` and, where there is one, `oldSelf`, within one budget for the object.

use std::rc::Rc;

use serde_json::Value as Json;

use super::correlate::{Pair, old_element};
use super::{Node, Rule, Rules};
use crate::cel::{Budget, EvalError, RUNTIME_BUDGET, Value};
use crate::field::{FieldError, Path};

/// The longest message that an expression may give.
const MAX_MESSAGE: usize = 5 * 1024;

/// What is wrong with an object.
#[derive(Debug, Default)]
pub struct Outcome {
    pub errors: Vec<FieldError>,
    /// Rules that fail on what the update did not change: told, not held against it.
    pub warnings: Vec<String>,
}

impl Rules {
    /// Runs the rules on an object. `old` is the object that it replaces.
    pub fn validate(&self, path: &Path, object: &Json, old: Option<&Json>) -> Outcome {
        let mut budget = Budget::new(RUNTIME_BUDGET);
        self.validate_within(path, object, old, &mut budget)
    }

    /// Like [`Rules::validate`] with what is left of a budget.
    pub fn validate_within(&self, path: &Path, object: &Json, old: Option<&Json>, budget: &mut Budget) -> Outcome {
        let mut run = Run { budget, outcome: Outcome::default() };
        // Out of budget is told in the errors.
        let _ = run.node(&self.root, path, object, old, Pair::root(object, old));
        run.outcome
    }
}

/// No rule is run any more.
struct OverBudget;

struct Run<'r> {
    budget: &'r mut Budget,
    outcome: Outcome,
}

impl Run<'_> {
    fn node<'o>(
        &mut self,
        node: &'o Node,
        path: &Path,
        object: &'o Json,
        old: Option<&'o Json>,
        pair: Pair<'o>,
    ) -> Result<(), OverBudget> {
        if object.is_null() {
            return Ok(());
        }
        self.rules(node, path, object, old.filter(|old| !old.is_null()), pair)?;
        for part in &node.all_of {
            self.node(part, path, object, old, pair.around_only())?;
        }
        match object {
            Json::Array(list) => {
                let Some(items) = &node.items else { return Ok(()) };
                let old_list = old.and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
                for (index, item) in list.iter().enumerate() {
                    let old = node.keys.as_ref().and_then(|keys| old_element(keys, old_list, item));
                    self.node(items, &path.index(index), item, old, pair.element(item, old))?;
                }
            }
            Json::Object(map) => {
                for (name, value) in map {
                    let old = old.filter(|_| node.correlatable).and_then(|old| old.get(name));
                    if let Some(values) = &node.values {
                        self.node(values, &path.key(name.clone()), value, old, pair.key(name))?;
                    }
                    if let Some(property) = node.properties.get(name) {
                        self.node(property, &path.child(name.clone()), value, old, pair.key(name))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn error(&mut self, error: FieldError) {
        self.outcome.errors.push(error);
    }

    fn rules<'o>(
        &mut self,
        node: &'o Node,
        path: &Path,
        object: &'o Json,
        old: Option<&'o Json>,
        pair: Pair<'o>,
    ) -> Result<(), OverBudget> {
        if node.rules.is_empty() {
            return Ok(());
        }
        let invalid = |detail: String| FieldError::invalid(path, node.kind.as_str(), detail);
        let exhausted = || {
            invalid(
                "validation failed due to running out of cost budget, no further validation rules will be run".into(),
            )
        };
        if self.budget.remaining() <= 0 {
            self.error(exhausted());
            return Err(OverBudget);
        }
        for rule in &node.rules {
            let words = rule.source.words();
            let compiled = match &rule.compiled {
                Ok(compiled) => compiled,
                Err(_) if rule.source.rule.trim().is_empty() => continue,
                Err(why) => {
                    self.error(invalid(format!("rule compile error: {why}")));
                    continue;
                }
            };
            let optional = rule.source.optional_old_self == Some(true);
            if rule.uses_old_self() && old.is_none() && !optional {
                continue;
            }
            let variables = variables(node, object, old, optional);
            let run = match &variables {
                Ok(variables) => compiled.program.evaluate(variables),
                Err(error) => {
                    self.error(invalid(format!("{error} evaluating rule: {words}")));
                    continue;
                }
            };
            if !self.budget.spend(run.cost) {
                self.error(exhausted());
                return Err(OverBudget);
            }
            match run.result {
                Ok(Value::Bool(true)) => continue,
                Ok(_) => {}
                Err(error @ EvalError::NoSuchOverload(_)) => {
                    let text =
                        "call arguments did not match a supported operator, function or macro signature for rule";
                    self.error(invalid(format!("'{error}': {text}: {words}")));
                    continue;
                }
                Err(EvalError::CostLimit) => {
                    let error = EvalError::CostLimit;
                    let text = "no further validation rules will be run due to call cost exceeds limit for rule";
                    self.error(invalid(format!("'{error}': {text}: {words}")));
                    return Err(OverBudget);
                }
                Err(error) => {
                    self.error(invalid(format!("{error} evaluating rule: {words}")));
                    continue;
                }
            }
            let place = rule.field_path.as_ref().map_or_else(|| path.clone(), |below| path.child(below.to_string()));
            let variables = variables.unwrap_or_default();
            let detail = match self.message(rule, &variables) {
                Ok(detail) => detail,
                Err(why) => {
                    self.failed(rule, pair, FieldError::invalid(&place, node.kind.as_str(), why));
                    return Err(OverBudget);
                }
            };
            let detail = detail.unwrap_or_else(|| default_message(rule));
            let value = if matches!(node.kind.as_str(), "object" | "array") { None } else { Some(object.clone()) };
            self.failed(rule, pair, error_for(rule, &place, value, detail));
        }
        Ok(())
    }

    fn failed(&mut self, rule: &Rule, pair: Pair<'_>, error: FieldError) {
        if !rule.uses_old_self() && pair.unchanged() {
            self.outcome.warnings.push(error.to_string());
        } else {
            self.error(error);
        }
    }

    /// The message that the rule's expression gives: nothing when it gives none, an error when that ends all rules.
    fn message<'o>(&mut self, rule: &'o Rule, variables: &[Option<Value<'o>>]) -> Result<Option<String>, String> {
        let Some(Ok(compiled)) = &rule.message else { return Ok(None) };
        let run = compiled.program.evaluate(variables);
        if !self.budget.spend(run.cost) {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".into());
        }
        match run.result {
            Err(EvalError::CostLimit) => {
                let source = crate::field::quote(&rule.source.message_expression);
                Err(format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source}"
                ))
            }
            Ok(Value::String(text)) => {
                let text = text.trim();
                let usable = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
                Ok(usable.then(|| text.to_string()))
            }
            _ => Ok(None),
        }
    }
}

/// `self` and `oldSelf`.
fn variables<'o>(
    node: &'o Node,
    object: &'o Json,
    old: Option<&'o Json>,
    optional: bool,
) -> Result<Vec<Option<Value<'o>>>, EvalError> {
    let of = node.of.as_deref();
    let old = old.map(|old| Value::of_schema(old, of)).transpose()?;
    let old = if optional { Some(Value::Optional(old.map(Rc::new))) } else { old };
    Ok(vec![Some(Value::of_schema(object, of)?), old])
}

fn default_message(rule: &Rule) -> String {
    match rule.source.message.as_str() {
        "" => format!("failed rule: {}", rule.source.words()),
        message => message.trim().to_string(),
    }
}

fn error_for(rule: &Rule, path: &Path, value: Option<Json>, detail: String) -> FieldError {
    match rule.source.reason.as_deref() {
        Some("FieldValueForbidden") => FieldError::forbidden(path, detail),
        Some("FieldValueRequired") => FieldError::required(path, detail),
        Some("FieldValueDuplicate") => match value {
            Some(value) => FieldError::duplicate(path, value),
            None => FieldError::duplicate(path, Json::Null).without_value(),
        },
        _ => match value {
            Some(value) => FieldError::invalid(path, value, detail),
            None => FieldError::invalid(path, Json::Null, detail).without_value(),
        },
    }
}
