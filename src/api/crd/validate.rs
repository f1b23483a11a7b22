//! What a schema refuses in a value, in the words of upstream's validators (kube-openapi, go-openapi).
//!
//! An update forgives what it does not change: an error in a part that is equal to the same part of the old object is
//! dropped, where the two parts can be told to be the same (fields, map entries, items of keyed lists).

use std::borrow::Cow;

use serde_json::Value;

use super::{
    embedded, formats, lists,
    structural::{Additional, Checks, Structural},
};
use crate::field::{FieldError, Path, quote};

/// What is wrong with a value. `path` is where the value stands; `old` is what it replaces.
pub fn value(schema: &Structural, value: &Value, old: Option<&Value>, path: &Path) -> Vec<FieldError> {
    let walk = Walk { path };
    let outcome = walk.ratcheted(schema, value, old, &At::Root, false);
    outcome.errors
}

/// Lists are only held to their rules when they kept them before.
pub fn list_update(schema: &Structural, object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let mut before = Vec::new();
    lists::validate(schema, old, &Path::root(), &mut before);
    if before.is_empty() {
        lists::validate(schema, object, &Path::root(), errors);
    }
}

/// What is wrong with embedded objects, and with the object itself.
pub(super) fn resource(schema: &Structural, value: &Value, path: &Path, is_root: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    embedded::validate(schema, value, path, is_root, &mut errors);
    errors
}

/// Where the walk is: a list on the stack that becomes text only when something is wrong.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    /// `spec.list[0].name`: also keys of maps stand behind dots.
    fn text(&self) -> String {
        match self {
            At::Root => String::new(),
            At::Field(At::Root, name) => (*name).to_owned(),
            At::Field(parent, name) => format!("{}.{name}", parent.text()),
            At::Index(parent, index) => format!("{}[{index}]", parent.text()),
        }
    }
}

/// Errors, and how much was right: of several alternatives that fail, the errors of the best one are told.
#[derive(Default)]
struct Outcome {
    errors: Vec<FieldError>,
    matches: usize,
}

impl Outcome {
    fn merge(&mut self, other: Outcome) {
        for error in other.errors {
            self.push(error);
        }
        self.matches += other.matches;
    }

    /// Each error is told once.
    fn push(&mut self, error: FieldError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }
}

struct Walk<'a> {
    path: &'a Path,
}

impl Walk<'_> {
    fn field(&self, at: &At<'_>) -> Path {
        match at {
            At::Root => self.path.clone(),
            at => self.path.child(at.text()),
        }
    }

    fn invalid(&self, at: &At<'_>, value: impl Into<Value>, what: impl std::fmt::Display) -> FieldError {
        FieldError::invalid(&self.field(at), value, format!("{} in body {what}", at.text()))
    }

    /// An error without a place of its own.
    fn placeless(&self, what: String) -> FieldError {
        FieldError::invalid(self.path, "", what)
    }

    fn wrong_type(&self, at: &At<'_>, wanted: &str, found: &str) -> FieldError {
        let detail = format!("{} in body must be of type {wanted}: {}", at.text(), quote(found));
        FieldError::type_invalid(&self.field(at), found, detail)
    }

    fn ratcheted(&self, schema: &Structural, value: &Value, old: Option<&Value>, at: &At<'_>, fixed: bool) -> Outcome {
        let mut outcome = self.check(schema, value, old, at);
        if !outcome.errors.is_empty() && !fixed && old.is_some_and(|old| *old == *value) {
            outcome.errors.clear();
        }
        outcome
    }

    fn check(&self, schema: &Structural, value: &Value, old: Option<&Value>, at: &At<'_>) -> Outcome {
        let mut outcome = Outcome::default();
        let wanted = wanted_types(schema);
        let checks = schema.checks.as_deref();
        let format = checks.map_or("", |checks| formats::known(&schema.kind, &checks.format));
        if value.is_null() {
            if !wanted.is_empty() && !schema.nullable {
                outcome.push(self.wrong_type(at, &wanted, "null"));
            } else {
                outcome.matches += 1;
            }
            if let Some(checks) = checks {
                self.one_of_values(checks, value, at, &mut outcome);
            }
            return outcome;
        }
        if !wanted.is_empty() || !format.is_empty() {
            match type_mismatch(schema, &wanted, format, value) {
                Some((wanted, found)) => outcome.push(self.wrong_type(at, wanted, found)),
                None => outcome.matches += 1,
            }
            outcome.matches += 1;
        }
        if let Some(checks) = checks {
            self.alternatives(checks, value, old, at, &mut outcome);
            match value {
                Value::String(text) => {
                    outcome.errors.extend(self.string(checks, text, at));
                    if !format.is_empty() && !formats::matches(format, text) {
                        let detail = format!("{} in body must be of type {format}: {}", at.text(), quote(text));
                        outcome.push(FieldError::type_invalid(&self.field(at), text.as_str(), detail));
                    }
                }
                Value::Number(_) => self.number(schema, checks, value, at, &mut outcome),
                _ => {}
            }
        }
        outcome.matches += 2;
        match value {
            Value::Array(items) => self.list(schema, checks, items, old, at, &mut outcome),
            Value::Object(fields) => self.fields(schema, checks, fields, old, at, &mut outcome),
            _ => {}
        }
        if let Some(checks) = checks {
            self.one_of_values(checks, value, at, &mut outcome);
        }
        outcome.matches += 1;
        outcome
    }

    fn alternatives(&self, checks: &Checks, value: &Value, old: Option<&Value>, at: &At<'_>, outcome: &mut Outcome) {
        let name = || quote(&at.text());
        if !checks.any_of.is_empty() {
            let (valid, best) = self.best(&checks.any_of, value, old, at, true);
            if valid == 0 {
                outcome.push(self.placeless(format!("{} must validate at least one schema (anyOf)", name())));
            }
            outcome.merge(best.unwrap_or_default());
        }
        if !checks.one_of.is_empty() {
            let (valid, best) = self.best(&checks.one_of, value, old, at, false);
            if valid != 1 {
                let found = match valid {
                    0 => "Found none valid".to_owned(),
                    many => format!("Found {many} valid alternatives"),
                };
                outcome
                    .push(self.placeless(format!("{} must validate one and only one schema (oneOf). {found}", name())));
            }
            if valid < 2 {
                outcome.merge(best.unwrap_or_default());
            }
        }
        if !checks.all_of.is_empty() {
            let mut valid = 0;
            for schema in &checks.all_of {
                let result = self.check(schema, value, old, at);
                valid += usize::from(result.errors.is_empty());
                outcome.merge(result);
            }
            if valid != checks.all_of.len() {
                let none = if valid == 0 { ". None validated" } else { "" };
                outcome.push(self.placeless(format!("{} must validate all the schemas (allOf){none}", name())));
            }
        }
        if let Some(not) = &checks.not
            && self.check(not, value, old, at).errors.is_empty()
        {
            outcome.push(self.placeless(format!("{} must not validate the schema (not)", name())));
        }
    }

    /// How many of the schemas are fulfilled (one is enough if `any`), and the first that is, or else the best.
    fn best(
        &self,
        schemas: &[Structural],
        value: &Value,
        old: Option<&Value>,
        at: &At<'_>,
        any: bool,
    ) -> (usize, Option<Outcome>) {
        let (mut valid, mut best): (usize, Option<Outcome>) = (0, None);
        for schema in schemas {
            let result = self.check(schema, value, old, at);
            if result.errors.is_empty() {
                valid += 1;
                if valid == 1 {
                    best = Some(result);
                }
                if any {
                    break;
                }
            } else if valid == 0 && best.as_ref().is_none_or(|best| result.matches > best.matches) {
                best = Some(result);
            }
        }
        (valid, best)
    }

    fn string(&self, checks: &Checks, text: &str, at: &At<'_>) -> Option<FieldError> {
        let length = text.chars().count() as i64;
        if let Some(max) = checks.max_length.filter(|max| length > *max) {
            return Some(FieldError::too_long(&self.field(at), usize::try_from(max).unwrap_or(0)));
        }
        if let Some(min) = checks.min_length.filter(|min| length < *min) {
            return Some(self.invalid(at, text, format_args!("should be at least {min} chars long")));
        }
        let pattern = checks.pattern.as_ref()?;
        match &pattern.regex {
            Ok(regex) if regex.is_match(text) => None,
            Ok(_) => Some(self.invalid(at, text, format_args!("should match '{}'", pattern.text))),
            Err(why) => {
                let what = format!("should match '{}, but pattern is invalid: {why}'", pattern.text);
                Some(self.invalid(at, text, what))
            }
        }
    }

    fn number(&self, schema: &Structural, checks: &Checks, value: &Value, at: &At<'_>, outcome: &mut Outcome) {
        let number = value.as_f64().unwrap_or(0.0);
        if let Some(text) = out_of_range(schema, checks, value, &at.text()) {
            outcome.push(self.placeless(text));
        }
        // Bounds of integers are whole themselves.
        let bound = |bound: f64| if value.is_i64() { bound.trunc() } else { bound };
        if let Some(factor) = checks.multiple_of.map(bound) {
            if factor <= 0.0 {
                let what = format!("factor MultipleOf declared for {} must be positive: {factor}", at.text());
                outcome.push(FieldError::invalid(&self.field(at), value.clone(), what));
            } else if !is_multiple(value, number, factor) {
                outcome.push(self.invalid(at, value.clone(), format_args!("should be a multiple of {factor}")));
            }
        }
        if let Some(min) = checks.minimum.map(bound) {
            let words = match checks.exclusive_minimum {
                true if number <= min => Some("greater than"),
                false if number < min => Some("greater than or equal to"),
                _ => None,
            };
            outcome
                .errors
                .extend(words.map(|words| self.invalid(at, value.clone(), format_args!("should be {words} {min}"))));
        }
        if let Some(max) = checks.maximum.map(bound) {
            let words = match checks.exclusive_maximum {
                true if number >= max => Some("less than"),
                false if number > max => Some("less than or equal to"),
                _ => None,
            };
            outcome
                .errors
                .extend(words.map(|words| self.invalid(at, value.clone(), format_args!("should be {words} {max}"))));
        }
        outcome.matches += 1;
    }

    fn list(
        &self,
        schema: &Structural,
        checks: Option<&Checks>,
        items: &[Value],
        old: Option<&Value>,
        at: &At<'_>,
        outcome: &mut Outcome,
    ) {
        if let Some(below) = schema.items.as_deref() {
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| same_item(schema, old, item));
                outcome.merge(self.ratcheted(below, item, old, &At::Index(at, index), false));
            }
        }
        let Some(checks) = checks else { return };
        let size = items.len() as i64;
        if let Some(min) = checks.min_items.filter(|min| size < *min) {
            outcome.push(self.invalid(at, size, format_args!("should have at least {min} items")));
        }
        if let Some(max) = checks.max_items.filter(|max| size > *max) {
            outcome.push(FieldError::too_many(&self.field(at), items.len(), usize::try_from(max).unwrap_or(0)));
        }
        if checks.unique_items && items.iter().enumerate().any(|(index, item)| items[..index].contains(item)) {
            outcome.push(self.invalid(at, "", "shouldn't contain duplicates"));
        }
        outcome.matches += 1;
    }

    fn fields(
        &self,
        schema: &Structural,
        checks: Option<&Checks>,
        fields: &serde_json::Map<String, Value>,
        old: Option<&Value>,
        at: &At<'_>,
        outcome: &mut Outcome,
    ) {
        let size = fields.len() as i64;
        if let Some(min) = checks.and_then(|checks| checks.min_properties).filter(|min| size < *min) {
            outcome.push(self.invalid(at, size, format_args!("should have at least {min} properties")));
        }
        if let Some(max) = checks.and_then(|checks| checks.max_properties).filter(|max| size > *max) {
            outcome.push(FieldError::too_many(&self.field(at), fields.len(), usize::try_from(max).unwrap_or(0)));
        }
        for (name, value) in fields {
            let below = match (schema.properties.get(name.as_str()), &schema.additional) {
                (Some(property), _) => property,
                (None, Some(Additional::Schema(values))) => values,
                (None, Some(Additional::Any(false))) => {
                    let what = format!("{}.{name} in body is a forbidden property", at.text());
                    outcome.push(FieldError::invalid(&self.field(at), name.as_str(), what));
                    continue;
                }
                (None, _) => continue,
            };
            // Old and new say the same version and kind, whatever they were.
            let fixed = matches!(at, At::Root) && self.path.is_root() && matches!(name.as_str(), "apiVersion" | "kind");
            outcome.merge(self.ratcheted(below, value, old.and_then(|old| old.get(name)), &At::Field(at, name), fixed));
        }
        for name in checks.into_iter().flat_map(|checks| &checks.required) {
            if !fields.contains_key(&**name) {
                outcome.push(FieldError::required(&self.field(&At::Field(at, name)), ""));
            }
        }
    }

    fn one_of_values(&self, checks: &Checks, value: &Value, at: &At<'_>, outcome: &mut Outcome) {
        if checks.values.is_empty() || checks.values.iter().any(|known| same_value(known, value)) {
            return;
        }
        let mut texts: Vec<Cow<'_, str>> = Vec::new();
        for known in &checks.values {
            texts.push(known.as_str().map_or_else(|| Cow::Owned(known.to_string()), Cow::Borrowed));
        }
        outcome.push(FieldError::not_supported(&self.field(at), value.clone(), &texts));
    }
}

/// `integer,string`; empty when every type will do.
fn wanted_types(schema: &Structural) -> Cow<'_, str> {
    if schema.int_or_string { Cow::Borrowed("integer,string") } else { Cow::Borrowed(&schema.kind) }
}

/// What was wanted and what was found, when they differ.
fn type_mismatch<'a>(
    schema: &Structural,
    wanted: &'a str,
    format: &str,
    value: &Value,
) -> Option<(&'a str, &'static str)> {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_number = schema.int_or_string || matches!(&*schema.kind, "integer" | "number");
    if !is_number && !format.is_empty() && (value.is_string() || value.is_array()) {
        return None;
    }
    let fits = wanted.split(',').any(|wanted| match (wanted, found) {
        ("integer", "number") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        ("number", "integer") => true,
        _ => wanted == found,
    });
    (!fits && !wanted.is_empty()).then_some((wanted, found))
}

/// The words for a number that its format cannot hold.
fn out_of_range(schema: &Structural, checks: &Checks, value: &Value, at: &str) -> Option<String> {
    let is_whole = &*schema.kind == "integer";
    let fits = match (&*checks.format, value.as_i64()) {
        ("int32", Some(number)) if is_whole => i32::try_from(number).is_ok(),
        (_, None) if is_whole => value.as_f64().is_some_and(|number| number.abs() < 9.3e18),
        _ => true,
    };
    if fits {
        return None;
    }
    Some(match &*checks.format {
        "" => format!("Checked value must be of type {} (default format) in {at}", schema.kind),
        format => format!("Checked value must be of type {} with format {format} in {at}", schema.kind),
    })
}

fn is_multiple(value: &Value, number: f64, factor: f64) -> bool {
    match value.as_i64() {
        Some(number) if factor >= 1.0 => number % (factor as i64) == 0,
        _ => {
            let times = if factor < 1.0 { 1.0 / factor * number } else { number / factor };
            (times - times.round()).abs() < 1e-9
        }
    }
}

/// Numbers are equal however they are written.
fn same_value(known: &Value, value: &Value) -> bool {
    known == value || known.as_f64().is_some_and(|known| value.as_f64() == Some(known))
}

/// The item of the old list that has the same keys.
fn same_item<'o>(schema: &Structural, old: &'o Value, item: &Value) -> Option<&'o Value> {
    if schema.list_type.as_deref() != Some("map") || schema.list_keys.is_empty() {
        return None;
    }
    let same = |other: &&Value| schema.list_keys.iter().all(|key| other.get(&**key) == item.get(&**key));
    let mut all = old.as_array()?.iter().filter(same);
    let first = all.next()?;
    all.next().is_none().then_some(first)
}
