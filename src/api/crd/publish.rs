//! What clients are told of a custom kind: its definition in OpenAPI v3, and in the words of v2 that kubectl understands.

use serde_json::{Map, Value, json};

use super::{Definition, DefinitionVersion};
use crate::at::{flag, get, list};

const META: &str = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The definition's name: `com.example.stable.v1.CronTab`.
pub fn name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

/// The definition of one version as OpenAPI v3 has it. `common` are the properties every object has.
pub fn schema(definition: &Definition, version: &DefinitionVersion, common: &Map<String, Value>) -> Value {
    let mut schema = match &version.published {
        Value::Null => json!({"type": "object"}),
        published => {
            let mut schema = published.clone();
            complete(&mut schema, common);
            add_common(&mut schema, common);
            schema
        }
    };
    schema["x-kubernetes-group-version-kind"] =
        json!([{ "group": definition.group, "version": version.name, "kind": definition.kind() }]);
    let selectable: Vec<Value> = version.selectable().map(|field| json!({ "fieldPath": field })).collect();
    if !selectable.is_empty() {
        schema["x-kubernetes-selectable-fields"] = selectable.into();
    }
    schema
}

fn add_common(schema: &mut Value, common: &Map<String, Value>) {
    let properties = match schema.get_mut("properties") {
        Some(Value::Object(properties)) => properties,
        _ => {
            schema["properties"] = json!({});
            schema["properties"].as_object_mut().expect("it was just made")
        }
    };
    for (name, property) in common {
        properties.insert(name.clone(), property.clone());
    }
}

/// What extensions mean in the words of the specification.
fn complete(schema: &mut Value, common: &Map<String, Value>) {
    for_each_part(schema, &mut |part| complete(part, common));
    if flag(schema, "x-kubernetes-int-or-string") == Some(true)
        && get(schema, "anyOf").is_none()
        && list(schema, "allOf").is_empty()
    {
        schema["anyOf"] = json!([{"type": "integer"}, {"type": "string"}]);
    }
    if flag(schema, "x-kubernetes-embedded-resource") == Some(true) {
        add_common(schema, common);
        let mut required = list(schema, "required").to_vec();
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|known| known == name) {
                required.push(name.into());
            }
        }
        schema["required"] = required.into();
    }
}

/// A schema in which embedded objects have the fields that every object has.
pub(super) fn with_embedded(schema: &Value) -> Value {
    let mut schema = schema.clone();
    complete(&mut schema, &plain_common());
    schema
}

fn for_each_part(schema: &mut Value, act: &mut dyn FnMut(&mut Value)) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(&mut *act);
    }
    for one in ["items", "additionalProperties"] {
        if let Some(part) = schema.get_mut(one).filter(|part| part.is_object()) {
            act(part);
        }
    }
}

/// Leaves of a definition what kubectl's reading of OpenAPI v2 can cope with.
pub fn restrict_to_v2(schema: &mut Value) {
    let is_open = flag(schema, "x-kubernetes-preserve-unknown-fields") == Some(true);
    if is_open {
        // Properties, even those of every object, would make clients refuse all others.
        let named = schema["x-kubernetes-group-version-kind"].take();
        *schema = json!({"type": "object", "x-kubernetes-group-version-kind": named});
        return;
    }
    restrict(schema);
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("x-kubernetes-selectable-fields");
    }
}

fn restrict(schema: &mut Value) {
    // A reference to what every object has.
    if schema["allOf"][0].get("$ref").is_some() {
        return;
    }
    let is_nullable = |part: &Value| flag(part, "nullable") == Some(true);
    let optional: Vec<String> = match schema.get("properties") {
        Some(Value::Object(all)) => {
            all.iter().filter(|(_, part)| is_nullable(part)).map(|(name, _)| name.clone()).collect()
        }
        _ => Vec::new(),
    };
    let any_value = schema.get("additionalProperties").is_some_and(is_nullable);
    for_each_part(schema, &mut restrict);
    let Some(fields) = schema.as_object_mut() else { return };
    for junction in ["allOf", "oneOf", "anyOf", "not"] {
        fields.remove(junction);
    }
    let is_open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let nullable = fields.remove("nullable") == Some(Value::Bool(true));
    if nullable || is_open {
        fields.remove("items");
        fields.remove("properties");
    }
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    if nullable || (kind == "array" && !fields.contains_key("items")) || (kind == "object" && is_open) {
        fields.remove("type");
    }
    if any_value {
        fields.remove("required");
    } else if let Some(Value::Array(required)) = fields.get_mut("required") {
        required.retain(|name| !optional.iter().any(|optional| *name == **optional));
        if required.is_empty() {
            fields.remove("required");
        }
    }
}

/// The properties every object has, where the built-in definitions do not tell them.
pub(crate) fn plain_common() -> Map<String, Value> {
    Map::from_iter([
        ("apiVersion".to_owned(), json!({"type": "string"})),
        ("kind".to_owned(), json!({"type": "string"})),
        ("metadata".to_owned(), json!({"allOf": [{"$ref": META}], "default": {}})),
    ])
}
