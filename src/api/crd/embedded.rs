//! `apiVersion`, `kind` and `metadata`, of the object itself and of objects embedded in it: what they must look like.

use serde_json::{Map, Value};

use super::structural::Structural;
use crate::{
    at,
    field::{FieldError, Path},
    meta, names,
    rules::{self, GENERIC, Rules, Scope},
    schema::{self, DecodeError, Schema},
};

fn object_meta() -> &'static Schema {
    schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("metadata has a built-in schema")
}

/// Brings the metadata of an object into its canonical form; the paths of what it may not contain. What is malformed is
/// an error, unless it is `dropped`.
pub(super) fn coerce_root(object: &mut Value, dropped: bool) -> Result<Vec<String>, DecodeError> {
    let Some(metadata) = object.get_mut("metadata") else { return Ok(Vec::new()) };
    match object_meta().decode(metadata) {
        Ok(unknown) => Ok(unknown.into_iter().map(|path| format!("metadata.{path}")).collect()),
        Err(error) if !dropped => Err(error),
        Err(_) => {
            let fields = metadata.as_object().cloned().unwrap_or_default();
            *metadata = Value::Object(well_formed(fields));
            Ok(Vec::new())
        }
    }
}

fn well_formed(fields: Map<String, Value>) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in fields {
        let mut alone = Value::Object(Map::from_iter([(name, value)]));
        if object_meta().decode(&mut alone).is_ok()
            && let Value::Object(alone) = alone
        {
            kept.extend(alone);
        }
    }
    kept
}

/// The same for all embedded objects.
pub(super) fn coerce(
    schema: &Structural,
    object: &mut Value,
    unknown: &mut Vec<String>,
    dropped: bool,
) -> Result<(), DecodeError> {
    if !schema.embeds {
        return Ok(());
    }
    let mut found = Vec::new();
    coerce_below(schema, object, &Path::root(), &mut found, dropped)?;
    found.sort();
    unknown.append(&mut found);
    Ok(())
}

fn coerce_below(
    schema: &Structural,
    value: &mut Value,
    path: &Path,
    unknown: &mut Vec<String>,
    dropped: bool,
) -> Result<(), DecodeError> {
    match value {
        Value::Object(_) => {
            if schema.embedded {
                coerce_embedded(value, path, unknown, dropped)?;
            }
            let Value::Object(fields) = value else { return Ok(()) };
            for (name, value) in fields {
                let below = if schema.properties.contains_key(name.as_str()) {
                    path.child(name.clone())
                } else {
                    path.key(name.clone())
                };
                if let Some(property) = schema.field(name).filter(|property| property.embeds) {
                    coerce_below(property, value, &below, unknown, dropped)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref().filter(|schema| schema.embeds) else { return Ok(()) };
            for (index, item) in items.iter_mut().enumerate() {
                coerce_below(schema, item, &path.index(index), unknown, dropped)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn coerce_embedded(
    value: &mut Value,
    path: &Path,
    unknown: &mut Vec<String>,
    dropped: bool,
) -> Result<(), DecodeError> {
    for field in ["apiVersion", "kind"] {
        match value.get(field) {
            None | Some(Value::String(_)) => {}
            Some(_) if dropped => at::remove(value, field),
            Some(other) => {
                let error = FieldError::invalid(&path.child(field), other.clone(), "must be a string");
                return Err(DecodeError::Embedded(error.to_string()));
            }
        }
    }
    let metadata = value.get("metadata").cloned();
    match coerce_root(value, dropped) {
        Ok(found) => {
            unknown.extend(found.into_iter().map(|name| format!("{path}.{name}")));
            Ok(())
        }
        Err(error) => {
            let shown = metadata.unwrap_or_default();
            let error = FieldError::invalid(&path.child("metadata"), shown, error.to_string());
            Err(DecodeError::Embedded(error.to_string()))
        }
    }
}

/// What is wrong with the embedded objects, and with the object itself when it is a `resource`.
pub(super) fn validate(schema: &Structural, value: &Value, path: &Path, resource: bool, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) if resource || schema.embeds => {
            if resource || schema.embedded {
                validate_embedded(value, path, errors);
            }
            for (name, value) in fields {
                let Some(property) = schema.field(name).filter(|property| property.embeds) else { continue };
                let below = match schema.properties.contains_key(name.as_str()) {
                    true => path.child(name.clone()),
                    false => path.key(name.clone()),
                };
                validate(property, value, &below, false, errors);
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref().filter(|schema| schema.embeds) else { return };
            for (index, item) in items.iter().enumerate() {
                validate(schema, item, &path.index(index), false, errors);
            }
        }
        _ => {}
    }
}

static EMBEDDED: Rules = Rules { name: names::NameRule::PathSegment, ..GENERIC };

fn validate_embedded(value: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    for field in ["apiVersion", "kind"] {
        let path = path.child(field);
        match value.get(field) {
            None => errors.push(FieldError::required(&path, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(&path, "", "must not be empty"));
            }
            Some(Value::String(text)) if field == "kind" => {
                let wrong = names::dns1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    errors.push(FieldError::invalid(&path, text.as_str(), detail));
                }
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => {
                let detail = format!("unexpected GroupVersion string: {text}");
                errors.push(FieldError::invalid(&path, text.as_str(), detail));
            }
            Some(Value::String(_)) => {}
            Some(other) => errors.push(FieldError::invalid(&path, other.clone(), "must be a string")),
        }
    }
    let Some(metadata) = value.get("metadata") else { return };
    let mut checked = Value::Object(Map::from_iter([("metadata".to_owned(), metadata.clone())]));
    if let Err(error) = coerce_root(&mut checked, false) {
        errors.push(FieldError::invalid(&path.child("metadata"), metadata.clone(), error.to_string()));
        return;
    }
    if meta::name(&checked).is_empty() {
        meta::set_name(&mut checked, "fakename");
    }
    let scope = if meta::namespace(&checked).is_empty() { Scope::Cluster } else { Scope::Namespaced };
    for mut error in rules::meta::validate(&checked, &Rules { scope, ..EMBEDDED }) {
        if !path.is_root() {
            error.field = format!("{path}.{}", error.field);
        }
        errors.push(error);
    }
}
