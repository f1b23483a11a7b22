//! The documentation of a type, from the server's OpenAPI v3.
//!
//! Pure: a document and a path of fields in, text out.

mod wrap;

use crate::describe::fields::{keys, list, text, words};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wrap::wrapped;

/// What is to be explained.
pub(crate) struct Subject<'a> {
    pub(crate) document: &'a Value,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) fields: &'a [String],
    /// Names and types of fields only, but of all of them.
    pub(crate) recursive: bool,
}

/// The lines before anything about fields.
pub(crate) fn head(subject: &Subject<'_>) -> String {
    let group = if subject.group.is_empty() { String::new() } else { format!("GROUP:      {}\n", subject.group) };
    format!("{group}KIND:       {}\nVERSION:    {}\n\n", subject.kind, subject.version)
}

/// Everything after the head; an error when there is no such type or field.
pub(crate) fn body(subject: &Subject<'_>) -> Result<String, String> {
    let wanted = json!({"group": subject.group, "version": subject.version, "kind": subject.kind});
    let schemas = &subject.document["components"]["schemas"];
    let is_wanted = |name: &&&str| list(&schemas[**name]["x-kubernetes-group-version-kind"]).contains(&wanted);
    let names = keys(schemas);
    let Some(name) = names.iter().find(is_wanted) else {
        let Subject { group, version, kind, .. } = subject;
        return Err(format!("GVK map[group:{group} kind:{kind} version:{version}] not found in OpenAPI schema"));
    };
    let writer = Writer { document: subject.document, recursive: subject.recursive };
    match writer.output(&schemas[*name], subject.fields, &Seen::new()) {
        text if text.is_empty() => {
            Err(format!("field {:?} does not exist", subject.fields.last().map(String::as_str).unwrap_or_default()))
        }
        text => Ok(text + "\n"),
    }
}

/// The references followed so far.
type Seen<'a> = BTreeSet<&'a str>;

struct Writer<'a> {
    document: &'a Value,
    recursive: bool,
}

impl<'a> Writer<'a> {
    fn follow(&self, schema: &'a Value) -> Option<&'a Value> {
        let path = schema["$ref"].as_str()?.strip_prefix('#')?;
        self.document.pointer(path).filter(|found| found.is_object())
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        self.follow(schema).unwrap_or(schema)
    }

    /// The schema at the end of a path of fields; empty when the path leads nowhere.
    fn output(&self, schema: &'a Value, fields: &[String], seen: &Seen<'a>) -> String {
        let reference = text(&schema["$ref"]);
        let resolved = self.resolved(schema);
        let Some((field, rest)) = fields.split_first() else { return self.details(resolved) };
        if !reference.is_empty() && seen.contains(reference) {
            return String::new();
        }
        let mut next = seen.clone();
        next.insert(reference);
        if let Some(inner) = resolved["properties"].get(field) {
            let mut text = String::new();
            if rest.is_empty() {
                text = format!("FIELD: {field} <{}>\n{}\n\n", self.type_name(inner), enumerated(inner));
            }
            return text + &self.output(inner, rest, &Seen::new());
        }
        if resolved["items"].is_object() {
            return self.output(&resolved["items"], fields, &next);
        }
        if resolved["additionalProperties"].is_object() {
            return self.output(&resolved["additionalProperties"], fields, &next);
        }
        let alternatives = list(&resolved["allOf"]).iter().map(|one| self.output(one, fields, &next));
        alternatives.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }

    fn details(&self, schema: &'a Value) -> String {
        let mut description = self.description(schema);
        if description.is_empty() {
            description = "<empty>".to_owned();
        }
        let mut text = format!("DESCRIPTION:\n{}\n", indented(4, &wrapped(76, &description)));
        let docs = &schema["externalDocs"];
        if docs.is_object() {
            text.push_str(&format!("\n{}", external_docs(docs, 0)));
        }
        let fields = self.fields(schema, 1, &Seen::new());
        if !fields.is_empty() {
            text.push_str(&format!("FIELDS:\n{fields}"));
        }
        text
    }

    /// The words of a schema and of all that it is made of.
    fn description(&self, schema: &'a Value) -> String {
        let schema = self.resolved(schema);
        let mut all = String::new();
        let own = text(&schema["description"]);
        if !own.is_empty() {
            all.push_str(&format!("{own}\n"));
        }
        for part in parts(schema) {
            all.push_str(&self.description(part));
        }
        all
    }

    /// The fields of a schema; a reference met before is not followed again.
    fn fields(&self, schema: &'a Value, level: usize, seen: &Seen<'a>) -> String {
        let reference = text(&schema["$ref"]);
        if !reference.is_empty() && seen.contains(reference) {
            return String::new();
        }
        let mut next = seen.clone();
        next.insert(reference);
        let resolved = self.resolved(schema);
        let mut all = String::new();
        for name in keys(&resolved["properties"]) {
            let field = &resolved["properties"][name];
            let required = words(&resolved["required"]).contains(&name);
            all.push_str(&self.field(name, field, required, level));
            if self.recursive {
                all.push_str(&self.fields(field, level + 1, &next));
            }
        }
        for part in parts(resolved) {
            all.push_str(&self.fields(part, level, &next));
        }
        all
    }

    fn field(&self, name: &str, schema: &'a Value, required: bool, level: usize) -> String {
        let indent = level * 2;
        let required = if required { " -required-" } else { "" };
        let mut all = format!(
            "{}{name}\t<{}>{required}{}\n",
            " ".repeat(indent),
            self.type_name(schema),
            short_enum(schema, indent)
        );
        if self.recursive {
            return all;
        }
        let description = match text(&schema["description"]) {
            "" => "<no description>",
            description => description,
        };
        all.push_str(&format!("{}\n", indented(indent + 2, &wrapped(78_usize.saturating_sub(indent), description))));
        let docs = &schema["externalDocs"];
        if docs.is_object() {
            all.push_str(&format!("\n{}", external_docs(docs, indent + 2)));
        }
        all + "\n"
    }

    /// `string`, `[]Container`, `map[string]string`
    fn type_name(&self, schema: &'a Value) -> String {
        let alternatives = list(&schema["allOf"]);
        let own = text(&schema["type"]);
        if schema["items"].is_object() {
            return format!("[]{}", self.type_name(&schema["items"]));
        }
        if schema["additionalProperties"].is_object() {
            return format!("map[string]{}", self.type_name(&schema["additionalProperties"]));
        }
        if let ([only], true) = (alternatives, keys(&schema["properties"]).is_empty()) {
            return self.type_name(only);
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.follow(schema).map(|target| text(&target["type"])).unwrap_or_default();
            return match target {
                "" | "object" => {
                    reference.rsplit(['/', '.']).next().filter(|name| !name.is_empty()).unwrap_or("Object").to_owned()
                }
                primitive => primitive.to_owned(),
            };
        }
        if matches!(own, "" | "object") { "Object".to_owned() } else { own.to_owned() }
    }
}

/// The schemas a schema is made of, besides its properties.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let inner = [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|inner| inner.is_object());
    list(&schema["allOf"]).iter().chain(inner)
}

fn indented(amount: usize, text: &str) -> String {
    let pad = " ".repeat(amount);
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

fn external_docs(docs: &Value, indent: usize) -> String {
    let mut all = format!("{}\n", indented(indent, "EXTERNAL DOCS:"));
    let (description, url) = (text(&docs["description"]), text(&docs["url"]));
    if !description.is_empty() {
        let width = if indent == 0 { 76 } else { 78_usize.saturating_sub(indent) };
        all.push_str(&format!(
            "{}\n",
            indented(indent + if indent == 0 { 4 } else { 2 }, &wrapped(width, description))
        ));
    }
    if !url.is_empty() {
        all.push_str(&format!("{}\n", indented(indent + if indent == 0 { 4 } else { 2 }, &format!("URL: {url}"))));
    }
    all
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The values a field may have, a line each.
fn enumerated(schema: &Value) -> String {
    let values = list(&schema["enum"]);
    if values.is_empty() {
        return String::new();
    }
    values.iter().fold("ENUM:".to_owned(), |text, value| format!("{text}\n    {}", value_text(value)))
}

/// The first values a field may have, on a line.
fn short_enum(schema: &Value, indent: usize) -> String {
    const SHOWN: usize = 4;
    let values = list(&schema["enum"]);
    if values.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = values.iter().take(SHOWN).map(value_text).collect();
    let more = if values.len() > SHOWN { ", ...." } else { "" };
    format!("\n{}enum: {}{more}", " ".repeat(indent), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn document() -> Value {
        json!({"components": {"schemas": {
            "io.x.v1.Thing": {"type": "object", "description": "A thing.", "required": ["kind"],
                "x-kubernetes-group-version-kind": [{"group": "x.io", "version": "v1", "kind": "Thing"}],
                "properties": {
                    "kind": {"type": "string", "description": "What it is. It has a description that is long enough to be wrapped into two lines at least."},
                    "mode": {"type": "string", "enum": ["", "A", "B", "C", "D"], "description": "How."},
                    "spec": {"allOf": [{"$ref": "#/components/schemas/io.x.v1.Spec"}], "default": {}, "description": "More of it."}}},
            "io.x.v1.Spec": {"type": "object", "description": "Spec of a thing.", "properties": {
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "parts": {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/io.x.v1.Spec"}]}},
                "size": {"$ref": "#/components/schemas/io.x.Quantity"}}},
            "io.x.Quantity": {"description": "Q.", "oneOf": [{"type": "string"}]}}}})
    }

    fn check(fields: &[&str], recursive: bool, expected: &Expect) {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let document = document();
        let subject =
            Subject { document: &document, group: "x.io", version: "v1", kind: "Thing", fields: &fields, recursive };
        let text = body(&subject).unwrap_or_else(|error| format!("error: {error}\n"));
        // Upstream leaves the indentation of an empty line behind every description.
        let text = (head(&subject) + &text).replace('\t', "<tab>").replace("\n    \n", "\n    <spaces>\n");
        expected.assert_eq(&text);
    }

    #[test]
    fn a_type() {
        check(
            &[],
            false,
            &expect![[r#"
            GROUP:      x.io
            KIND:       Thing
            VERSION:    v1

            DESCRIPTION:
                A thing.
                <spaces>
            FIELDS:
              kind<tab><string> -required-
                What it is. It has a description that is long enough to be wrapped into two
                lines at least.

              mode<tab><string>
              enum: "", A, B, C, ....
                How.

              spec<tab><Spec>
                More of it.


        "#]],
        );
    }

    #[test]
    fn a_field() {
        check(
            &["spec", "parts"],
            false,
            &expect![[r#"
            GROUP:      x.io
            KIND:       Thing
            VERSION:    v1

            FIELD: parts <[]Spec>


            DESCRIPTION:
                Spec of a thing.
                <spaces>
            FIELDS:
              labels<tab><map[string]string>
                <no description>

              parts<tab><[]Spec>
                <no description>

              size<tab><Quantity>
                <no description>


        "#]],
        );
        check(
            &["mode"],
            false,
            &expect![[r#"
            GROUP:      x.io
            KIND:       Thing
            VERSION:    v1

            FIELD: mode <string>
            ENUM:
                ""
                A
                B
                C
                D

            DESCRIPTION:
                How.
                <spaces>

        "#]],
        );
        check(
            &["spec", "nope"],
            false,
            &expect![[r#"
            GROUP:      x.io
            KIND:       Thing
            VERSION:    v1

            error: field "nope" does not exist
        "#]],
        );
    }

    #[test]
    fn all_fields() {
        check(
            &[],
            true,
            &expect![[r#"
            GROUP:      x.io
            KIND:       Thing
            VERSION:    v1

            DESCRIPTION:
                A thing.
                <spaces>
            FIELDS:
              kind<tab><string> -required-
              mode<tab><string>
              enum: "", A, B, C, ....
              spec<tab><Spec>
                labels<tab><map[string]string>
                parts<tab><[]Spec>
                size<tab><Quantity>

        "#]],
        );
    }
}
