//! Kinds without a description of their own: every field, by its name.

use super::{
    Seen,
    fields::{go, keys, text},
    page::{Page, line},
};
use serde_json::Value;

/// Fields that the head has shown already, or nobody wants to see.
const SKIPPED: [&str; 5] =
    [".metadata.managedFields", ".metadata.name", ".metadata.namespace", ".metadata.labels", ".metadata.annotations"];

pub(super) fn write(seen: &Seen, page: &mut Page) {
    let metadata = &seen.object["metadata"];
    line!(page, 0, "Name:\t{}", text(&metadata["name"]));
    line!(page, 0, "Namespace:\t{}", text(&metadata["namespace"]));
    page.marks(&seen.object);
    content(&seen.object, 0, "", page);
}

fn content(object: &Value, level: usize, prefix: &str, page: &mut Page) {
    for field in keys(object) {
        let path = format!("{prefix}.{field}");
        if SKIPPED.contains(&path.as_str()) {
            continue;
        }
        let label = label(field);
        match &object[field] {
            inner @ Value::Object(_) => {
                line!(page, level, "{label}:");
                content(inner, level + 1, &path, page);
            }
            Value::Array(items) => {
                line!(page, level, "{label}:");
                for item in items {
                    match item {
                        Value::Object(_) => content(item, level + 1, &path, page),
                        other => line!(page, level + 1, "{}", go(other)),
                    }
                }
            }
            other => line!(page, level, "{label}:\t{}", go(other)),
        }
    }
}

/// `apiVersion` as `API Version`; names with anything but letters and dashes stay as they are.
fn label(field: &str) -> String {
    if !field.chars().all(|c| c.is_alphabetic() || c == '-') {
        return field.to_owned();
    }
    let parts = joined_acronyms(split(field));
    let words: Vec<String> = parts.into_iter().map(titled).collect();
    words.join(" ")
}

fn titled(part: String) -> String {
    let upper = part.to_uppercase();
    if matches!(upper.as_str(), "API" | "URL" | "UID" | "GUID") {
        return upper;
    }
    if part.to_lowercase() != part {
        return part;
    }
    let mut chars = part.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Other,
}

/// Splits camel case where the class of characters changes; the last capital of a run goes with the word after it.
fn split(field: &str) -> Vec<String> {
    let class = |c: char| match c {
        c if c.is_lowercase() => Class::Lower,
        c if c.is_uppercase() => Class::Upper,
        _ => Class::Other,
    };
    let mut runs: Vec<(Class, String)> = Vec::new();
    for c in field.chars() {
        match runs.last_mut() {
            Some((last, run)) if *last == class(c) => run.push(c),
            _ => runs.push((class(c), c.to_string())),
        }
    }
    for index in 0..runs.len().saturating_sub(1) {
        if (runs[index].0, runs[index + 1].0) == (Class::Upper, Class::Lower)
            && let Some(capital) = runs[index].1.pop()
        {
            runs[index + 1].1.insert(0, capital);
        }
    }
    runs.into_iter().map(|(_, run)| run).filter(|run| !run.is_empty()).collect()
}

/// `CIDRs` came apart into `CID` and `Rs`; puts such together again.
fn joined_acronyms(parts: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut parts = parts.into_iter().peekable();
    while let Some(part) = parts.next() {
        let capitals = part.len() >= 2 && part.chars().all(|c| !c.is_alphabetic() || c.is_uppercase());
        match parts.next_if(|next| capitals && next.starts_with(char::is_uppercase)) {
            Some(next) => joined.push(part + &next),
            None => joined.push(part),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words() {
        let cases = [
            ("apiVersion", "API Version"),
            ("uid", "UID"),
            ("creationTimestamp", "Creation Timestamp"),
            ("podCIDRs", "Pod CIDRs"),
            ("image", "Image"),
            ("k8s.io/x", "k8s.io/x"),
            ("HTTPServer", "HTTPServer"),
            ("foo-bar", "Foo - Bar"),
        ];
        for (field, expected) in cases {
            assert_eq!(label(field), expected, "{field}");
        }
    }
}
