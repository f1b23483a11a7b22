//! What makes a schema structural: every part has a type outside of alternatives, and alternatives only restrict values.

use serde_json::Value;

use super::Errors;
use crate::{
    crd::structural::{Additional, Checks, NotStructural, Structural},
    field::{FieldError, Path},
};

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural, in order.
pub(crate) fn violations(schema: &Value, path: &Path) -> Result<Errors, NotStructural> {
    Ok(of(&Structural::read(schema)?, path))
}

pub(super) fn of(schema: &Structural, path: &Path) -> Errors {
    let mut errors = Errors::new();
    invariants(schema, Level::Root, path, &mut errors);
    if let Some(checks) = &schema.checks {
        complete(checks, Some(schema), path, path, &mut errors);
    }
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

fn invariants(schema: &Structural, level: Level, path: &Path, errors: &mut Errors) {
    let has_no_type = schema.kind.is_empty();
    match &schema.items {
        None if &*schema.kind == "array" => {
            errors.push(FieldError::required(&path.child("items"), "must be specified"));
        }
        None => {}
        Some(items) => invariants(items, Level::Item, &path.child("items"), errors),
    }
    for (name, property) in &schema.properties {
        invariants(property, Level::Field, &path.child("properties").key(&**name), errors);
    }
    if let Some(additional) = &schema.additional {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&path, "must not be used at the root"));
        }
        if let Additional::Schema(values) = additional {
            invariants(values, Level::Field, &path, errors);
        }
        if schema.embedded {
            errors.push(FieldError::forbidden(&path, "must not be used if x-kubernetes-embedded-resource is set"));
        }
    }
    if schema.int_or_string && schema.preserves_unknown {
        let detail = "must be false if x-kubernetes-int-or-string is true";
        errors.push(FieldError::invalid(&path.child(PRESERVE), true, detail));
    }
    if schema.int_or_string && schema.embedded {
        let detail = "must be false if x-kubernetes-int-or-string is true";
        errors.push(FieldError::invalid(&path.child(EMBEDDED), true, detail));
    }
    if let Some(checks) = &schema.checks {
        let in_first = checks.all_of.first().and_then(|first| first.checks.as_deref());
        let skips = Skips {
            any_of: is_integer_or_string(&checks.any_of),
            first: in_first.is_some_and(|first| is_integer_or_string(&first.any_of)),
        };
        values(checks, skips, level, path, errors);
    }
    let type_path = path.child("type");
    if schema.embedded && &*schema.kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match has_no_type {
            true => FieldError::required(&type_path, detail),
            false => FieldError::invalid(&type_path, &*schema.kind, detail),
        });
    } else if has_no_type && !schema.int_or_string && !schema.preserves_unknown {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&type_path, detail));
    }
    if level == Level::Root && !has_no_type && &*schema.kind != "object" {
        errors.push(FieldError::invalid(&type_path, &*schema.kind, "must be object at the root"));
    }
    let is_resource = level == Level::Root || schema.embedded;
    for name in ["kind", "apiVersion"] {
        let Some(property) = schema.properties.get(name).filter(|_| is_resource) else { continue };
        if &*property.kind != "string" {
            let path = path.child("properties").key(name).child("type");
            errors.push(FieldError::invalid(&path, &*property.kind, "must be string"));
        }
    }
    if let Some(metadata) = schema.properties.get("metadata").filter(|_| is_resource) {
        metadata_invariants(metadata, level, &path.child("properties").key("metadata"), errors);
    }
    if schema.embedded && !schema.preserves_unknown && schema.properties.is_empty() {
        let detail =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(&path.child("properties"), detail));
    }
}

fn metadata_invariants(metadata: &Structural, level: Level, path: &Path, errors: &mut Errors) {
    if &*metadata.kind != "object" {
        errors.push(FieldError::invalid(&path.child("type"), &*metadata.kind, "must be object"));
    }
    let only_names = metadata.properties.keys().all(|name| matches!(&**name, "name" | "generateName"));
    let rest = Structural {
        kind: "".into(),
        default: None,
        properties: Default::default(),
        defaults: false,
        embeds: false,
        keyed_lists: false,
        ..metadata.clone()
    };
    if level == Level::Root && !(only_names && rest == Structural::default()) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(path, detail));
    }
}

/// The two ways in which an int-or-string may say what it is.
#[derive(Clone, Copy, Default)]
struct Skips {
    any_of: bool,
    first: bool,
}

fn is_integer_or_string(any_of: &[Structural]) -> bool {
    let only = |kind: &str| Structural { kind: kind.into(), ..Structural::default() };
    matches!(any_of, [first, second] if *first == only("integer") && *second == only("string"))
}

fn values(checks: &Checks, skips: Skips, level: Level, path: &Path, errors: &mut Errors) {
    if !skips.any_of {
        for (index, part) in checks.any_of.iter().enumerate() {
            nested(part, Skips::default(), level, &path.child("anyOf").index(index), errors);
        }
    }
    for (index, part) in checks.all_of.iter().enumerate() {
        let skips = Skips { any_of: skips.first && index == 0, first: false };
        nested(part, skips, level, &path.child("allOf").index(index), errors);
    }
    for (index, part) in checks.one_of.iter().enumerate() {
        nested(part, Skips::default(), level, &path.child("oneOf").index(index), errors);
    }
    if let Some(not) = &checks.not {
        nested(not, Skips::default(), level, &path.child("not"), errors);
    }
    if let Some(pattern) = &checks.pattern
        && let Err(why) = &pattern.regex
    {
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(FieldError::invalid(&path.child("pattern"), &*pattern.text, detail));
    }
}

/// A schema among alternatives.
fn nested(schema: &Structural, skips: Skips, level: Level, path: &Path, errors: &mut Errors) {
    if let Some(checks) = &schema.checks {
        values(checks, skips, level, path, errors);
    }
    if let Some(items) = &schema.items {
        nested(items, Skips::default(), level, &path.child("items"), errors);
    }
    for (name, property) in &schema.properties {
        nested(property, Skips::default(), Level::Field, &path.child("properties").key(&**name), errors);
    }
    let says_additional = !matches!(schema.additional, None | Some(Additional::Any(false)));
    let forbidden = [
        (!schema.kind.is_empty(), "type", "must be empty to be structural"),
        (says_additional, "additionalProperties", "must be undefined to be structural"),
        (schema.default.is_some(), "default", "must be undefined to be structural"),
        (schema.has_title, "title", "must be empty to be structural"),
        (schema.has_description, "description", "must be empty to be structural"),
        (schema.nullable, "nullable", "must be false to be structural"),
        (schema.preserves_unknown, PRESERVE, "must be false to be structural"),
        (schema.embedded, EMBEDDED, "must be false to be structural"),
        (schema.int_or_string, "x-kubernetes-int-or-string", "must be false to be structural"),
        (!schema.list_keys.is_empty(), "x-kubernetes-list-map-keys", "must be empty to be structural"),
        (schema.list_type.is_some(), "x-kubernetes-list-type", "must be undefined to be structural"),
        (schema.map_type.is_some(), "x-kubernetes-map-type", "must be undefined to be structural"),
        (schema.has_rules, "x-kubernetes-validations", "must be empty to be structural"),
    ];
    for (_, field, detail) in forbidden.into_iter().filter(|(is_said, _, _)| *is_said) {
        errors.push(FieldError::forbidden(&path.child(field), detail));
    }
    if schema.properties.contains_key("metadata") {
        let path = path.child("properties").key("metadata");
        errors.push(FieldError::forbidden(&path, "must not be specified in a nested context"));
    }
}

/// Every part that alternatives restrict is there outside of them.
fn complete(checks: &Checks, schema: Option<&Structural>, at: &Path, from: &Path, errors: &mut Errors) {
    let mut part = |part: &Structural, from: Path| complete_nested(part, schema, at, &from, errors);
    if let Some(not) = &checks.not {
        part(not, from.child("not"));
    }
    for (group, parts) in [("allOf", &checks.all_of), ("anyOf", &checks.any_of), ("oneOf", &checks.one_of)] {
        for (index, one) in parts.iter().enumerate() {
            part(one, from.child(group).index(index));
        }
    }
}

fn complete_nested(part: &Structural, schema: Option<&Structural>, at: &Path, from: &Path, errors: &mut Errors) {
    let because = |from: &Path| format!("because it is defined in {from}");
    let Some(known) = schema else {
        errors.push(FieldError::required(at, because(from)));
        return;
    };
    if let Some(checks) = &part.checks {
        complete(checks, schema, at, from, errors);
    }
    if let Some(items) = &part.items {
        complete_nested(items, known.items.as_deref(), &at.child("items"), &from.child("items"), errors);
    }
    for (name, property) in &part.properties {
        let (at, from) = (at.child("properties").key(&**name), from.child("properties").key(&**name));
        complete_nested(property, known.properties.get(name), &at, &from, errors);
    }
}
