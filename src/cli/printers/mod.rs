//! What an object or a list looks like on the screen.

pub(crate) mod columns;
pub(crate) mod ordered;
pub(crate) mod table;
pub(crate) mod tabs;
pub(crate) mod yaml;

use crate::{
    flags::{ChangeFlags, DryRun},
    resolve::Info,
};
use anyhow::{Context, Result, anyhow};
pub(crate) use mk8s_api::json_path as jsonpath;
use serde_json::{Value, ser::PrettyFormatter};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The value of `-o`.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    Table,
    Wide,
    Yaml,
    Json,
    Name,
    JsonPath(jsonpath::Template),
    Columns(columns::Columns),
}

impl Output {
    pub(crate) fn parse(text: &str) -> Result<Output> {
        let (format, rest) = text.split_once('=').unwrap_or((text, ""));
        let from_file = || std::fs::read_to_string(rest).with_context(|| format!("error reading --template {rest}"));
        Ok(match format {
            "" => Output::Table,
            "wide" => Output::Wide,
            "yaml" => Output::Yaml,
            "json" => Output::Json,
            "name" => Output::Name,
            "jsonpath" | "jsonpath-as-json" => Output::JsonPath(path(rest)?),
            "jsonpath-file" => Output::JsonPath(path(from_file()?.trim_end_matches('\n'))?),
            "custom-columns" => Output::Columns(columns::Columns::parse(rest)?),
            "custom-columns-file" => Output::Columns(columns::Columns::parse_file(&from_file()?)?),
            _ => {
                return Err(anyhow!(
                    "unable to match a printer suitable for the output format {format:?}, allowed formats are: custom-columns,custom-columns-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,wide,yaml"
                ));
            }
        })
    }

    /// Whether the server's table is what gets printed.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Output::Table | Output::Wide)
    }
}

fn path(text: &str) -> Result<jsonpath::Template> {
    if text.is_empty() {
        return Err(anyhow!("template format specified but no template given"));
    }
    jsonpath::Template::parse(text).map_err(|error| anyhow!("error parsing jsonpath {text}, {error}"))
}

/// JSON with four spaces and `<>&` escaped, as Go writes it.
pub(crate) fn to_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    serde::Serialize::serialize(value, &mut writer).expect("a JSON value can always be written to memory");
    let text = String::from_utf8(bytes).expect("serde_json writes UTF-8");
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
}

/// One object in a format other than a table.
pub(crate) fn object_text(output: &Output, object: &Value) -> Result<String> {
    Ok(match output {
        Output::Yaml => yaml::to_yaml(object),
        Output::Json => to_json(object),
        Output::JsonPath(template) => {
            template.render(object).map_err(|error| anyhow!("error executing jsonpath: {error}"))?
        }
        Output::Columns(columns) => columns.text(std::slice::from_ref(object), true)?,
        Output::Name => format!("{}\n", name_of(object)),
        Output::Table | Output::Wide => String::new(),
    })
}

/// `deployment.apps/x` from an object that says what it is.
pub(crate) fn name_of(object: &Value) -> String {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Drops what nobody wants to read.
pub(crate) fn drop_managed_fields(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

/// The YAML documents that were printed; those after the first are set apart.
static DOCUMENTS: AtomicUsize = AtomicUsize::new(0);

/// Prints the end of a change: the object when `-o` asks for it, `kind/name VERBed` otherwise.
pub(crate) fn changed(flags: &ChangeFlags, dry_run: DryRun, info: &Info, object: &Value, done: &str) -> Result<()> {
    changed_as(flags, dry_run, &info.resource.label(), object, &info.name, done)
}

/// The same for an object whose type is only known by its label.
pub(crate) fn changed_as(
    flags: &ChangeFlags,
    dry_run: DryRun,
    label: &str,
    object: &Value,
    fallback: &str,
    done: &str,
) -> Result<()> {
    let output = flags.output.parse()?;
    let name = object["metadata"]["name"].as_str().unwrap_or(fallback);
    match output {
        Output::Table | Output::Wide => crate::outln!("{label}/{name} {done}{}", dry_run.suffix()),
        Output::Name => crate::outln!("{label}/{name}"),
        other => {
            let mut object = object.clone();
            if !flags.output.show_managed_fields {
                drop_managed_fields(&mut object);
            }
            if matches!(other, Output::Yaml) && DOCUMENTS.fetch_add(1, Ordering::Relaxed) > 0 {
                crate::outln!("---");
            }
            crate::say::out(format_args!("{}", object_text(&other, &object)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_indented_and_escaped() {
        assert_eq!(
            to_json(&json!({"a": "<&>", "b": [1]})),
            "{\n    \"a\": \"\\u003c\\u0026\\u003e\",\n    \"b\": [\n        1\n    ]\n}\n"
        );
    }

    #[test]
    fn formats() {
        for (text, fine) in [
            ("", true),
            ("yaml", true),
            ("jsonpath={.a}", true),
            ("jsonpath=", false),
            ("custom-columns=A:.a", true),
            ("tea", false),
        ] {
            assert_eq!(Output::parse(text).is_ok(), fine, "{text}");
        }
        assert_eq!(
            name_of(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}})),
            "deployment.apps/x"
        );
    }
}
