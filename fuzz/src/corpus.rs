//! The tree's own documents: manifests, the YAML of its Markdown, and objects of every built-in kind.

use std::{fs, path::Path, sync::LazyLock};

use mk8s_api::{kinds, schema};
use serde::Deserialize;
use serde_json::{Value, json};

/// Objects as values.
pub static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(objects);
/// The same as JSON text.
pub static JSON: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| OBJECTS.iter().map(|o| o.to_string().into_bytes()).collect());
/// The documents as they stand in the tree.
pub static YAML: LazyLock<Vec<Vec<u8>>> = LazyLock::new(yaml);

/// Objects that say more than the documents do.
const RICH: &str = include_str!("rich.yaml");

fn yaml() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = vec![RICH.as_bytes().to_vec()];
    for folder in ["manifests", "tests/seeds/documents", "docs", "src"] {
        read(&root.join(folder), &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn read(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(&path, found);
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("yaml" | "yml") => found.push(text.into_bytes()),
            Some("md") => found.extend(blocks(&text).map(|block| block.as_bytes().to_vec())),
            _ => {}
        }
    }
}

/// What stands between fences and looks like an object.
fn blocks(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("```").skip(1).step_by(2).filter_map(|block| {
        let (_, body) = block.split_once('\n')?;
        body.contains("kind:").then(|| &body[body.find("apiVersion").unwrap_or(0)..])
    })
}

fn objects() -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for text in YAML.iter() {
        // After an error there is no end of errors.
        let documents =
            serde_yaml::Deserializer::from_slice(text).map_while(|document| Value::deserialize(document).ok());
        found.extend(documents.filter(Value::is_object));
    }
    for kind in kinds::builtin() {
        let mut object =
            json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "a"}, "spec": {}});
        if let Some(schema) = schema::schema_of(&kind.group, &kind.version, &kind.kind) {
            schema.default(&mut object);
        }
        found.push(object);
    }
    found
}
