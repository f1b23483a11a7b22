//! Defaults are values of their schema, have no field that would be dropped, and keep the rules in CEL.

use serde_json::Value;

use super::Errors;
use crate::{
    at::{get, map},
    cel,
    crd::{
        conform,
        structural::{Additional, Structural},
        validate as values,
    },
    field::{FieldError, Path},
};

/// Checks the defaults of a whole kind.
pub(super) fn validate(schema: &Structural, path: &Path, pruned: bool, errors: &mut Errors) {
    Walk { pruned, in_meta: false }.schema(schema, path, true, errors);
}

/// Holds the defaults of a kind, whose rules compile, to the rules that stand beside and below them.
pub(super) fn keep_rules(schema: &Value, path: &Path, errors: &mut Errors) {
    if let Some(default) = get(schema, "default")
        && let Some(rules) = cel::rules::Rules::compile(schema)
    {
        errors.append(&mut rules.validate(&path.child("default"), default, None).errors);
    }
    // There are no defaults below additionalProperties.
    if let Some(items) = get(schema, "items") {
        keep_rules(items, &path.child("items"), errors);
    }
    for (name, property) in map(schema, "properties") {
        keep_rules(property, &path.child("properties").key(name.clone()), errors);
    }
}

/// Whether no default has a field that is dropped.
pub(super) fn are_pruned(schema: &Structural) -> bool {
    !schema.any(&|schema| schema.default.is_some() && !is_pruned(schema))
}

fn is_pruned(schema: &Structural) -> bool {
    let Some(default) = &schema.default else { return true };
    let mut pruned = default.clone();
    conform::prune_value(schema, &mut pruned);
    pruned == *default
}

#[derive(Clone, Copy)]
struct Walk {
    pruned: bool,
    /// Below the type or metadata of an object.
    in_meta: bool,
}

impl Walk {
    fn schema(self, schema: &Structural, path: &Path, is_root: bool, errors: &mut Errors) {
        if !schema.defaults {
            return;
        }
        let is_resource = is_root || schema.embedded;
        let here = Walk { in_meta: self.in_meta && !is_resource, ..self };
        if let Some(default) = &schema.default {
            here.value(schema, default, &path.child("default"), errors);
        }
        if let Some(items) = &schema.items {
            here.schema(items, &path.child("items"), false, errors);
        }
        for (name, property) in &schema.properties {
            let is_meta = is_resource && matches!(&**name, "metadata" | "apiVersion" | "kind");
            let below = Walk { in_meta: here.in_meta || is_meta, ..here };
            below.schema(property, &path.child("properties").key(&**name), false, errors);
        }
        if let Some(Additional::Schema(below)) = &schema.additional {
            here.schema(below, &path.child("additionalProperties"), false, errors);
        }
    }

    fn value(self, schema: &Structural, default: &Value, path: &Path, errors: &mut Errors) {
        if !self.in_meta && self.pruned && !is_pruned(schema) {
            errors.push(FieldError::invalid(path, default.clone(), "must not have unknown fields"));
        }
        let mut found = if self.in_meta { Errors::new() } else { values::resource(schema, default, path, false) };
        if found.is_empty() {
            found = values::value(schema, default, None, path);
        }
        errors.append(&mut found);
    }
}
