//! What the reference of an environment variable says, and what it stands for.

use crate::session::Session;
use anyhow::{Result, anyhow, bail};
use base64::Engine;
use mk8s_api::quantity::Quantity;
use serde_json::Value;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn described(source: &Value) -> String {
    let (config_map, secret) = (&source["configMapKeyRef"], &source["secretKeyRef"]);
    let (field, resource) = (&source["fieldRef"], &source["resourceFieldRef"]);
    if config_map.is_object() {
        format!("configmap {}, key {}", text(&config_map["name"]), text(&config_map["key"]))
    } else if secret.is_object() {
        format!("secret {}, key {}", text(&secret["name"]), text(&secret["key"]))
    } else if field.is_object() {
        format!("field path {}", text(&field["fieldPath"]))
    } else if resource.is_object() {
        let container = text(&resource["containerName"]);
        let slash = if container.is_empty() { "" } else { "/" };
        format!("resource field {container}{slash}{}", text(&resource["resource"]))
    } else {
        "invalid valueFrom".to_owned()
    }
}

pub(super) async fn value(cx: &Session, source: &Value, object: &Value, container: &Value) -> Result<String> {
    let (secret, config_map) = (&source["secretKeyRef"], &source["configMapKeyRef"]);
    if secret.is_object() {
        let found = read(cx, "secrets", text(&secret["name"])).await?;
        let key = text(&secret["key"]);
        let data = found["data"][key]
            .as_str()
            .ok_or_else(|| anyhow!("key {key} not found in secret {}", text(&secret["name"])))?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(data)?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    if config_map.is_object() {
        let found = read(cx, "configmaps", text(&config_map["name"])).await?;
        let key = text(&config_map["key"]);
        let data = found["data"][key].as_str();
        return data
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("key {key} not found in config map {}", text(&config_map["name"])));
    }
    if source["fieldRef"].is_object() {
        return field(object, text(&source["fieldRef"]["fieldPath"]));
    }
    if source["resourceFieldRef"].is_object() {
        return resource(container, &source["resourceFieldRef"]);
    }
    bail!("invalid valueFrom")
}

async fn read(cx: &Session, plural: &str, name: &str) -> Result<Value> {
    let namespace = cx.namespace().await?;
    cx.remote().await?.get(&format!("/api/v1/namespaces/{namespace}/{plural}/{name}")).await
}

fn field(object: &Value, path: &str) -> Result<String> {
    let metadata = &object["metadata"];
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return match map {
            "metadata.annotations" => Ok(text(&metadata["annotations"][key]).to_owned()),
            "metadata.labels" => Ok(text(&metadata["labels"][key]).to_owned()),
            _ => bail!("fieldPath {path:?} does not support subscript"),
        };
    }
    let lines = |map: &Value| -> String {
        let pairs = map.as_object().into_iter().flatten();
        pairs.map(|(key, value)| format!("{key}={:?}", text(value))).collect::<Vec<_>>().join("\n")
    };
    match path {
        "metadata.annotations" => Ok(lines(&metadata["annotations"])),
        "metadata.labels" => Ok(lines(&metadata["labels"])),
        "metadata.name" | "metadata.namespace" | "metadata.uid" => {
            Ok(text(&metadata[&path["metadata.".len()..]]).to_owned())
        }
        _ => bail!("unsupported fieldPath: {path}"),
    }
}

fn resource(container: &Value, reference: &Value) -> Result<String> {
    let wanted = text(&reference["resource"]);
    let (of, name) = wanted.split_once('.').unwrap_or((wanted, ""));
    let known = matches!(of, "limits" | "requests")
        && (matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-"));
    if !known {
        bail!("Unsupported container resource : {wanted}");
    }
    let quantity = |value: &Value| Quantity::parse(value.as_str().unwrap_or("0")).map_err(|error| anyhow!("{error}"));
    let amount = quantity(&container["resources"][of][name])?;
    let divisor = Some(quantity(&reference["divisor"])?).filter(|divisor| !divisor.is_zero());
    let divisor = divisor.map_or(1.0, Quantity::as_f64);
    Ok(format!("{}", (amount.as_f64() / divisor).ceil()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references() {
        let cases = [
            (json!({"configMapKeyRef": {"name": "c", "key": "k"}}), "configmap c, key k"),
            (json!({"secretKeyRef": {"name": "s", "key": "k"}}), "secret s, key k"),
            (json!({"fieldRef": {"fieldPath": "metadata.name"}}), "field path metadata.name"),
            (
                json!({"resourceFieldRef": {"resource": "limits.cpu", "containerName": "a"}}),
                "resource field a/limits.cpu",
            ),
            (json!({}), "invalid valueFrom"),
        ];
        for (source, expected) in cases {
            assert_eq!(described(&source), expected);
        }
    }

    #[test]
    fn fields_and_resources_have_values() {
        let object = json!({"metadata": {"name": "x", "labels": {"a": "b", "c": "d"}}});
        assert_eq!(field(&object, "metadata.name").unwrap(), "x");
        assert_eq!(field(&object, "metadata.labels['c']").unwrap(), "d");
        assert_eq!(field(&object, "metadata.labels").unwrap(), "a=\"b\"\nc=\"d\"");
        assert!(field(&object, "spec.x").is_err());
        let container = json!({"resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}});
        assert_eq!(resource(&container, &json!({"resource": "limits.cpu"})).unwrap(), "2");
        assert_eq!(resource(&container, &json!({"resource": "limits.memory", "divisor": "1Mi"})).unwrap(), "1024");
        assert!(resource(&container, &json!({"resource": "x"})).is_err());
    }
}
