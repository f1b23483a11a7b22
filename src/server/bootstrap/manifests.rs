//! Manifests applied at start: those inside the executable, and those an administrator puts in
//! `<data-dir>/server/manifests`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// By the name `--disable` knows, in the order they are applied.
const EMBEDDED: [(&str, &str); 4] = [
    ("priority-classes", include_str!("../../../manifests/priority-classes.yaml")),
    ("flowcontrol", include_str!("../../../manifests/flowcontrol.yaml")),
    ("joining", include_str!("../../../manifests/joining.yaml")),
    ("local-storage", include_str!("../../../manifests/local-storage.yaml")),
];

const NAMESPACES: &str = include_str!("../../../manifests/namespaces.yaml");

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("document {number} is not readable YAML")]
    Yaml {
        number: usize,
        #[source]
        source: serde_yaml::Error,
    },
    #[error("document {number} is not a Kubernetes object: it needs apiVersion, kind and metadata.name")]
    NotAnObject { number: usize },
}

/// The namespaces, which all else may need.
pub(super) fn namespaces() -> Vec<Value> {
    parse(NAMESPACES).expect("embedded manifests are read by a test")
}

/// The embedded objects that are not disabled.
pub(super) fn embedded(disabled: &[String]) -> Vec<Value> {
    let wanted = EMBEDDED.into_iter().filter(|(name, _)| !disabled.iter().any(|d| d == name));
    wanted.flat_map(|(_, text)| parse(text).expect("embedded manifests are read by a test")).collect()
}

/// The objects of priority and fairness that every cluster has.
pub(crate) fn flow_control() -> Vec<Value> {
    let (_, text) = EMBEDDED[1];
    parse(text).expect("embedded manifests are read by a test")
}

/// The administrator's files, sorted by name; those whose name (without ending) is disabled are left out.
pub(super) fn files(dir: &Path, disabled: &[String]) -> Result<Vec<PathBuf>, ManifestError> {
    let failed = |source| ManifestError::Read { path: dir.to_path_buf(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| {
        let ending = path.extension().and_then(|e| e.to_str());
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        matches!(ending, Some("yaml" | "yml" | "json")) && !disabled.iter().any(|d| d == stem)
    });
    paths.sort();
    Ok(paths)
}

pub(super) fn read(path: &Path) -> Result<Vec<Value>, ManifestError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_path_buf(), source })?;
    parse(&text)
}

/// The objects of a YAML (or JSON) text of several documents; lists are opened.
pub(super) fn parse(text: &str) -> Result<Vec<Value>, ManifestError> {
    let mut objects = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let value = Value::deserialize(document).map_err(|source| ManifestError::Yaml { number, source })?;
        let items = match value["kind"].as_str() {
            Some("List") => value["items"].as_array().cloned().unwrap_or_default(),
            _ if value.is_null() => Vec::new(),
            _ => vec![value],
        };
        let complete =
            |o: &Value| o["apiVersion"].is_string() && o["kind"].is_string() && o["metadata"]["name"].is_string();
        if !items.iter().all(complete) {
            return Err(ManifestError::NotAnObject { number });
        }
        objects.extend(items);
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_manifests_are_readable() {
        assert_eq!(namespaces().len(), 4);
        let names = |objects: Vec<Value>| objects.iter().map(|o| o["metadata"]["name"].to_string()).collect::<Vec<_>>();
        assert_eq!(names(embedded(&["flowcontrol".into(), "joining".into(), "local-storage".into()])).len(), 2);
        assert_eq!(names(embedded(&[])).len(), 31);
    }

    #[test]
    fn texts_become_objects_or_errors() {
        let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let cases = [
            (object.to_string(), Ok(1)),
            (format!("{object}---\n{object}"), Ok(2)),
            ("---\n---\n".to_string(), Ok(0)),
            (r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}]}"#.to_string(), Ok(1)),
            (format!("{object}---\nkind: ConfigMap"), Err("document 2 is not a Kubernetes object")),
            ("a: [".to_string(), Err("document 1 is not readable YAML")),
        ];
        for (text, expected) in cases {
            match (parse(&text), expected) {
                (Ok(objects), Ok(count)) => assert_eq!(objects.len(), count, "{text}"),
                (Err(error), Err(message)) => assert!(error.to_string().starts_with(message), "{error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
