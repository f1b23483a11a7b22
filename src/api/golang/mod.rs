//! Objects as Go shows them: where upstream's messages print a value of one of its internal structs, and the difference
//! of two.
//!
//! Such a struct has all its fields, in the order of their declaration and under their names in Go; `structs.txt` says
//! which. Reading order: here, then [`unified`] (what changed between two texts).

mod unified;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::at::{get, sub};

/// What changed from one value of a struct to another, as `diff.Diff` of apimachinery has it.
pub fn difference(name: &str, old: &Value, new: &Value) -> String {
    unified::difference(&indented(name, old), &indented(name, new))
}

/// Whether two values of a struct are the same to Go: a list or map without anything is as good as none, an empty struct
/// is not.
pub fn same(name: &str, left: &Value, right: &Value) -> bool {
    read(name, left).same(&read(name, right))
}

/// A value of a struct, or a list of them, on one line, for [`crate::field::FieldError::with_shown`].
pub fn compact(name: &str, value: &Value) -> String {
    let mut text = String::new();
    structured(name, value, &Value::Null).write(&mut text, None);
    text
}

fn indented(name: &str, value: &Value) -> String {
    let mut text = String::new();
    read(name, value).write(&mut text, Some(0));
    text
}

/// What Go's encoder writes for a value, with its order of fields.
enum Shown {
    Leaf(String),
    Object(Vec<(String, Shown)>),
    List(Vec<Shown>),
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Field(&'a str),
    /// A field of the object that holds this one.
    OfHolder(&'a str),
    /// The object itself, whose struct is part of this one.
    Same,
}

enum Kind<'a> {
    /// A plain value, and what stands there when it is absent.
    Plain(&'a str),
    Struct(&'a str),
    /// A struct, or a list of them, that may be absent.
    Maybe(&'a str),
    /// The fields of the struct stand in place of this one.
    Embedded(&'a str),
}

struct Field<'a> {
    name: &'a str,
    source: Source<'a>,
    kind: Kind<'a>,
    /// Left out when absent.
    optional: bool,
}

static STRUCTS: LazyLock<HashMap<&'static str, Vec<Field<'static>>>> = LazyLock::new(|| {
    let mut structs: HashMap<&str, Vec<Field<'_>>> = HashMap::new();
    let mut current = "";
    for line in include_str!("structs.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            None => current = line,
            Some(field) => structs.entry(current).or_default().extend(parse(field)),
        }
    }
    structs
});

fn parse(line: &'static str) -> Option<Field<'static>> {
    let mut words = line.split(' ');
    let (name, field, kind) = (words.next()?, words.next()?, words.next()?);
    let source = match field.strip_prefix('^') {
        Some(field) => Source::OfHolder(field),
        None if field == "-" => Source::Same,
        None => Source::Field(field),
    };
    let optional = kind.ends_with('?');
    let kind = match kind.trim_end_matches('?') {
        part if name == "+" => Kind::Embedded(part),
        "s" => Kind::Plain("\"\""),
        "i" => Kind::Plain("0"),
        "b" => Kind::Plain("false"),
        "q" => Kind::Plain("\"0\""),
        "*" => Kind::Plain("null"),
        part => part.strip_prefix('*').map_or(Kind::Struct(part), Kind::Maybe),
    };
    Some(Field { name, source, kind, optional })
}

fn read(name: &str, value: &Value) -> Shown {
    let mut fields = Vec::new();
    read_into(&mut fields, name, value, &Value::Null);
    Shown::Object(fields)
}

fn read_into(fields: &mut Vec<(String, Shown)>, name: &str, value: &Value, holder: &Value) {
    let Some(declared) = STRUCTS.get(name) else { return };
    for field in declared {
        let found = match field.source {
            Source::Field(name) => sub(value, name),
            Source::OfHolder(name) => sub(holder, name),
            Source::Same => value,
        };
        if field.optional && found.is_null() {
            continue;
        }
        let shown = match field.kind {
            Kind::Embedded(part) => {
                read_into(fields, part, found, value);
                continue;
            }
            Kind::Plain(zero) if found.is_null() => Shown::Leaf(zero.to_owned()),
            Kind::Plain(_) => plain(found),
            Kind::Maybe(_) if found.is_null() => Shown::Leaf("null".to_owned()),
            Kind::Maybe(part) | Kind::Struct(part) => structured(part, found, value),
        };
        fields.push((field.name.to_owned(), shown));
    }
}

fn structured(name: &str, value: &Value, holder: &Value) -> Shown {
    match value {
        Value::Array(items) => Shown::List(items.iter().map(|item| structured(name, item, holder)).collect()),
        value => {
            let mut fields = Vec::new();
            read_into(&mut fields, name, value, holder);
            Shown::Object(fields)
        }
    }
}

fn plain(value: &Value) -> Shown {
    match value {
        Value::Object(map) => Shown::Object(map.iter().map(|(key, item)| (key.clone(), plain(item))).collect()),
        Value::Array(items) => Shown::List(items.iter().map(plain).collect()),
        Value::String(text) => Shown::Leaf(quoted(text)),
        other => Shown::Leaf(other.to_string()),
    }
}

/// A text as Go's encoder writes it: what HTML gives a meaning is escaped.
fn quoted(text: &str) -> String {
    let mut out = Value::from(text).to_string();
    for (character, escape) in
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")]
    {
        if out.contains(character) {
            out = out.replace(character, escape);
        }
    }
    out
}

impl Shown {
    fn is_nothing(&self) -> bool {
        match self {
            Shown::Leaf(text) => text == "null",
            Shown::Object(fields) => fields.is_empty(),
            Shown::List(items) => items.is_empty(),
        }
    }

    fn same(&self, other: &Shown) -> bool {
        match (self, other) {
            (left, right) if left.is_nothing() && right.is_nothing() => true,
            (Shown::Leaf(left), Shown::Leaf(right)) => left == right,
            (Shown::List(left), Shown::List(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.same(right))
            }
            (Shown::Object(left), Shown::Object(right)) => {
                let within = |name: &str, fields: &[(String, Shown)], value: &Shown| match fields
                    .iter()
                    .find(|(other, _)| other == name)
                {
                    Some((_, other)) => value.same(other),
                    None => value.is_nothing(),
                };
                left.iter().all(|(name, value)| within(name, right, value))
                    && right.iter().all(|(name, value)| within(name, left, value))
            }
            _ => false,
        }
    }

    /// `depth`: how deep a line is indented; all on one line without it.
    fn write(&self, out: &mut String, depth: Option<usize>) {
        let deeper = depth.map(|depth| depth + 1);
        let line = |out: &mut String, depth: Option<usize>| {
            if let Some(depth) = depth {
                out.push('\n');
                out.push_str(&" ".repeat(depth));
            }
        };
        match self {
            Shown::Leaf(text) => out.push_str(text),
            Shown::Object(fields) if fields.is_empty() => out.push_str("{}"),
            Shown::List(items) if items.is_empty() => out.push_str("[]"),
            Shown::Object(fields) => {
                out.push('{');
                for (n, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    line(out, deeper);
                    out.push_str(&quoted(name));
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    value.write(out, deeper);
                }
                line(out, depth);
                out.push('}');
            }
            Shown::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    out.push_str(if n > 0 { "," } else { "" });
                    line(out, deeper);
                    item.write(out, deeper);
                }
                line(out, depth);
                out.push(']');
            }
        }
    }
}

/// JSON of a struct with tags, whose fields are in the order of their declaration where that is known: selectors.
pub(crate) fn tagged(value: &Value) -> String {
    let mut text = String::new();
    in_declared_order(value).write(&mut text, None);
    text
}

fn in_declared_order(value: &Value) -> Shown {
    match value {
        Value::Object(_) if get(value, "matchExpressions").is_some() && get(value, "matchLabels").is_some() => {
            structured("LabelSelector", value, &Value::Null)
        }
        Value::Object(map) => {
            Shown::Object(map.iter().map(|(key, item)| (key.clone(), in_declared_order(item))).collect())
        }
        Value::Array(items) => Shown::List(items.iter().map(in_declared_order).collect()),
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn structs_have_all_their_fields_in_order() {
        let rule = json!({"rule": "self > 1 && true", "reason": "FieldValueInvalid"});
        expect![[r#"{"Rule":"self \u003e 1 \u0026\u0026 true","Message":"","MessageExpression":"","Reason":"FieldValueInvalid","FieldPath":"","OptionalOldSelf":null}"#]]
            .assert_eq(&compact("ValidationRule", &rule));
        let policy = json!({"rules": [{"succeededCount": 1, "succeededIndexes": "0-1"}]});
        expect![[r#"{"Rules":[{"SucceededIndexes":"0-1","SucceededCount":1}]}"#]]
            .assert_eq(&compact("SuccessPolicy", &policy));
    }

    #[test]
    fn every_struct_that_is_named_is_there() {
        for (name, fields) in STRUCTS.iter() {
            for field in fields {
                let (Kind::Struct(part) | Kind::Maybe(part) | Kind::Embedded(part)) = field.kind else { continue };
                assert!(STRUCTS.contains_key(part) || part.is_empty(), "{name}.{} is a {part}", field.name);
            }
        }
    }

    #[test]
    fn empty_structs_are_not_none_and_empty_lists_are() {
        let one = json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 1}}}], "nodeSelector": {}});
        let mut other = json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 1}}, "args": []}]});
        assert!(same("PodSpec", &one, &other));
        other["containers"][0]["livenessProbe"]["exec"] = json!({});
        assert!(!same("PodSpec", &one, &other));
    }

    #[test]
    fn what_changed_is_shown_with_the_lines_around_it() {
        let old = json!({"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": "1Gi"}}, "selector": {"matchLabels": {"a": "b"}}});
        let mut new = old.clone();
        new["volumeMode"] = json!("Block");
        new["accessModes"] = json!(["ReadWriteOnce", "ReadOnlyMany"]);
        expect![[r#"
            @@ -1,6 +1,7 @@
             {
              "AccessModes": [
            -  "ReadWriteOnce"
            +  "ReadWriteOnce",
            +  "ReadOnlyMany"
              ],
              "Selector": {
               "matchLabels": {
            @@ -15,7 +16,7 @@
              },
              "VolumeName": "",
              "StorageClassName": null,
            - "VolumeMode": "Filesystem",
            + "VolumeMode": "Block",
              "DataSource": null,
              "DataSourceRef": null,
              "VolumeAttributesClassName": null
        "#]]
        .assert_eq(&difference("PersistentVolumeClaimSpec", &old, &new));
    }

    #[test]
    fn host_namespaces_stand_in_the_security_context() {
        let spec = json!({"hostPID": true, "securityContext": {"runAsUser": 1}, "containers": []});
        let shown = compact("PodSpec", &spec);
        assert!(shown.contains(r#""SecurityContext":{"HostNetwork":false,"HostPID":true,"HostIPC":false,"#), "{shown}");
        assert!(shown.contains(r#""Containers":[]"#) && shown.contains(r#""InitContainers":null"#), "{shown}");
    }
}
