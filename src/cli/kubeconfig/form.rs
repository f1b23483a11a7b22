//! The form of a kubeconfig: as it is written, as it is shown, self-contained.

use super::{LISTS, find};
use anyhow::{Result, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use std::fs;

/// Fields that are written even when they are empty.
fn is_kept(inner: &str, field: &str) -> bool {
    matches!((inner, field), ("cluster", "server") | ("context", "cluster" | "user"))
}

/// A kubeconfig as kubectl writes it: lists sorted, empty fields left out, empty lists null.
pub(crate) fn normal(config: &Value) -> Value {
    let mut normal = config.clone();
    for (list, inner) in LISTS {
        let mut entries = normal[list].as_array().cloned().unwrap_or_default();
        entries.sort_by_key(|entry| entry["name"].as_str().unwrap_or_default().to_owned());
        for entry in &mut entries {
            normalize(&mut entry[inner], inner);
        }
        normal[list] = if entries.is_empty() { Value::Null } else { entries.into() };
    }
    if let Some(map) = normal.as_object_mut() {
        map.retain(|field, value| match field.as_str() {
            "preferences" | "extensions" => !is_empty(value),
            _ => true,
        });
        map.entry("apiVersion").or_insert_with(|| "v1".into());
        map.entry("kind").or_insert_with(|| "Config".into());
        map.entry("current-context").or_insert_with(|| "".into());
    }
    normal
}

fn normalize(content: &mut Value, inner: &str) {
    if !content.is_object() {
        *content = json!({});
    }
    if let Some(map) = content.as_object_mut() {
        map.retain(|field, value| is_kept(inner, field) || !is_empty(value));
    }
    match inner {
        "cluster" => default_text(content, "server"),
        "context" => ["cluster", "user"].into_iter().for_each(|field| default_text(content, field)),
        _ => {
            if let Some(exec) = content.get_mut("exec").and_then(Value::as_object_mut) {
                for field in ["args", "env"] {
                    exec.entry(field).or_insert(Value::Null);
                }
                exec.entry("provideClusterInfo").or_insert(false.into());
            }
        }
    }
}

fn default_text(content: &mut Value, field: &str) {
    if content[field].is_null() {
        content[field] = "".into();
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}

/// Keeps what the current context uses.
pub(crate) fn minify(config: &mut Value) -> Result<()> {
    let current = config["current-context"].as_str().unwrap_or_default().to_owned();
    if current.is_empty() {
        bail!("current-context must exist in order to minify");
    }
    let Some(entry) = find(config, "contexts", &current).cloned() else { bail!("cannot locate context {current}") };
    for (list, field) in [("clusters", "cluster"), ("users", "user")] {
        let name = entry["context"][field].as_str().unwrap_or_default();
        let kept = match find(config, list, name) {
            _ if name.is_empty() => json!([]),
            Some(entry) => json!([entry]),
            None => bail!("cannot locate {field} {name}"),
        };
        config[list] = kept;
    }
    config["contexts"] = json!([entry]);
    Ok(())
}

/// Replaces what nobody should see over a shoulder.
pub(crate) fn redact(config: &mut Value) {
    let hidden = [
        ("clusters", "cluster", "certificate-authority-data", "DATA+OMITTED"),
        ("users", "user", "client-certificate-data", "DATA+OMITTED"),
        ("users", "user", "client-key-data", "DATA+OMITTED"),
        ("users", "user", "token", "REDACTED"),
        ("users", "user", "password", "REDACTED"),
    ];
    for (list, inner, field, shown) in hidden {
        for entry in config[list].as_array_mut().into_iter().flatten() {
            if let Some(value) = entry[inner].get_mut(field).filter(|value| !is_empty(value)) {
                *value = shown.into();
            }
        }
    }
}

/// Replaces the paths of certificates and keys by what is in the files.
pub(crate) fn embed(config: &mut Value) -> Result<()> {
    let paths = [
        ("clusters", "cluster", "certificate-authority"),
        ("users", "user", "client-certificate"),
        ("users", "user", "client-key"),
    ];
    for (list, inner, field) in paths {
        for entry in config[list].as_array_mut().into_iter().flatten() {
            let Some(content) = entry[inner].as_object_mut() else { continue };
            let data = format!("{field}-data");
            let Some(path) = content.remove(field).and_then(|path| path.as_str().map(str::to_owned)) else { continue };
            if path.is_empty() {
                continue;
            }
            if content.get(&data).is_some_and(|data| !is_empty(data)) {
                bail!("cannot have values for both path and contents");
            }
            let bytes = fs::read(&path).map_err(|error| anyhow!("open {path}: {}", io_text(&error)))?;
            content.insert(data, BASE64_STANDARD.encode(bytes).into());
        }
    }
    Ok(())
}

/// Go's words for the errors of files that users meet.
pub(crate) fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Sets a field of an entry, or takes it away when there is nothing to set.
pub(crate) fn set_field(content: &mut Value, field: &str, value: impl Into<Value>) {
    let value = value.into();
    if !content.is_object() {
        *content = Value::Object(Map::new());
    }
    if let Some(map) = content.as_object_mut() {
        if is_empty(&value) {
            map.remove(field);
        } else {
            map.insert(field.to_owned(), value);
        }
    }
}
