//! `-o custom-columns=NAME:.metadata.name,...`: one line an object.

use super::{jsonpath::Template, tabs};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;

/// Headers and the path under each.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    columns: Vec<(String, Template)>,
}

impl Columns {
    /// `NAME:.metadata.name,RSRC:.metadata.resourceVersion`
    pub(crate) fn parse(spec: &str) -> Result<Columns> {
        if spec.is_empty() {
            bail!("custom-columns format specified but no custom columns given");
        }
        let mut columns = Vec::new();
        for part in split(spec) {
            let (header, path) = part
                .split_once(':')
                .ok_or_else(|| anyhow!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"))?;
            columns.push((header.to_owned(), Template::relaxed(path)?));
        }
        Ok(Columns { columns })
    }

    /// A line of headers above a line of paths.
    pub(crate) fn parse_file(text: &str) -> Result<Columns> {
        let mut lines = text.lines();
        let headers: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        let paths: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        if headers.is_empty() || headers.len() != paths.len() {
            bail!("number of headers ({}) and field specifications ({}) don't match", headers.len(), paths.len());
        }
        let columns =
            headers.iter().zip(paths).map(|(header, path)| Ok(((*header).to_owned(), Template::relaxed(path)?)));
        Ok(Columns { columns: columns.collect::<Result<_>>()? })
    }

    /// The aligned lines for some objects.
    pub(crate) fn text(&self, objects: &[Value], headers: bool) -> Result<String> {
        let mut lines = String::new();
        if headers {
            lines.push_str(&self.columns.iter().map(|(header, _)| header.as_str()).collect::<Vec<_>>().join("\t"));
            lines.push('\n');
        }
        for object in objects {
            let mut cells = Vec::new();
            for (_, template) in &self.columns {
                let found = template.find(object)?;
                let texts: Vec<String> = found.iter().map(|value| cell(value)).collect();
                cells.push(if texts.is_empty() { "<none>".to_owned() } else { texts.join(",") });
            }
            lines.push_str(&cells.join("\t"));
            lines.push('\n');
        }
        Ok(tabs::align(&lines, 6, 3))
    }
}

/// Go's `%v` of a value.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(cell).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", cell(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// Splits at commas outside brackets and quotes.
fn split(spec: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0_i32, false);
    for c in spec.chars() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            '"' | '\'' => quoted = !quoted,
            _ => {}
        }
        if c == ',' && depth == 0 && !quoted {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn columns_show_what_paths_find() {
        let objects = [
            json!({"m": {"name": "a", "l": {"x": "1"}}, "c": [{"i": 1}, {"i": 2}]}),
            json!({"m": {"name": "b-longer"}}),
        ];
        let columns = Columns::parse("NAME:.m.name,IDS:c[*].i,FIRST:{.c[0,1].i},L:.m.l");
        let text = columns.unwrap().text(&objects[..1], true).unwrap();
        expect![[r#"
            NAME   IDS   FIRST   L
            a      1,2   1,2     map[x:1]
        "#]]
        .assert_eq(&text);
        let text = Columns::parse_file("NAME L\n.m.name .m.l.x\n").unwrap().text(&objects, false).unwrap();
        expect![[r#"
            a          1
            b-longer   <none>
        "#]]
        .assert_eq(&text);
        for spec in ["", "NAME", "A:.b{", "A:.b,C"] {
            assert!(Columns::parse(spec).is_err(), "{spec}");
        }
    }
}
