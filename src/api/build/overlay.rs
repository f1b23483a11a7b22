//! Completes the generated schemas with the two tables of `schema/`: what they say becomes ordinary schema keywords,
//! except for two extensions the loader reads and OpenAPI never shows: `x-go` (pointer, always, omit-zero marks and the Go
//! type) and `x-default` (defaults set in code).

use std::error::Error;

use serde_json::{Map, Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
pub(crate) type Definitions = Map<String, Value>;

/// Applies `overlay.txt`.
pub(crate) fn overlay(definitions: &mut Definitions, table: &str) -> Result<()> {
    for (head, properties) in blocks(table) {
        let mut words = head.split(' ');
        let name = full_name(words.next().unwrap_or_default());
        let definition = object(definitions.get_mut(&name), &name)?;
        if definition.contains_key("x-seen") {
            return Err(format!("{name} stands twice in the overlay").into());
        }
        definition.insert("x-seen".into(), json!(true));
        for word in words {
            mark_definition(definition, word)?;
        }
        fill_value_structs(definition);
        for line in properties {
            let (property, marks) = line.split_once(' ').unwrap_or((line, ""));
            let schema = definition.get_mut("properties").and_then(|all| all.get_mut(property));
            let schema = object(schema, &format!("{name}.{property}"))?;
            for mark in marks.split(' ').filter(|mark| !mark.is_empty()) {
                mark_property(schema, mark)?;
            }
        }
        zero_defaults(definition);
    }
    for definition in definitions.values_mut().filter_map(Value::as_object_mut) {
        definition.remove("x-seen");
    }
    Ok(())
}

/// Applies `defaults.txt`.
pub(crate) fn defaults(definitions: &mut Definitions, table: &str) -> Result<()> {
    for (head, properties) in blocks(table) {
        let name = full_name(head);
        let definition = object(definitions.get_mut(&name), &name)?;
        for line in properties {
            let (property, default) = line.split_once(' ').ok_or("a default has a name and a value")?;
            let schema = definition.get_mut("properties").and_then(|all| all.get_mut(property));
            let schema = object(schema, &format!("{name}.{property}"))?;
            schema.insert("x-default".into(), serde_json::from_str(default)?);
        }
    }
    Ok(())
}

/// The blocks of a table: a head and the indented lines below it.
fn blocks(table: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("  "), blocks.last_mut()) {
            (Some(line), Some((_, lines))) => lines.push(line),
            _ => blocks.push((line, Vec::new())),
        }
    }
    blocks
}

fn full_name(short: &str) -> String {
    format!("io.k8s.{short}")
}

fn object<'a>(value: Option<&'a mut Value>, what: &str) -> Result<&'a mut Map<String, Value>> {
    value.and_then(Value::as_object_mut).ok_or_else(|| format!("the tables name {what}, but no type has it").into())
}

fn mark_definition(definition: &mut Map<String, Value>, mark: &str) -> Result<()> {
    if let Some(gvk) = mark.strip_prefix("gvk=") {
        let parts: Vec<&str> = gvk.split('/').collect();
        let [group, version, kind] = parts[..] else { return Err(format!("bad gvk {gvk}").into()) };
        definition.insert(
            "x-kubernetes-group-version-kind".into(),
            json!([{ "group": group, "version": version, "kind": kind }]),
        );
        require(definition, "metadata", false);
    } else if let Some(kind) = mark.strip_prefix('@') {
        definition.insert("x-kubernetes-map-type".into(), json!(kind));
    } else if let Some(unions) = mark.strip_prefix("union=") {
        definition.insert("x-kubernetes-unions".into(), serde_json::from_str(unions)?);
    } else if let Some(field) = mark.strip_prefix('-') {
        require(definition, field, false);
    } else if let Some(field) = mark.strip_prefix('+') {
        require(definition, field, true);
    } else {
        return Err(format!("unknown mark {mark}").into());
    }
    Ok(())
}

fn require(definition: &mut Map<String, Value>, field: &str, wanted: bool) {
    let mut required: Vec<Value> =
        definition.remove("required").and_then(|list| list.as_array().cloned()).unwrap_or_default();
    required.retain(|name| name != field);
    if wanted {
        required.push(json!(field));
    }
    if !required.is_empty() {
        definition.insert("required".into(), Value::Array(required));
    }
}

/// Every property starts without marks; a table line adds them.
fn fill_value_structs(definition: &mut Map<String, Value>) {
    let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
    for schema in properties.into_iter().flat_map(|all| all.values_mut()).filter_map(Value::as_object_mut) {
        schema.insert("x-go".into(), json!(""));
    }
}

fn mark_property(schema: &mut Map<String, Value>, mark: &str) -> Result<()> {
    let (first, rest) = mark.split_at(1);
    match first {
        "*" | "!" | "~" | ":" => {
            let go = schema.get("x-go").and_then(Value::as_str).unwrap_or_default();
            let go = format!("{go}{mark}");
            schema.insert("x-go".into(), json!(go));
        }
        "=" if rest == "-" => {
            schema.insert("default".into(), Value::Null);
        }
        "=" => {
            schema.insert("default".into(), serde_json::from_str(rest)?);
        }
        "@" => match rest.strip_prefix("map(").and_then(|keys| keys.strip_suffix(')')) {
            Some(keys) => {
                schema.insert("x-kubernetes-list-type".into(), json!("map"));
                let keys: Vec<&str> = keys.split(',').collect();
                schema.insert("x-kubernetes-list-map-keys".into(), json!(keys));
            }
            None => {
                let is_list = schema.get("type").is_some_and(|kind| kind == "array" || kind == "string");
                let keyword = if is_list { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" };
                schema.insert(keyword.into(), json!(rest));
            }
        },
        "<" => {
            let patch = rest.trim_end_matches('>');
            let (strategy, key) = patch.split_once(':').unwrap_or((patch, ""));
            if !strategy.is_empty() {
                schema.insert("x-kubernetes-patch-strategy".into(), json!(strategy));
            }
            if !key.is_empty() {
                schema.insert("x-kubernetes-patch-merge-key".into(), json!(key));
            }
        }
        "{" => {
            let values: Vec<String> =
                rest.trim_end_matches('}').split('|').map(|value| value.replace('_', " ")).collect();
            schema.insert("x-enum".into(), json!(values));
        }
        _ => return Err(format!("unknown mark {mark}").into()),
    }
    Ok(())
}

/// What is never absent in Go shows its zero value as its default.
fn zero_defaults(definition: &mut Map<String, Value>) {
    let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
    for schema in properties.into_iter().flat_map(|all| all.values_mut()).filter_map(Value::as_object_mut) {
        match schema.get("default") {
            Some(Value::Null) => {
                schema.remove("default");
                continue;
            }
            Some(_) => continue,
            None => {}
        }
        let go = schema.get("x-go").and_then(Value::as_str).unwrap_or_default();
        let marks = go.split(':').next().unwrap_or_default();
        if marks.contains('*') {
            continue;
        }
        let always = marks.contains('!');
        let default = match schema.get("type").and_then(Value::as_str) {
            None if is_plain_struct(schema) => json!({}),
            Some("string") if always => json!(""),
            Some("integer" | "number") if always => json!(0),
            Some("boolean") if always => json!(false),
            _ => continue,
        };
        schema.insert("default".into(), default);
    }
}

/// Whether the property is a struct that encodes as an object of its fields: times, quantities and raw values are not.
fn is_plain_struct(schema: &Map<String, Value>) -> bool {
    const OPAQUE: [&str; 6] = [".Time", ".MicroTime", ".FieldsV1", ".RawExtension", ".Quantity", ".IntOrString"];
    let reference = schema.get("$ref").or_else(|| schema.get("allOf").and_then(|all| all.get(0)?.get("$ref")));
    reference.and_then(Value::as_str).is_some_and(|name| !OPAQUE.iter().any(|opaque| name.ends_with(opaque)))
}
