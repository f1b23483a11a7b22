//! The properties that `config set` and `config unset` name: `users.eve.token`.

use super::{edit::Editor, form::set_field};
use anyhow::{Result, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// The known fields of entries, by what they hold.
const FIELDS: [(&str, &[&str]); 3] = [
    (
        "clusters",
        &[
            "server",
            "tls-server-name",
            "insecure-skip-tls-verify",
            "certificate-authority",
            "certificate-authority-data",
            "proxy-url",
            "disable-compression",
            "extensions",
        ],
    ),
    (
        "users",
        &[
            "client-certificate",
            "client-certificate-data",
            "client-key",
            "client-key-data",
            "token",
            "tokenFile",
            "as",
            "as-uid",
            "as-groups",
            "as-user-extra",
            "username",
            "password",
            "auth-provider",
            "exec",
            "extensions",
        ],
    ),
    ("contexts", &["cluster", "user", "namespace", "extensions"]),
];

/// A property such as `clusters.10.0.0.1.server`.
#[derive(Debug, PartialEq, Eq)]
enum Property {
    Current,
    Top(String),
    List(&'static str),
    Entry(&'static str, String, Vec<String>),
}

fn property(path: &str) -> Result<Property> {
    let parts: Vec<&str> = path.split('.').collect();
    let unparsable = || anyhow!("unable to parse {path}");
    match parts.as_slice() {
        ["current-context"] => return Ok(Property::Current),
        ["kind" | "apiVersion" | "preferences" | "extensions"] => return Ok(Property::Top(path.to_owned())),
        ["preferences", ..] => return Ok(Property::Top("preferences".to_owned())),
        _ => {}
    }
    let Some((list, fields)) = FIELDS.iter().find(|(list, _)| *list == parts[0]) else {
        bail!("unable to parse {path} after [] at api.Config");
    };
    let rest = &parts[1..];
    if rest.is_empty() {
        return Ok(Property::List(list));
    }
    // Names may have dots; they end where a known field begins.
    let end = rest.iter().skip(1).position(|part| fields.contains(part)).map_or(rest.len(), |index| index + 1);
    let (name, steps) = (rest[..end].join("."), &rest[end..]);
    let deep = steps.len() > 1 && !matches!(steps[0], "exec" | "auth-provider");
    if deep || steps.len() > 3 {
        return Err(unparsable());
    }
    Ok(Property::Entry(list, name, steps.iter().map(|step| (*step).to_owned()).collect()))
}

/// `config set`: gives a property a value, converted to what it holds.
pub(crate) fn set(editor: &mut Editor, path: &str, text: &str, raw_bytes: bool) -> Result<()> {
    match property(path)? {
        Property::Current => editor.set_current(text),
        Property::Top(field) if matches!(field.as_str(), "kind" | "apiVersion") => {
            editor.set_top(&field, Some(text.into()))
        }
        Property::Top(field) => bail!("can't set a map to a value: {field}"),
        Property::List(list) => bail!("can't set a map to a value: {list}"),
        Property::Entry(_, name, steps) if steps.is_empty() => bail!("can't set a map to a value: {name}"),
        Property::Entry(list, name, steps) => {
            let mut content = editor.get(list, &name).cloned().unwrap_or_else(|| json!({}));
            let value = converted(&steps[0], text, raw_bytes)?;
            match steps.as_slice() {
                [field] if matches!(field.as_str(), "exec" | "auth-provider" | "extensions" | "as-user-extra") => {
                    bail!("can't set a map to a value: {field}")
                }
                [field] => set_field(&mut content, field, value),
                [field, inner @ ..] => {
                    let mut nested = &mut content[field.as_str()];
                    for step in &inner[..inner.len() - 1] {
                        nested = &mut nested[step.as_str()];
                    }
                    set_field(nested, &inner[inner.len() - 1], text);
                }
                [] => {}
            }
            editor.put(list, &name, content);
        }
    }
    Ok(())
}

fn converted(field: &str, text: &str, raw_bytes: bool) -> Result<Value> {
    if matches!(field, "insecure-skip-tls-verify" | "disable-compression") {
        return match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true.into()),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false.into()),
            _ => Err(anyhow!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
        };
    }
    if matches!(field, "as-groups") {
        bail!("unrecognized slice type. string");
    }
    if !field.ends_with("-data") {
        return Ok(text.into());
    }
    if raw_bytes {
        return Ok(BASE64_STANDARD.encode(text).into());
    }
    match BASE64_STANDARD.decode(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(anyhow!("error decoding input value: illegal base64 data at input byte {}", offset(&error))),
    }
}

fn offset(error: &base64::DecodeError) -> usize {
    match error {
        base64::DecodeError::InvalidByte(offset, _) | base64::DecodeError::InvalidLastSymbol(offset, _) => *offset,
        base64::DecodeError::InvalidLength(length) => *length,
        base64::DecodeError::InvalidPadding => 0,
    }
}

/// `config unset`: takes a property away.
pub(crate) fn unset(editor: &mut Editor, path: &str) -> Result<()> {
    match property(path)? {
        Property::Current => editor.set_current(""),
        Property::Top(field) => editor.set_top(&field, None),
        Property::List(list) => {
            for name in editor.names(list) {
                editor.remove(list, &name);
            }
        }
        Property::Entry(list, name, steps) if steps.is_empty() => drop(editor.remove(list, &name)),
        Property::Entry(list, name, steps) => {
            let Some(mut content) = editor.get(list, &name).cloned() else {
                bail!("current map key `{name}` is invalid");
            };
            let mut place = &mut content;
            for step in &steps[..steps.len() - 1] {
                place = &mut place[step.as_str()];
            }
            if let Some(map) = place.as_object_mut() {
                map.remove(&steps[steps.len() - 1]);
            }
            editor.put(list, &name, content);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::edit::tests::editor, *};

    #[test]
    fn properties_may_have_dots_in_names() {
        let entry = |list, name: &str, steps: &[&str]| {
            Property::Entry(list, name.to_owned(), steps.iter().map(|step| (*step).to_owned()).collect())
        };
        let cases = [
            ("current-context", Property::Current),
            ("clusters.10.1.2.3.server", entry("clusters", "10.1.2.3", &["server"])),
            ("contexts.a", entry("contexts", "a", &[])),
            ("users.a.exec.command", entry("users", "a", &["exec", "command"])),
            ("users", Property::List("users")),
        ];
        for (path, expected) in cases {
            assert_eq!(property(path).unwrap(), expected, "{path}");
        }
        for path in ["nope", "clusters.a.server.x", ""] {
            assert!(property(path).is_err(), "{path}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let (_directory, mut editor) = editor();
        let cases = [
            ("clusters.z.insecure-skip-tls-verify", "maybe", "strconv.ParseBool: parsing \"maybe\": invalid syntax"),
            ("users.u.client-key-data", "!", "error decoding input value: illegal base64 data at input byte 0"),
            ("users", "x", "can't set a map to a value: users"),
        ];
        for (path, text, message) in cases {
            assert_eq!(set(&mut editor, path, text, false).unwrap_err().to_string(), message, "{path}");
        }
    }
}
