//! What `openAPIV3Schema` may say, keyword by keyword.

use serde_json::Value;

use super::{Errors, defaults, shape, spec::Requirements};
use crate::{
    at::{flag, get, has, list, map, maybe_text, text, texts},
    cel,
    crd::{Structural, formats},
    field::{FieldError, Path},
};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What may stand at the root beside a status subresource, whose schema is taken from below the root.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

/// Checks a `CustomResourceValidation`.
pub(super) fn validate(
    validation: &Value,
    has_status: bool,
    requirements: &Requirements,
    path: &Path,
    errors: &mut Errors,
) {
    let Some(root) = get(validation, "openAPIV3Schema") else { return };
    let path = path.child("openAPIV3Schema");
    let before = errors.len();
    if has_status {
        validate_root(root, &path, errors);
    }
    if flag(root, "nullable") == Some(true) {
        errors.push(FieldError::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
    let mut unreadable = None;
    if requirements.structural {
        match Structural::read(root) {
            Err(error) => unreadable = Some(FieldError::invalid(&path, "", error.to_string())),
            Ok(schema) => {
                let found = shape::of(&schema, &path);
                if found.is_empty() {
                    defaults::validate(&schema, &path, requirements.pruned_defaults, errors);
                }
                errors.extend(found);
            }
        }
    }
    let walk = Walk { requirements, forbidden: None, in_meta: false, is_root: true };
    walk.schema(root, &path, errors);
    if errors.len() > before {
        return;
    }
    match unreadable {
        Some(error) => errors.push(error),
        None if requirements.structural => {
            errors.append(&mut cel::rules::check(root, &path));
            if errors.len() == before {
                defaults::keep_rules(root, &path, errors);
            }
        }
        None => {}
    }
}

fn validate_root(root: &Value, path: &Path, errors: &mut Errors) {
    let kind = text(root, "type");
    if !kind.is_empty() && kind != "object" {
        let detail =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(FieldError::invalid(&path.child("type"), kind, detail));
        return;
    }
    let is_allowed = |name: &str| AT_ROOT.iter().any(|(allowed, _)| *allowed == name);
    if root.as_object().into_iter().flatten().any(|(name, _)| !is_allowed(name)) {
        let names: Vec<&str> = AT_ROOT.iter().map(|(_, shown)| *shown).collect();
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errors.push(FieldError::invalid(path, root.clone(), detail));
    }
}

/// What holds where the walk is.
#[derive(Clone, Copy)]
struct Walk<'a> {
    requirements: &'a Requirements,
    /// Why there may be no default here.
    forbidden: Option<&'a str>,
    /// This describes type or metadata of an object.
    in_meta: bool,
    is_root: bool,
}

impl Walk<'_> {
    fn schema(&self, schema: &Value, path: &Path, errors: &mut Errors) {
        if !schema.is_object() {
            return;
        }
        self.keywords(schema, path, errors);
        if flag(schema, "uniqueItems") == Some(true) {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            errors.push(FieldError::forbidden(&path.child("uniqueItems"), detail));
        }
        let below = Walk { is_root: false, ..*self };
        if let Some(additional) = get(schema, "additionalProperties") {
            let path = path.child("additionalProperties");
            if !map(schema, "properties").is_empty() && *additional != true {
                let detail = "additionalProperties and properties are mutual exclusive";
                errors.push(FieldError::forbidden(&path, detail));
            }
            let why = "inside additionalProperties applying to object metadata";
            let below = if self.in_meta { Walk { forbidden: Some(why), ..below } } else { below };
            below.schema(additional, &path, errors);
        }
        let is_resource = self.is_root || flag(schema, "x-kubernetes-embedded-resource") == Some(true);
        for (name, property) in map(schema, "properties") {
            let path = path.child("properties").key(name.clone());
            let is_meta = is_resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
            let why = format!("in top-level {name}");
            let mut below = Walk { in_meta: self.in_meta || is_meta, ..below };
            if is_meta && self.is_root {
                below.forbidden = Some(&why);
            }
            below.schema(property, &path, errors);
        }
        if let Some(not) = get(schema, "not") {
            below.schema(not, &path.child("not"), errors);
        }
        for group in ["allOf", "oneOf", "anyOf"] {
            for (index, part) in list(schema, group).iter().enumerate() {
                below.schema(part, &path.child(group).index(index), errors);
            }
        }
        for (name, part) in map(schema, "definitions") {
            below.schema(part, &path.child("definitions").key(name.clone()), errors);
        }
        match get(schema, "items") {
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    below.schema(item, &path.child("items").index(index), errors);
                }
            }
            Some(items) => below.schema(items, &path.child("items"), errors),
            None => {}
        }
        for (name, part) in map(schema, "dependencies") {
            below.schema(part, &path.child("dependencies").key(name.clone()), errors);
        }
        extensions(schema, path, errors);
        if self.requirements.atomic_sets {
            set_items(schema, path, errors);
        }
        keyed_lists(schema, path, errors);
        if self.requirements.map_keys {
            keyed_items(schema, path, errors);
        }
    }

    /// Keywords that have no meaning here, or not in this place.
    fn keywords(&self, schema: &Value, path: &Path, errors: &mut Errors) {
        let mut forbid = |field: &str, detail: String| {
            errors.push(FieldError::forbidden(&path.child(field.to_owned()), detail));
        };
        let kind = text(schema, "type");
        if has(schema, "default")
            && let Some(why) = self.forbidden
        {
            forbid("default", format!("must not be set {why}"));
        }
        if !text(schema, "id").is_empty() {
            forbid("id", "id is not supported".into());
        }
        if has(schema, "additionalItems") {
            forbid("additionalItems", "additionalItems is not supported".into());
        }
        for field in ["patternProperties", "definitions", "dependencies"] {
            if !map(schema, field).is_empty() {
                forbid(field, format!("{field} is not supported"));
            }
        }
        if has(schema, "$ref") {
            forbid("$ref", "$ref is not supported".into());
        }
        if kind == "null" {
            forbid("type", "type cannot be set to null, use nullable as an alternative".into());
        }
        if matches!(get(schema, "items"), Some(Value::Array(items)) if !items.is_empty()) {
            forbid("items", "items must be a schema object and not an array".into());
        }
        if self.in_meta && flag(schema, "x-kubernetes-embedded-resource") == Some(true) {
            forbid("x-kubernetes-embedded-resource", "must not be used inside of resource meta".into());
        }
        if self.requirements.valid_types && !kind.is_empty() && !TYPES.contains(&kind) {
            errors.push(FieldError::not_supported(&path.child("type"), kind, &TYPES));
        }
    }
}

/// The type a list or map type stands on.
fn needs_type(schema: &Value, keyword: &'static str, wanted: &str, path: &Path, errors: &mut Errors) -> bool {
    let kind = text(schema, "type");
    let detail = format!("must be {wanted} if {keyword} is specified");
    match kind {
        kind if kind == wanted => return true,
        "" => errors.push(FieldError::required(&path.child("type"), detail)),
        kind => errors.push(FieldError::invalid(&path.child("type"), kind, detail)),
    }
    false
}

fn extensions(schema: &Value, path: &Path, errors: &mut Errors) {
    const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
    const MAP: &str = "x-kubernetes-map-type";
    const LIST: &str = "x-kubernetes-list-type";
    if flag(schema, PRESERVE) == Some(false) {
        errors.push(FieldError::invalid(&path.child(PRESERVE), false, "must be true or undefined"));
    }
    if let Some(kind) = maybe_text(schema, MAP) {
        needs_type(schema, MAP, "object", path, errors);
        if !matches!(kind, "atomic" | "granular") {
            errors.push(FieldError::not_supported(&path.child(MAP), kind, &["atomic", "granular"]));
        }
    }
    if let Some(kind) = maybe_text(schema, LIST) {
        needs_type(schema, LIST, "array", path, errors);
        if !matches!(kind, "atomic" | "set" | "map") {
            errors.push(FieldError::not_supported(&path.child(LIST), kind, &["atomic", "set", "map"]));
        }
    }
}

/// The items of a set are one value each.
pub(super) fn set_items(schema: &Value, path: &Path, errors: &mut Errors) {
    let Some(items) = get(schema, "items").filter(|items| items.is_object()) else { return };
    if text(schema, "x-kubernetes-list-type") != "set" || text(schema, "type") != "array" {
        return;
    }
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = maybe_text(items, "x-kubernetes-list-type");
    let shown = || list_type.map_or(Value::Null, Value::from);
    let path = path.child("items");
    match text(items, "type") {
        "array" if list_type.is_some_and(|kind| kind != "atomic") => {
            errors.push(FieldError::invalid(&path.child("x-kubernetes-list-type"), shown(), detail));
        }
        "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
            errors.push(FieldError::invalid(&path.child("x-kubernetes-map-type"), shown(), detail));
        }
        _ => {}
    }
}

/// The keys of a list that is a map.
fn keyed_lists(schema: &Value, path: &Path, errors: &mut Errors) {
    let (list_type, keys_path) = (path.child("x-kubernetes-list-type"), path.child("x-kubernetes-list-map-keys"));
    let kind = maybe_text(schema, "x-kubernetes-list-type");
    let keys: Vec<&str> = texts(schema, "x-kubernetes-list-map-keys").collect();
    let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
    match kind {
        _ if keys.is_empty() => {}
        None => errors.push(FieldError::required(&list_type, detail)),
        Some("map") => {}
        Some(other) => errors.push(FieldError::invalid(&list_type, other, detail)),
    }
    if kind != Some("map") {
        return;
    }
    if keys.is_empty() {
        errors.push(FieldError::required(&keys_path, "must not be empty if x-kubernetes-list-type is map"));
    }
    let items_path = path.child("items");
    let items = match get(schema, "items") {
        None => {
            errors.push(FieldError::required(&items_path, "must have a schema if x-kubernetes-list-type is map"));
            return;
        }
        Some(items @ Value::Array(_)) => {
            let detail = "must only have a single schema if x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(&items_path, items.clone(), detail));
            return;
        }
        Some(items) => items,
    };
    if text(items, "type") != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(&items_path.child("type"), text(items, "type"), detail));
        return;
    }
    for (at, key) in keys.iter().enumerate() {
        match map(items, "properties").get(*key) {
            Some(property) if matches!(text(property, "type"), "array" | "object") => {
                let path = items_path.child("properties").key(*key).child("type");
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(&path, text(items, "type"), detail));
            }
            Some(_) => {}
            None => {
                let detail = "entries must all be names of item properties";
                errors.push(FieldError::invalid(&keys_path, keys.clone(), detail));
            }
        }
        if keys[..at].contains(key) {
            errors.push(FieldError::invalid(&keys_path, keys.clone(), "must not contain duplicate entries"));
        }
    }
}

/// What tells items apart is always there.
pub(super) fn keyed_items(schema: &Value, path: &Path, errors: &mut Errors) {
    let Some(items) = get(schema, "items").filter(|items| items.is_object()) else { return };
    let kind = text(schema, "x-kubernetes-list-type");
    if !matches!(kind, "set" | "map") {
        return;
    }
    let path = path.child("items");
    if flag(items, "nullable") == Some(true) {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.push(FieldError::forbidden(&path.child("nullable"), detail));
    }
    if kind == "set" {
        return;
    }
    for key in texts(schema, "x-kubernetes-list-map-keys") {
        let Some(property) = map(items, "properties").get(key) else { continue };
        let path = path.child("properties").key(key);
        if !texts(items, "required").any(|name| name == key) && !has(property, "default") {
            let detail =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(&path.child("default"), detail));
        }
        if flag(property, "nullable") == Some(true) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(&path.child("nullable"), detail));
        }
    }
}

/// Whether some schema, here, below or among alternatives, is as asked.
pub(super) fn any(schema: &Value, what: &dyn Fn(&Value) -> bool) -> bool {
    if !schema.is_object() {
        return false;
    }
    let items = match get(schema, "items") {
        Some(Value::Array(items)) => items.iter().any(|item| any(item, what)),
        Some(items) => any(items, what),
        None => false,
    };
    let one = |field: &str| get(schema, field).is_some_and(|part| any(part, what));
    let listed = |field: &str| list(schema, field).iter().any(|part| any(part, what));
    let mapped = |field: &str| map(schema, field).values().any(|part| any(part, what));
    what(schema)
        || items
        || ["allOf", "anyOf", "oneOf"].into_iter().any(listed)
        || ["not", "additionalProperties", "additionalItems"].into_iter().any(one)
        || ["properties", "patternProperties", "definitions", "dependencies"].into_iter().any(mapped)
}

/// Whether a schema uses what only structural schemas may.
pub(super) fn has_extensions(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-embedded-resource") == Some(true)
        || has(schema, "x-kubernetes-preserve-unknown-fields")
        || flag(schema, "x-kubernetes-int-or-string") == Some(true)
        || !list(schema, "x-kubernetes-list-map-keys").is_empty()
        || has(schema, "x-kubernetes-list-type")
        || !list(schema, "x-kubernetes-validations").is_empty()
}

/// Formats that nothing is checked for.
pub(super) fn unknown_formats(schema: &Value, found: &mut Vec<String>) {
    let seen = std::cell::RefCell::new(Vec::new());
    any(schema, &|schema| {
        let format = text(schema, "format");
        if !format.is_empty() && formats::known(text(schema, "type"), format).is_empty() {
            seen.borrow_mut().push(format.to_owned());
        }
        false
    });
    found.append(&mut seen.into_inner());
}
