//! Brings generated schemas into the shape Kubernetes publishes them in, and splits them by reader.

use serde_json::{Map, Value, json};

use crate::overlay::Definitions;

/// A reference of a property is written `allOf: [{$ref}]`, so that it can have siblings.
pub(crate) fn references(definitions: &mut Definitions) {
    for definition in definitions.values_mut() {
        let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
        for schema in properties.into_iter().flat_map(|all| all.values_mut()).filter_map(Value::as_object_mut) {
            if let Some(reference) = schema.remove("$ref") {
                schema.insert("allOf".into(), json!([{ "$ref": reference }]));
            }
        }
    }
}

/// The few types whose JSON is not that of a struct.
pub(crate) fn special_types(definitions: &mut Definitions) {
    for (name, definition) in definitions.iter_mut() {
        let Some(definition) = definition.as_object_mut() else { continue };
        match name.rsplit('.').next().unwrap_or_default() {
            "IntOrString" => {
                definition.remove("x-kubernetes-int-or-string");
                definition.insert("format".into(), json!("int-or-string"));
                definition.insert("oneOf".into(), json!([{ "type": "integer" }, { "type": "string" }]));
            }
            "Quantity" => {
                definition.remove("x-kubernetes-int-or-string");
                definition.insert("oneOf".into(), json!([{ "type": "string" }, { "type": "number" }]));
            }
            "JSON" => {
                definition.remove("type");
            }
            "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => {
                definition.remove("oneOf");
            }
            "WatchEvent" => split_description(definition),
            _ => {}
        }
    }
}

/// The generator puts what belongs to `object` into the description of the whole.
fn split_description(definition: &mut Map<String, Value>) {
    let Some((whole, object)) = definition
        .get("description")
        .and_then(Value::as_str)
        .and_then(|text| text.split_once("\n\n"))
        .map(|(whole, object)| (whole.to_owned(), object.trim_end().to_owned()))
    else {
        return;
    };
    definition.insert("description".into(), json!(whole));
    if let Some(property) = definition.get_mut("properties").and_then(|all| all.get_mut("object")) {
        property["description"] = json!(object);
    }
}

/// Definitions of a package once more, as those of an older version that is the same.
pub(crate) fn also_as(definitions: &mut Definitions, package: &str, older: &str) {
    let version = |package: &str| package.trim_end_matches('.').rsplit('.').next().unwrap_or_default().to_owned();
    let (newer_version, older_version) = (version(package), version(older));
    let copies: Vec<(String, Value)> = definitions
        .iter()
        .filter_map(|(name, definition)| {
            let text = definition.to_string().replace(&format!("/{package}"), &format!("/{older}"));
            let mut copy: Value = serde_json::from_str(&text).expect("a definition's own text");
            for kind in copy["x-kubernetes-group-version-kind"].as_array_mut().into_iter().flatten() {
                if kind["version"] == newer_version.as_str() {
                    kind["version"] = json!(older_version);
                }
            }
            Some((format!("{older}{}", name.strip_prefix(package)?), copy))
        })
        .collect();
    definitions.extend(copies);
}

/// Without our own extensions.
pub(crate) fn for_clients(mut definitions: Definitions) -> Definitions {
    strip(&mut definitions, &["x-go", "x-default"]);
    for definition in definitions.values_mut() {
        let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
        for schema in properties.into_iter().flat_map(|all| all.values_mut()) {
            tell_values(schema);
            // Without siblings the reference stands alone.
            if schema.as_object().is_some_and(|only| only.len() == 1 && only.contains_key("allOf")) {
                *schema = schema["allOf"][0].take();
            }
        }
    }
    definitions
}

/// The values that are allowed, where clients look for them: of lists and maps with what is in them, otherwise in the
/// description too.
fn tell_values(schema: &mut Value) {
    let Some(values) = schema.as_object_mut().and_then(|schema| schema.remove("x-enum")) else { return };
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            inner["enum"] = values;
            return;
        }
    }
    let lines: String = values.as_array().into_iter().flatten().map(|value| format!("\n - `{value}`")).collect();
    let before = schema["description"].as_str().map(|description| format!("{description}\n\n")).unwrap_or_default();
    schema["description"] = json!(format!("{before}Possible enum values:{lines}"));
    schema["enum"] = values;
}

/// Without prose.
pub(crate) fn for_requests(mut definitions: Definitions) -> Definitions {
    strip(&mut definitions, &["description", "x-kubernetes-unions"]);
    definitions
}

/// The kinds a definition describes.
pub(crate) fn kinds_of(definition: &Value) -> String {
    let kinds = definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
    let text = |kind: &Value, key: &str| kind[key].as_str().unwrap_or_default().to_owned();
    let kinds: Vec<String> =
        kinds.map(|kind| [text(kind, "group"), text(kind, "version"), text(kind, "kind")].join("/")).collect();
    kinds.join(",")
}

fn strip(definitions: &mut Definitions, keywords: &[&str]) {
    for definition in definitions.values_mut().filter_map(Value::as_object_mut) {
        for keyword in keywords {
            definition.remove(*keyword);
        }
        let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
        for schema in properties.into_iter().flat_map(|all| all.values_mut()).filter_map(Value::as_object_mut) {
            for keyword in keywords {
                schema.remove(*keyword);
            }
        }
    }
}
