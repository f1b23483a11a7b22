//! Objects out of files, directories, standard input and URLs: YAML or JSON, several documents, lists.

use super::Info;
use crate::{flags::Files, session::Session};
use anyhow::{Context, Result, anyhow, bail};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// An object and the name of where it came from (`x.yaml`, `STDIN`).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    pub(crate) object: Value,
    pub(crate) source: String,
}

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Everything the flags name, in order.
pub(crate) async fn documents(files: &Files) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut stdin_used = false;
    for name in &files.filename {
        if name == "-" {
            if std::mem::replace(&mut stdin_used, true) {
                bail!("standard input cannot be used for multiple arguments");
            }
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            documents.extend(parse(&text, "STDIN")?);
        } else if name.starts_with("http://") || name.starts_with("https://") {
            documents.extend(parse(&download(name).await?, name)?);
        } else {
            for path in expand(Path::new(name), files.recursive)? {
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    anyhow!("the path {:?} cannot be accessed: {error}", path.display().to_string())
                })?;
                documents.extend(parse(&text, &path.display().to_string())?);
            }
        }
    }
    Ok(documents)
}

/// The files of a path: itself, or the manifests of a directory in name order.
fn expand(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    if !path.exists() {
        bail!("the path {:?} does not exist", path.display().to_string());
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, recursive, &mut found)?;
    if found.is_empty() {
        bail!("error reading [{}]: recognized file extensions are [.json .yaml .yml]", path.display());
    }
    Ok(found)
}

fn collect(directory: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if recursive {
                collect(&path, recursive, found)?;
            }
        } else if path.extension().and_then(|ext| ext.to_str()).is_some_and(|ext| EXTENSIONS.contains(&ext)) {
            found.push(path);
        }
    }
    Ok(())
}

async fn download(url: &str) -> Result<String> {
    let mut url = url.to_owned();
    for _ in 0..10 {
        let uri: http::Uri =
            url.parse().map_err(|error| anyhow!("the URL passed to filename {url:?} is not valid: {error}"))?;
        let mut config = kube::Config::new(uri.clone());
        config.default_retry = false;
        let client = kube::Client::try_from(config)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // The client puts its base URL before the path; only the origin is wanted there.
        let origin =
            format!("{}://{}", uri.scheme_str().unwrap_or("https"), uri.authority().map_or("", |a| a.as_str()));
        let client = match origin.parse::<http::Uri>() {
            Ok(origin) => {
                let mut config = kube::Config::new(origin);
                config.default_retry = false;
                kube::Client::try_from(config)?
            }
            Err(_) => client,
        };
        let request = http::Request::get(path).body(kube::client::Body::empty())?;
        let response = client.send(request).await.map_err(|error| anyhow!("unable to read URL {url:?}: {error}"))?;
        let status = response.status();
        if status.is_redirection()
            && let Some(next) = response.headers().get(http::header::LOCATION).and_then(|next| next.to_str().ok())
        {
            url = if next.starts_with('/') { format!("{origin}{next}") } else { next.to_owned() };
            continue;
        }
        if !status.is_success() {
            bail!("unable to read URL {url:?}, server reported {status}, status code={}", status.as_u16());
        }
        let bytes = response.into_body().collect().await?.to_bytes();
        return String::from_utf8(bytes.to_vec()).with_context(|| format!("{url:?} is not text"));
    }
    bail!("unable to read URL {url:?}: too many redirects")
}

/// The documents of a text; lists are taken apart.
pub(crate) fn parse(text: &str, source: &str) -> Result<Vec<Document>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    for value in values(text).map_err(|error| anyhow!("error parsing {source}: {error}"))? {
        flatten(value, source, &mut documents)?;
    }
    Ok(documents)
}

/// One document that need not be an object.
pub(crate) fn value(text: &str) -> Result<Value> {
    Ok(values(text)?.into_iter().next().unwrap_or_default())
}

fn values(text: &str) -> Result<Vec<Value>> {
    if text.trim_start().starts_with('{') {
        let parsed: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
        if let Ok(values) = parsed {
            return Ok(values);
        }
    }
    let mut values = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut value = serde_yaml::Value::deserialize(document)
            .map_err(|error| anyhow!("error converting YAML to JSON: yaml: {error}"))?;
        value.apply_merge().map_err(|error| anyhow!("error converting YAML to JSON: yaml: {error}"))?;
        let mut value = to_json(value)?;
        octal_modes(&mut value);
        values.push(value);
    }
    Ok(values)
}

/// YAML keys that are not strings become strings, as YAML-to-JSON converters do.
fn to_json(value: serde_yaml::Value) -> Result<Value> {
    use serde_yaml::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => Value::Bool(flag),
        Yaml::Number(number) => serde_json::to_value(number)?,
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_>>()?),
        Yaml::Mapping(map) => {
            let mut object = serde_json::Map::new();
            for (key, value) in map {
                let key = match key {
                    Yaml::String(key) => key,
                    Yaml::Bool(flag) => flag.to_string(),
                    Yaml::Number(number) => number.to_string(),
                    other => bail!("unsupported map key: {other:?}"),
                };
                object.insert(key, to_json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => to_json(tagged.value)?,
    })
}

/// YAML 1.1 reads `0644` as an octal number and manifests rely on it for file modes; the parser here follows YAML 1.2.
fn octal_modes(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(octal_modes),
        Value::Object(map) => {
            for (key, value) in map {
                if (key == "defaultMode" || key == "mode")
                    && let Some(text) = value.as_str()
                    && text.starts_with('0')
                    && let Ok(number) = u32::from_str_radix(text, 8)
                {
                    *value = number.into();
                }
                // Labels, annotations and data are strings, whatever they look like.
                if !matches!(key.as_str(), "data" | "stringData" | "labels" | "annotations") {
                    octal_modes(value);
                }
            }
        }
        _ => {}
    }
}

fn flatten(value: Value, source: &str, documents: &mut Vec<Document>) -> Result<()> {
    if value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(());
    }
    if !value.is_object() {
        bail!(
            "error parsing {source}: couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of an object"
        );
    }
    let kind = value["kind"].as_str().unwrap_or_default();
    if kind.ends_with("List") && value["items"].is_array() {
        let Value::Array(items) = value["items"].clone() else { return Ok(()) };
        return items.into_iter().try_for_each(|item| flatten(item, source, documents));
    }
    if kind.is_empty() {
        bail!("unable to decode {source:?}: Object 'Kind' is missing in '{value}'");
    }
    if value["apiVersion"].as_str().unwrap_or_default().is_empty() {
        bail!("unable to decode {source:?}: Object 'apiVersion' is missing in '{value}'");
    }
    documents.push(Document { object: value, source: source.to_owned() });
    Ok(())
}

/// The objects of the files, with type and namespace worked out.
pub(crate) async fn infos(cx: &Session, files: &Files) -> Result<Vec<Info>> {
    let mut infos = Vec::new();
    for document in documents(files).await? {
        infos.push(info(cx, document).await?);
    }
    if infos.is_empty() {
        bail!("no objects passed to {}", "apply");
    }
    Ok(infos)
}

/// Finds an object's type and puts it into the namespace of the session when it names none.
pub(crate) async fn info(cx: &Session, document: Document) -> Result<Info> {
    let Document { mut object, source } = document;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (name, own) = (text(&object["metadata"]["name"]), text(&object["metadata"]["namespace"]));
    let Some(resource) = cx.mapper().await?.of_kind(&api_version, &kind) else {
        bail!(
            "resource mapping not found for name: {name:?} namespace: {own:?} from {source:?}: no matches for kind {kind:?} in version {api_version:?}\nensure CRDs are installed first"
        );
    };
    let namespace = if resource.namespaced {
        match cx.namespace_flag() {
            Some(asked) if !own.is_empty() && own != asked => bail!(
                "the namespace from the provided object {own:?} does not match the namespace {asked:?}. You must pass '--namespace={own}' to perform this operation."
            ),
            _ => {}
        }
        let namespace = if own.is_empty() { cx.namespace().await? } else { own };
        object["metadata"]["namespace"] = namespace.clone().into();
        Some(namespace)
    } else {
        None
    };
    Ok(Info { resource, namespace, name, object, source: Some(source) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn objects(text: &str) -> Vec<Value> {
        parse(text, "x.yaml").unwrap().into_iter().map(|document| document.object).collect()
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "---\nkind: A\napiVersion: v1\n---\n# nothing\n---\nkind: List\napiVersion: v1\nitems:\n- {kind: B, apiVersion: v1}\n- {kind: C, apiVersion: v1}\n";
        let kinds: Vec<Value> = objects(text).iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert_eq!(objects("{\"kind\":\"A\",\t\"apiVersion\":\"v1\"}{\"kind\":\"B\",\"apiVersion\":\"v1\"}").len(), 2);
    }

    #[test]
    fn numbers_and_keys_are_as_yaml_1_1_has_them() {
        let object = &objects("kind: A\napiVersion: v1\nvolumes: [{defaultMode: 0644}]\ndata: {1: x, true: y}\n")[0];
        assert_eq!(object["volumes"][0]["defaultMode"], 420);
        assert_eq!(object["data"], json!({"1": "x", "true": "y"}));
    }

    #[test]
    fn bad_documents_say_where() {
        let cases = [
            ("a: [", "error parsing x.yaml: error converting YAML to JSON: yaml: "),
            ("a: b", "unable to decode \"x.yaml\": Object 'Kind' is missing in '{\"a\":\"b\"}'"),
            ("- a", "error parsing x.yaml: couldn't get version/kind"),
        ];
        for (text, start) in cases {
            let message = parse(text, "x.yaml").unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn directories_give_their_manifests() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sub")).unwrap();
        for name in ["b.yaml", "a.json", "c.txt", "sub/d.yml"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(expand(directory.path(), false).unwrap().len(), 2);
        assert_eq!(expand(directory.path(), true).unwrap().len(), 3);
        assert_eq!(expand(Path::new("/none"), false).unwrap_err().to_string(), "the path \"/none\" does not exist");
    }
}
