//! Rules when their schema is written: what an author is told before any object exists.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Rule, Source, has_rules, path};
use crate::at;
use crate::cel::schema::{DeclType, MAX_REQUEST};
use crate::field::{FieldError, Path};

/// The cost that one rule may have, by estimate.
const RULE_LIMIT: u64 = 10_000_000;
/// The cost that all rules of a schema may have, by estimate.
const SCHEMA_LIMIT: u64 = 100_000_000;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Checks the rules of a custom resource's schema. `path` is the schema's own: `spec.validation.openAPIV3Schema` or
/// `spec.versions[0].schema.openAPIV3Schema`.
pub fn check(schema: &Json, path: &Path) -> Vec<FieldError> {
    if !has_rules(schema) {
        return Vec::new();
    }
    let mut check = Check { errors: Vec::new(), total: 0, expensive: Vec::new() };
    check.words(schema, path);
    // What is said of types makes no sense while the schema itself is not in order.
    if check.errors.is_empty() {
        let of = DeclType::from_schema(schema, "selfType", true).map(Arc::new);
        check.node(schema, path, of, &Around { cardinality: Some(1), uncorrelatable: None, root: true });
        check.total(path);
    }
    check.errors
}

struct Check {
    errors: Vec<FieldError>,
    total: u64,
    expensive: Vec<(String, u64)>,
}

/// What a place's surroundings say about it.
#[derive(Clone)]
struct Around {
    /// How many values there can be, where that is bounded.
    cardinality: Option<u64>,
    /// The list around, whose elements cannot be told apart.
    uncorrelatable: Option<Path>,
    root: bool,
}

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

impl Check {
    /// The words of all rules, here and below.
    fn words(&mut self, schema: &Json, path: &Path) {
        for (index, source) in Source::all(schema).iter().enumerate() {
            self.rule_words(source, schema, &path.child("x-kubernetes-validations").index(index));
        }
        for (name, inner) in at::map(schema, "properties") {
            self.words(inner, &path.child("properties").key(name.clone()));
        }
        for field in ["items", "additionalProperties"] {
            if let Some(inner) = at::get(schema, field) {
                self.words(inner, &path.child(field));
            }
        }
        for (index, inner) in at::list(schema, "allOf").iter().enumerate() {
            self.words(inner, &path.child("allOf").index(index));
        }
    }

    fn rule_words(&mut self, source: &Source, schema: &Json, path: &Path) {
        let (rule, message) = (source.rule.trim(), source.message.trim());
        let at = |field: &'static str| path.child(field);
        if rule.is_empty() {
            self.errors.push(FieldError::required(&at("rule"), "rule is not specified"));
        } else if !source.message.is_empty() && message.is_empty() {
            self.errors.push(FieldError::invalid(
                &at("message"),
                source.message.as_str(),
                "must be non-empty if specified",
            ));
        } else if has_newlines(message) {
            self.errors.push(FieldError::invalid(
                &at("message"),
                source.message.as_str(),
                "must not contain line breaks",
            ));
        } else if has_newlines(rule) && message.is_empty() {
            self.errors
                .push(FieldError::required(&at("message"), "message must be specified if rule contains line breaks"));
        }
        if !source.message_expression.is_empty() && source.message_expression.trim().is_empty() {
            self.errors.push(FieldError::required(
                &at("messageExpression"),
                "messageExpression must be non-empty if specified",
            ));
        }
        if let Some(reason) = source.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            self.errors.push(FieldError::not_supported(&at("reason"), reason, &REASONS));
        }
        if !source.field_path.is_empty() {
            let text = source.field_path.as_str();
            if text.trim().is_empty() {
                self.errors.push(FieldError::invalid(&at("fieldPath"), text, "must be non-empty if specified"));
            }
            if has_newlines(text) {
                self.errors.push(FieldError::invalid(&at("fieldPath"), text, "must not contain line breaks"));
            }
            if path::valid(text, schema).is_err() {
                self.errors.push(FieldError::invalid(&at("fieldPath"), text, "must be a valid path"));
            }
        }
    }

    fn node(&mut self, schema: &Json, path: &Path, of: Option<Arc<DeclType>>, around: &Around) {
        if !has_rules(schema) {
            return;
        }
        let within = Around {
            cardinality: multiplied(around.cardinality, most_elements(schema)),
            root: false,
            ..around.clone()
        };
        for (name, inner) in at::map(schema, "properties") {
            let inner_of = of.as_ref().and_then(|of| of.property(name).cloned());
            self.node(inner, &path.child("properties").key(name.clone()), inner_of, &within);
        }
        let element = of.as_ref().and_then(|of| of.element().cloned());
        if let Some(values) = at::get(schema, "additionalProperties").filter(|values| values.is_object()) {
            let mut within = within.clone();
            if !matches!(at::maybe_text(schema, "x-kubernetes-map-type"), None | Some("granular" | "atomic")) {
                within.uncorrelatable.get_or_insert_with(|| path.clone());
            }
            self.node(values, &path.child("additionalProperties"), element.clone(), &within);
        }
        if let Some(items) = at::get(schema, "items").filter(|items| items.is_object()) {
            let mut within = within.clone();
            if at::text(schema, "x-kubernetes-list-type") != "map" {
                within.uncorrelatable.get_or_insert_with(|| path.clone());
            }
            self.node(items, &path.child("items"), element, &within);
        }
        let embedded = around.root || at::flag(schema, "x-kubernetes-embedded-resource") == Some(true);
        let of = of.or_else(|| DeclType::from_schema(schema, "selfType", embedded).map(Arc::new));
        for (index, source) in Source::all(schema).into_iter().enumerate() {
            let path = path.child("x-kubernetes-validations").index(index);
            match &of {
                Some(of) => self.rule(Rule::compile(source, of, schema), &path, of, around),
                None => {
                    let why = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
                    self.errors.push(FieldError::internal(&path, why));
                }
            }
        }
    }

    fn rule(&mut self, rule: Rule, path: &Path, of: &DeclType, around: &Around) {
        let rule_path = path.child("rule");
        match &rule.compiled {
            Ok(compiled) => {
                // Beneath no bound at all, what fits into a request is the bound.
                let most = around.cardinality.unwrap_or((MAX_REQUEST / (of.min_size + 1)).unsigned_abs());
                let cost = compiled.max_cost.saturating_mul(most);
                self.cost("estimated rule cost", &rule_path, cost);
            }
            Err(why) => self
                .errors
                .push(FieldError::invalid(&rule_path, given(&rule.source), why.as_str()).with_shown("ValidationRule")),
        }
        match &rule.message {
            Some(Ok(compiled)) => {
                self.cost("estimated messageExpression cost", &path.child("messageExpression"), compiled.max_cost)
            }
            Some(Err(why)) => self.errors.push(
                FieldError::invalid(&path.child("messageExpression"), given(&rule.source), why.as_str())
                    .with_shown("ValidationRule"),
            ),
            None => {}
        }
        if rule.uses_old_self() {
            if let Some(list) = &around.uncorrelatable {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                self.errors.push(FieldError::invalid(&rule_path, rule.source.rule.as_str(), why));
            }
        } else if let Some(value) = rule.source.optional_old_self {
            let path = path.child("optionalOldSelf");
            self.errors.push(FieldError::invalid(&path, value, "may not be set if oldSelf is not used in rule"));
        }
    }

    fn cost(&mut self, what: &str, path: &Path, cost: u64) {
        if cost > RULE_LIMIT {
            self.errors.push(FieldError::forbidden(path, over_budget(what, cost, RULE_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_LIMIT / 100 {
            self.expensive.push((path.to_string(), cost));
        }
    }

    fn total(&mut self, path: &Path) {
        if self.total <= SCHEMA_LIMIT {
            return;
        }
        self.expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        for (path, _) in self.expensive.iter().take(4) {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.errors.push(FieldError::forbidden(&Path::new(path.clone()), detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.errors.push(FieldError::forbidden(path, over_budget(what, self.total, SCHEMA_LIMIT)));
    }
}

fn over_budget(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_string()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// How many values of a part there can be for each of the whole; nothing without a bound.
fn most_elements(schema: &Json) -> Option<u64> {
    let bound = |field: &str| at::int(schema, field).map(|max| u64::try_from(max).unwrap_or(0));
    match at::text(schema, "type") {
        "object" if at::get(schema, "additionalProperties").is_some() => bound("maxProperties"),
        "array" => bound("maxItems"),
        _ => Some(1),
    }
}

fn multiplied(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_mul(b?))
}

/// The rule as it was given.
fn given(source: &Source) -> Json {
    json!({
        "rule": source.rule,
        "message": source.message,
        "messageExpression": source.message_expression,
        "reason": source.reason,
        "fieldPath": source.field_path,
        "optionalOldSelf": source.optional_old_self,
    })
}
