//! `create configmap` and `create secret`: literals, files, directories and env files.

use super::Generate;
use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use mk8s_api::names;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Where the data comes from.
#[derive(clap::Args, Debug, Default)]
struct Sources {
    /// key=path, a path, or a directory; may be repeated.
    #[arg(long, value_name = "[KEY=]PATH")]
    from_file: Vec<String>,
    /// key=value; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// A file of key=value lines; may be repeated.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    from_env_file: Vec<String>,
    /// Append a hash of the content to the name.
    #[arg(long)]
    append_hash: bool,
}

/// Keys and their bytes, in order of appearance.
type Data = Vec<(String, Vec<u8>)>;

impl Sources {
    fn read(&self) -> Result<Data> {
        let others = !self.from_file.is_empty() || !self.from_literal.is_empty();
        if others && !self.from_env_file.is_empty() {
            bail!("from-env-file cannot be combined with from-file or from-literal");
        }
        let mut data = Data::new();
        for source in &self.from_file {
            files(source, &mut data)?;
        }
        for literal in &self.from_literal {
            let (key, value) = literal
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| anyhow!("invalid literal source {literal}, expected key=value"))?;
            let value = value
                .strip_prefix(['"', '\''])
                .zip(value.chars().next())
                .and_then(|(rest, quote)| rest.strip_suffix(quote))
                .unwrap_or(value);
            data.push((key.to_owned(), value.as_bytes().to_vec()));
        }
        for path in &self.from_env_file {
            let bytes = std::fs::read(path).map_err(|error| anyhow!("error reading {path}: {}", go_error(&error)))?;
            let text = String::from_utf8(bytes).map_err(|_| anyhow!("env file {path} contains invalid utf8 bytes"))?;
            for line in text.trim_start_matches('\u{feff}').lines() {
                data.extend(env_line(line)?);
            }
        }
        Ok(data)
    }
}

/// Keys must be good ones, and no two may be the same; the words differ by kind.
fn check(data: &Data, kind: &str, name: &str) -> Result<()> {
    for (index, (key, _)) in data.iter().enumerate() {
        let faults = names::config_map_key(key);
        if !faults.is_empty() && kind == "ConfigMap" {
            bail!("{key:?} is not a valid key name for a ConfigMap: {}", faults.join(","));
        }
        if !faults.is_empty() {
            bail!("{key:?} is not valid key name for a Secret {}", faults.join(";"));
        }
        let Some((_, other)) = data[..index].iter().find(|(other, _)| other == key) else { continue };
        if kind == "ConfigMap" {
            let field = if std::str::from_utf8(other).is_ok() { "Data" } else { "BinaryData" };
            bail!("cannot add key {key:?}, another key by that name already exists in {field} for ConfigMap {name:?}");
        }
        bail!("cannot add key {key}, another key by that name already exists");
    }
    Ok(())
}

/// Appends a hash of what an object holds to its name.
fn append_hash(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    let or_empty = |field: &Value| if field.is_null() { json!({}) } else { field.clone() };
    let mut hashed = json!({"kind": object["kind"], "name": name, "data": or_empty(&object["data"])});
    if object["kind"] == "Secret" {
        hashed["type"] = object["type"].as_str().unwrap_or_default().into();
    } else if !object["binaryData"].is_null() {
        hashed["binaryData"] = object["binaryData"].clone();
    }
    let digest = Sha256::digest(go_json(&hashed));
    let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    // Vowels, and digits that look like them, would make words.
    let letters = hex.chars().map(|c| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        c => c,
    });
    object["metadata"]["name"] =
        format!("{}-{}", name.as_str().unwrap_or_default(), letters.collect::<String>()).into();
}

/// JSON in which nothing could be taken for HTML, as Go writes it.
fn go_json(value: &Value) -> String {
    let text = value.to_string();
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

fn go_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

fn files(source: &str, data: &mut Data) -> Result<()> {
    let (key, path) = match source.split_once('=') {
        Some(("", _)) => bail!("key name for file path {} missing", source.trim_start_matches('=')),
        Some((key, "")) => bail!("file path for key name {key} missing"),
        Some((_, path)) if path.contains('=') => bail!("key names or file paths cannot contain '='"),
        Some((key, path)) => (Some(key), path),
        None => (None, source),
    };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| anyhow!("error reading {}: {}", path.display(), go_error(&error)))
    };
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let path = Path::new(path);
    if path.is_dir() {
        if key.is_some() {
            bail!("cannot give a key name for a directory path");
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("error listing files in {}", path.display()))?;
        let mut paths: Vec<_> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
        paths.sort();
        // Files whose names cannot be keys are left out, as kubectl does.
        for path in paths {
            data.push((name(&path), read(&path)?));
        }
        return Ok(());
    }
    data.push((key.map_or_else(|| name(path), str::to_owned), read(path)?));
    Ok(())
}

/// One line of an env file: comments and blank lines are nothing; a bare key takes its value from the environment.
fn env_line(line: &str) -> Result<Option<(String, Vec<u8>)>> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key, Some(value.as_bytes().to_vec())),
        None => (line, None),
    };
    let bad =
        key.is_empty() || key.chars().next().is_some_and(|c| c.is_ascii_digit()) || key.contains(char::is_whitespace);
    if bad {
        bail!(
            "{key:?} is not a valid key name: a valid environment variable name must consist only of printable ASCII characters other than '='"
        );
    }
    let value = value.or_else(|| std::env::var(key).ok().map(String::into_bytes));
    Ok(value.map(|value| (key.to_owned(), value)))
}

#[derive(clap::Args, Debug)]
pub(crate) struct ConfigMap {
    name: String,
    #[command(flatten)]
    sources: Sources,
}

impl Generate for ConfigMap {
    fn generate(&self) -> Result<Value> {
        let (mut text, mut binary) = (Map::new(), Map::new());
        let data = self.sources.read()?;
        check(&data, "ConfigMap", &self.name)?;
        for (key, bytes) in data {
            match String::from_utf8(bytes) {
                Ok(value) => text.insert(key, value.into()),
                Err(error) => binary.insert(key, STANDARD.encode(error.into_bytes()).into()),
            };
        }
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}});
        if !text.is_empty() {
            object["data"] = text.into();
        }
        if !binary.is_empty() {
            object["binaryData"] = binary.into();
        }
        if self.sources.append_hash {
            append_hash(&mut object);
        }
        Ok(object)
    }
}

fn secret(name: &str, kind: &str, data: Data, hashed: bool) -> Result<Value> {
    check(&data, "Secret", name)?;
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    if !kind.is_empty() {
        object["type"] = kind.into();
    }
    let data: Map<String, Value> = data.into_iter().map(|(key, bytes)| (key, STANDARD.encode(bytes).into())).collect();
    if !data.is_empty() {
        object["data"] = data.into();
    }
    if hashed {
        append_hash(&mut object);
    }
    Ok(object)
}

#[derive(clap::Args, Debug)]
pub(crate) struct Generic {
    name: String,
    #[command(flatten)]
    sources: Sources,
    /// The type of secret.
    #[arg(long = "type", default_value = "", hide_default_value = true)]
    kind: String,
}

impl Generate for Generic {
    fn generate(&self) -> Result<Value> {
        secret(&self.name, &self.kind, self.sources.read()?, self.sources.append_hash)
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct DockerRegistry {
    name: String,
    /// Username for registry authentication.
    #[arg(long, default_value = "", hide_default_value = true)]
    docker_username: String,
    /// Password for registry authentication.
    #[arg(long, default_value = "", hide_default_value = true)]
    docker_password: String,
    /// Email for the registry.
    #[arg(long, default_value = "", hide_default_value = true)]
    docker_email: String,
    /// Server location of the registry.
    #[arg(long, default_value = "https://index.docker.io/v1/")]
    docker_server: String,
    /// A ready .dockerconfigjson file.
    #[arg(long, value_name = "[KEY=]PATH")]
    from_file: Vec<String>,
    /// Append a hash of the content to the name.
    #[arg(long)]
    append_hash: bool,
}

impl Generate for DockerRegistry {
    fn generate(&self) -> Result<Value> {
        let kind = "kubernetes.io/dockerconfigjson";
        if !self.from_file.is_empty() {
            let sources = Sources { from_file: self.from_file.clone(), ..Sources::default() };
            return secret(&self.name, kind, sources.read()?, self.append_hash);
        }
        if self.docker_username.is_empty() || self.docker_password.is_empty() {
            bail!(
                "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required"
            );
        }
        let auth = STANDARD.encode(format!("{}:{}", self.docker_username, self.docker_password));
        // Written by hand: the order of the fields is kubectl's.
        let quoted = |text: &str| go_json(&text.into());
        let mut entry =
            format!("\"username\":{},\"password\":{}", quoted(&self.docker_username), quoted(&self.docker_password));
        if !self.docker_email.is_empty() {
            entry.push_str(&format!(",\"email\":{}", quoted(&self.docker_email)));
        }
        let text = format!("{{\"auths\":{{{}:{{{entry},\"auth\":\"{auth}\"}}}}}}", quoted(&self.docker_server));
        secret(&self.name, kind, vec![(".dockerconfigjson".to_owned(), text.into_bytes())], self.append_hash)
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Tls {
    name: String,
    /// Path to a PEM encoded public key certificate.
    #[arg(long, default_value = "", hide_default_value = true)]
    cert: String,
    /// Path to the private key of the certificate.
    #[arg(long, default_value = "", hide_default_value = true)]
    key: String,
    /// Append a hash of the content to the name.
    #[arg(long)]
    append_hash: bool,
}

impl Generate for Tls {
    fn generate(&self) -> Result<Value> {
        if self.cert.is_empty() || self.key.is_empty() {
            bail!("key and cert must be specified");
        }
        let read = |path: &str| {
            std::fs::read(path).map_err(|error| anyhow!("Cannot read file {path}, open {path}: {}", go_error(&error)))
        };
        let (cert, key) = (read(&self.cert)?, read(&self.key)?);
        if !String::from_utf8_lossy(&cert).contains("-----BEGIN CERTIFICATE-----") {
            bail!("tls: failed to find any PEM data in certificate input");
        }
        if !String::from_utf8_lossy(&key).contains("PRIVATE KEY-----") {
            bail!("tls: failed to find any PEM data in key input");
        }
        let data = vec![("tls.crt".to_owned(), cert), ("tls.key".to_owned(), key)];
        secret(&self.name, "kubernetes.io/tls", data, self.append_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("a.conf"), "x=1\n").unwrap();
        std::fs::write(path("b.bin"), [0xff, 0xfe]).unwrap();
        std::fs::write(path("env"), "# c\nA=1\n\n B=two words \nC=\n").unwrap();
        let read = |sources: Sources| {
            sources.read().map(|data| {
                data.into_iter()
                    .map(|(key, bytes)| format!("{key}={}", String::from_utf8_lossy(&bytes)))
                    .collect::<Vec<_>>()
            })
        };
        let all =
            read(Sources { from_file: vec![directory.path().display().to_string()], ..Sources::default() }).unwrap();
        assert_eq!(all.len(), 3);
        let named = read(Sources {
            from_file: vec![format!("k={}", path("a.conf"))],
            from_literal: vec!["l=v=w".into()],
            ..Sources::default()
        });
        assert_eq!(named.unwrap(), ["k=x=1\n", "l=v=w"]);
        let env = read(Sources { from_env_file: vec![path("env")], ..Sources::default() });
        assert_eq!(env.unwrap(), ["A=1", "B=two words ", "C="]);
        let wrong = read(Sources { from_file: vec![path("none")], ..Sources::default() });
        assert_eq!(
            wrong.unwrap_err().to_string(),
            format!("error reading {}: no such file or directory", path("none"))
        );
    }

    #[test]
    fn keys_are_checked() {
        let checked = |keys: &[&str], kind: &str| {
            let data = keys.iter().map(|key| ((*key).to_owned(), Vec::new())).collect();
            check(&data, kind, "x").map_err(|error| error.to_string())
        };
        assert_eq!(checked(&["a", "b"], "ConfigMap"), Ok(()));
        assert_eq!(
            checked(&["a", "a"], "ConfigMap").unwrap_err(),
            "cannot add key \"a\", another key by that name already exists in Data for ConfigMap \"x\""
        );
        assert_eq!(
            checked(&["a", "a"], "Secret").unwrap_err(),
            "cannot add key a, another key by that name already exists"
        );
        assert!(
            checked(&["a/b"], "ConfigMap")
                .unwrap_err()
                .starts_with("\"a/b\" is not a valid key name for a ConfigMap: ")
        );
    }
}
