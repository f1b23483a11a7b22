//! Secret: `stringData` becomes `data`, each type has keys it needs, the type stays.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::at::{default, get, map, map_mut, remove, text};
use super::check::{Errors, immutable};
use super::config_map::{MAX_BYTES, check_immutable, check_key, decoded_len};
use super::{GENERIC, Rules, Scope, key_pair};
use crate::decode::{JsonError, json_type};
use crate::field::{FieldError, Path};
use crate::meta;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    default: set_defaults,
    validate,
    validate_update: Some(validate_update),
    warnings: |secret, _| pair_fault(secret).into_iter().collect(),
    selectable: &[("type", |secret| text(secret, "type").to_string())],
    ..GENERIC
};

fn set_defaults(secret: &mut Value) {
    default(secret, "type", "Opaque");
    fold_string_data(secret);
}

/// `stringData` is only written: its texts become `data`.
pub fn fold_string_data(secret: &mut Value) {
    let written: Map<String, Value> = map(secret, "stringData").clone();
    remove(secret, "stringData");
    if written.is_empty() {
        return;
    }
    if let Some(data) = map_mut(secret, "data") {
        for (key, value) in written {
            let encoded = STANDARD.encode(value.as_str().unwrap_or(""));
            data.insert(key, Value::String(encoded));
        }
    }
}

fn validate(secret: &Value, errors: &mut Errors) {
    let data = map(secret, "data");
    let path = || Path::new("data");
    let mut size = 0;
    for (key, value) in data {
        check_key(errors, "data", key);
        size += value.as_str().map_or(0, decoded_len);
    }
    if size > MAX_BYTES {
        errors.push(FieldError::too_long(&path(), MAX_BYTES));
    }
    let mut need = |key: &str| errors.push(FieldError::required(&path().key(key), ""));
    match text(secret, "type") {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            if meta::annotation(secret, NAME).is_none_or(str::is_empty) {
                errors.push(FieldError::required(&Path::new("metadata").child("annotations").key(NAME), ""));
            }
        }
        "kubernetes.io/dockercfg" => check_docker_config(errors, data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => check_docker_config(errors, data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").and_then(Value::as_str).unwrap_or("").is_empty() => {
            need("ssh-privatekey");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !data.contains_key(key) {
                    need(key);
                }
            }
        }
        _ => {}
    }
}

/// What is wrong with certificate and key of a secret for TLS.
fn pair_fault(secret: &Value) -> Option<String> {
    if text(secret, "type") != "kubernetes.io/tls" {
        return None;
    }
    let held = |key: &str| {
        let encoded = map(secret, "data").get(key).and_then(Value::as_str).unwrap_or("");
        STANDARD.decode(encoded).unwrap_or_default()
    };
    key_pair::fault(&held("tls.crt"), &held("tls.key"))
}

fn check_docker_config(errors: &mut Errors, data: &Map<String, Value>, key: &str) {
    let path = Path::new("data").key(key);
    let Some(encoded) = data.get(key) else {
        errors.push(FieldError::required(&path, ""));
        return;
    };
    let decoded = STANDARD.decode(encoded.as_str().unwrap_or("")).unwrap_or_default();
    let detail = match serde_json::from_slice::<Value>(&decoded) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => {
            let found = json_type(&other);
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
        }
        Err(error) => JsonError::new(&decoded, &error).to_string(),
    };
    errors.push(FieldError::invalid(&path, "<secret contents redacted>", detail));
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    immutable(errors, get(new, "type"), get(old, "type"), &Path::new("type"));
    check_immutable(new, old, &["data"], errors);
    validate(new, errors);
}
