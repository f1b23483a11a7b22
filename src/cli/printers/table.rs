//! The server's Tables on the screen, and the options of `get` that change them.

use super::{jsonpath, tabs};
use anyhow::Result;
use serde_json::Value;

/// What `get` can ask of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableOptions {
    pub(crate) wide: bool,
    pub(crate) headers: bool,
    pub(crate) namespaces: bool,
    pub(crate) labels: bool,
    pub(crate) label_columns: Vec<String>,
    /// Put before names: `pod/`.
    pub(crate) prefix: Option<String>,
}

/// The lines of a table, tabs between the cells.
pub(crate) fn lines(table: &Value, options: &TableOptions) -> Vec<String> {
    let definitions: Vec<&Value> = table["columnDefinitions"].as_array().into_iter().flatten().collect();
    let shown: Vec<usize> = (0..definitions.len())
        .filter(|index| options.wide || definitions[*index]["priority"].as_i64().unwrap_or(0) == 0)
        .collect();
    let mut lines = Vec::new();
    if options.headers {
        let mut cells: Vec<String> = Vec::new();
        if options.namespaces {
            cells.push("NAMESPACE".to_owned());
        }
        cells.extend(shown.iter().map(|index| definitions[*index]["name"].as_str().unwrap_or_default().to_uppercase()));
        cells.extend(options.label_columns.iter().map(|key| key.rsplit('/').next().unwrap_or(key).to_uppercase()));
        if options.labels {
            cells.push("LABELS".to_owned());
        }
        lines.push(cells.join("\t"));
    }
    for row in table["rows"].as_array().into_iter().flatten() {
        lines.push(row_line(row, &definitions, &shown, options));
    }
    lines
}

fn row_line(row: &Value, definitions: &[&Value], shown: &[usize], options: &TableOptions) -> String {
    let metadata = &row["object"]["metadata"];
    let mut cells: Vec<String> = Vec::new();
    if options.namespaces {
        cells.push(metadata["namespace"].as_str().unwrap_or_default().to_owned());
    }
    for index in shown {
        let text = cell_text(&row["cells"][index]);
        let is_name = definitions[*index]["format"] == "name" || (*index == 0 && definitions[0]["name"] == "Name");
        match (&options.prefix, is_name) {
            (Some(prefix), true) => cells.push(format!("{prefix}{text}")),
            _ => cells.push(text),
        }
    }
    let label = |key: &str| metadata["labels"][key].as_str().unwrap_or("<none>").to_owned();
    cells.extend(options.label_columns.iter().map(|key| label(key)));
    if options.labels {
        cells.push(labels_text(&metadata["labels"]));
    }
    cells.join("\t")
}

/// `a=b,c=d` or `<none>`.
pub(crate) fn labels_text(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// A cell on one line, without tabs or escape codes.
fn cell_text(cell: &Value) -> String {
    let text = match cell {
        Value::Null => return "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = match text.find(['\n', '\r', '\u{c}']) {
        Some(end) => format!("{}...", &text[..end]),
        None => text,
    };
    line.chars().flat_map(|c| if c == '\t' || c == '\u{1b}' { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Lays out lines as `get` does.
pub(crate) fn layout(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    tabs::align(&(lines.join("\n") + "\n"), 6, 3)
}

/// Sorts rows (or objects) by what a path finds in them; those without it come first.
pub(crate) fn sort_by(items: &mut [Value], template: &jsonpath::Template, object: fn(&Value) -> &Value) -> Result<()> {
    let mut failure = None;
    let mut keyed: Vec<(Option<Value>, Value)> = Vec::with_capacity(items.len());
    for item in items.iter_mut() {
        let key = match template.find(object(item)) {
            Ok(found) => found.first().map(|value| (*value).clone()),
            Err(error) => {
                failure = Some(error);
                None
            }
        };
        keyed.push((key, item.take()));
    }
    if let Some(error) = failure {
        return Err(error.into());
    }
    keyed.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref()));
    for (place, (_, item)) in items.iter_mut().zip(keyed) {
        *place = item;
    }
    Ok(())
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, _) => Ordering::Less,
        (_, None) => Ordering::Greater,
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(Value::String(a)), Some(Value::String(b))) => match (amount(a), amount(b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            _ => a.cmp(b),
        },
        (Some(a), Some(b)) => a.to_string().cmp(&b.to_string()),
    }
}

/// A quantity as a number, to compare `500m` with `1`.
pub(crate) fn amount(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1048576.0,
        "Gi" => 1073741824.0,
        "Ti" => 1099511627776.0,
        "Pi" => 1125899906842624.0,
        "Ei" => 1152921504606846976.0,
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn table() -> Value {
        json!({"kind": "Table",
            "columnDefinitions": [{"name": "Name", "format": "name", "priority": 0}, {"name": "Ready", "priority": 0}, {"name": "IP", "priority": 1}],
            "rows": [
                {"cells": ["nginx-1", "1/1", "10.42.0.5"], "object": {"metadata": {"name": "nginx-1", "namespace": "a", "labels": {"app": "x", "v": "1"}}}},
                {"cells": ["b", null, "line\nmore"], "object": {"metadata": {"name": "b", "namespace": "b"}}}]})
    }

    fn check(options: TableOptions, expected: &Expect) {
        expected.assert_eq(&layout(&lines(&table(), &options)));
    }

    #[test]
    fn options_change_the_table() {
        let headers = TableOptions { headers: true, ..TableOptions::default() };
        check(
            headers.clone(),
            &expect![[r#"
            NAME      READY
            nginx-1   1/1
            b         <none>
        "#]],
        );
        check(
            TableOptions { wide: true, namespaces: true, prefix: Some("pod/".into()), ..headers.clone() },
            &expect![[r#"
            NAMESPACE   NAME          READY    IP
            a           pod/nginx-1   1/1      10.42.0.5
            b           pod/b         <none>   line...
        "#]],
        );
        check(
            TableOptions { labels: true, label_columns: vec!["x/app".into(), "v".into()], headers: false, ..headers },
            &expect![[r#"
            nginx-1   1/1      <none>   1        app=x,v=1
            b         <none>   <none>   <none>   <none>
        "#]],
        );
    }

    #[test]
    fn sorting_knows_numbers_and_quantities() {
        let mut items: Vec<Value> = ["2", "500m", "1Ki", "10"].iter().map(|q| json!({"q": q})).collect();
        items.push(json!({}));
        sort_by(&mut items, &jsonpath::Template::relaxed(".q").unwrap(), |item| item).unwrap();
        let sorted: Vec<String> = items.iter().map(|item| item["q"].to_string()).collect();
        assert_eq!(sorted, ["null", "\"500m\"", "\"2\"", "\"10\"", "\"1Ki\""]);
    }
}
