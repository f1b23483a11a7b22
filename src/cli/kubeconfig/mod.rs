//! Where the credentials come from.
//!
//! In order: `--kubeconfig`, the files of `$KUBECONFIG` (merged, the first to name a thing wins), `~/.kube/config`, the file
//! that `mk8s server` writes, the service account of the pod this runs in. The flags of the command line then change what
//! was found. Files stay untyped JSON until the end, so that `config` writes back what it does not know.

pub(crate) mod edit;
pub(crate) mod form;
pub(crate) mod property;

use crate::flags::Globals;
use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The file `mk8s server` writes for the administrator.
pub(crate) const OWN_FILE: &str = "/etc/mk8s/mk8s.yaml";

/// The lists of a kubeconfig: their name and what an entry holds.
const LISTS: [(&str, &str); 3] = [("clusters", "cluster"), ("contexts", "context"), ("users", "user")];

/// The files to read, in order of precedence. They need not exist.
pub(crate) fn files(globals: &Globals) -> Vec<PathBuf> {
    if let Some(path) = &globals.kubeconfig {
        return vec![path.clone()];
    }
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        return std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
    }
    let home = home_file();
    if !home.exists() && std::fs::File::open(OWN_FILE).is_ok() {
        return vec![PathBuf::from(OWN_FILE)];
    }
    vec![home]
}

pub(crate) fn home_file() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".kube/config")
}

/// An empty kubeconfig.
pub(crate) fn empty() -> Value {
    json!({"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": [], "current-context": ""})
}

/// Reads and merges the files; paths inside them become absolute.
pub(crate) fn load(globals: &Globals) -> Result<Value> {
    let mut merged = empty();
    for path in files(globals) {
        if !path.exists() {
            if globals.kubeconfig.is_some() {
                return Err(anyhow!("stat {}: no such file or directory", path.display()));
            }
            continue;
        }
        let mut file = read(&path)?;
        absolute_paths(&mut file, path.parent().unwrap_or(Path::new(".")));
        merge(&mut merged, &file);
    }
    Ok(merged)
}

pub(crate) fn read(path: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("error loading config file \"{}\"", path.display()))?;
    let mut value: Value =
        serde_yaml::from_str(&text).with_context(|| format!("error loading config file \"{}\"", path.display()))?;
    if value.is_null() {
        value = empty();
    }
    if !value.is_object() {
        return Err(anyhow!("error loading config file \"{}\": not a kubeconfig", path.display()));
    }
    Ok(value)
}

/// Adds what `file` has and `merged` lacks.
fn merge(merged: &mut Value, file: &Value) {
    for (list, _) in LISTS {
        for entry in file[list].as_array().into_iter().flatten() {
            if find(merged, list, entry["name"].as_str().unwrap_or_default()).is_none()
                && let Some(all) = merged[list].as_array_mut()
            {
                all.push(entry.clone());
            }
        }
    }
    if merged["current-context"].as_str().unwrap_or_default().is_empty() {
        merged["current-context"] = file["current-context"].as_str().unwrap_or_default().into();
    }
}

fn absolute_paths(file: &mut Value, base: &Path) {
    let fields = [
        ("clusters", "cluster", "certificate-authority"),
        ("users", "user", "client-certificate"),
        ("users", "user", "client-key"),
        ("users", "user", "tokenFile"),
    ];
    for (list, inner, field) in fields {
        for entry in file[list].as_array_mut().into_iter().flatten() {
            let value = &mut entry[inner][field];
            match value.as_str() {
                Some(path) if !path.is_empty() => *value = base.join(path).to_string_lossy().into_owned().into(),
                _ => {
                    if let Some(object) = entry[inner].as_object_mut() {
                        object.retain(|_, value| !value.is_null());
                    }
                }
            }
        }
    }
}

/// The entry called `name` of one of the lists.
pub(crate) fn find<'a>(config: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    config[list].as_array()?.iter().find(|entry| entry["name"] == name)
}

/// What a command speaks to, after files and flags.
pub(crate) struct Target {
    pub(crate) config: kube::Config,
    /// The namespace of the context, if it has one.
    pub(crate) namespace: Option<String>,
}

/// Chooses context, cluster and user, and lets the flags change them.
pub(crate) async fn target(globals: &Globals) -> Result<Target> {
    let config = load(globals)?;
    let nothing = config["clusters"].as_array().is_none_or(Vec::is_empty);
    if nothing
        && globals.server.is_none()
        && globals.context.is_none()
        && let Ok(inside) = kube::Config::incluster()
    {
        let namespace = Some(inside.default_namespace.clone());
        return Ok(Target { config: inside, namespace });
    }
    let (flat, namespace) = flatten(&config, globals)?;
    let typed = serde_json::from_value(flat).context("error loading config")?;
    let mut config = kube::Config::from_custom_kubeconfig(typed, &kube::config::KubeConfigOptions::default())
        .await
        .map_err(|error| anyhow!("invalid configuration: {}", chain(&error)))?;
    if let Some(timeout) = globals.timeout()? {
        config.read_timeout = Some(timeout);
    }
    config.default_retry = false;
    Ok(Target { config, namespace })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        source = cause.source();
    }
    text
}

/// One context, one cluster, one user: what the flags select and override.
fn flatten(config: &Value, globals: &Globals) -> Result<(Value, Option<String>)> {
    let current = config["current-context"].as_str().unwrap_or_default();
    let name = globals.context.as_deref().unwrap_or(current);
    let context = match find(config, "contexts", name) {
        Some(entry) => entry["context"].clone(),
        None if name.is_empty() => json!({}),
        None if globals.context.is_some() => return Err(anyhow!("context {name:?} does not exist")),
        None => return Err(anyhow!("context was not found for specified context: {name}")),
    };
    let pick = |list: &str, inner: &str, flag: Option<&String>| -> Result<Map<String, Value>> {
        let wanted = flag.map(String::as_str).or(context[inner].as_str()).unwrap_or_default();
        match find(config, list, wanted) {
            Some(entry) => Ok(entry[inner].as_object().cloned().unwrap_or_default()),
            None if wanted.is_empty() => Ok(Map::new()),
            None => Err(anyhow!("{inner} {wanted:?} does not exist")),
        }
    };
    let mut cluster = pick("clusters", "cluster", globals.cluster.as_ref())?;
    let mut user = pick("users", "user", globals.user.last())?;
    if let Some(server) = &globals.server {
        let server = if server.contains("://") { server.clone() } else { format!("http://{server}") };
        cluster.insert("server".to_owned(), server.into());
    }
    cluster.entry("server").or_insert_with(|| "http://localhost:8080".into());
    let set = |map: &mut Map<String, Value>, key: &str, value: &Option<String>, clears: &str| {
        if let Some(value) = value {
            map.remove(clears);
            map.insert(key.to_owned(), value.clone().into());
        }
    };
    set(&mut cluster, "certificate-authority", &globals.certificate_authority, "certificate-authority-data");
    set(&mut cluster, "tls-server-name", &globals.tls_server_name, "");
    set(&mut user, "client-certificate", &globals.client_certificate, "client-certificate-data");
    set(&mut user, "client-key", &globals.client_key, "client-key-data");
    set(&mut user, "token", &globals.token, "tokenFile");
    set(&mut user, "as", &globals.impersonate, "");
    set(&mut user, "as-uid", &globals.as_uid, "");
    if !globals.as_group.is_empty() {
        user.insert("as-groups".to_owned(), globals.as_group.clone().into());
    }
    if globals.insecure_skip_tls_verify {
        cluster.insert("insecure-skip-tls-verify".to_owned(), true.into());
        cluster.remove("certificate-authority");
        cluster.remove("certificate-authority-data");
    }
    let namespace = context["namespace"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let flat = json!({
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "c", "user": user}],
    });
    Ok((flat, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, server: &str) -> Value {
        json!({"current-context": name, "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "n"}}],
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": "eA=="}}],
            "users": [{"name": name, "user": {"token": "t", "client-key": "k"}}]})
    }

    #[test]
    fn the_first_file_to_name_a_thing_wins() {
        let mut merged = empty();
        merge(&mut merged, &config("a", "https://one"));
        merge(&mut merged, &config("a", "https://two"));
        merge(&mut merged, &config("b", "https://three"));
        assert_eq!(merged["current-context"], "a");
        assert_eq!(find(&merged, "clusters", "a").unwrap()["cluster"]["server"], "https://one");
        assert_eq!(merged["users"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn flags_override_the_context() {
        let mut merged = empty();
        merge(&mut merged, &config("a", "https://one"));
        merge(&mut merged, &config("b", "https://two"));
        let globals = Globals {
            context: Some("b".into()),
            impersonate: Some("eve".into()),
            insecure_skip_tls_verify: true,
            ..Globals::default()
        };
        let (flat, namespace) = flatten(&merged, &globals).unwrap();
        assert_eq!(namespace.as_deref(), Some("n"));
        let cluster = &flat["clusters"][0]["cluster"];
        assert_eq!((&cluster["server"], &cluster["certificate-authority-data"]), (&json!("https://two"), &Value::Null));
        assert_eq!(flat["users"][0]["user"]["as"], "eve");
        let missing = Globals { context: Some("zz".into()), ..Globals::default() };
        assert_eq!(flatten(&merged, &missing).unwrap_err().to_string(), "context \"zz\" does not exist");
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let mut file = config("a", "x");
        absolute_paths(&mut file, Path::new("/etc/k"));
        assert_eq!(file["users"][0]["user"]["client-key"], "/etc/k/k");
        assert!(file["clusters"][0]["cluster"].get("certificate-authority").is_none());
    }
}
