//! Registry credentials in Secrets of type `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use mk8s_cri::{archive, v1::AuthConfig};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub user: String,
    pub password: String,
    pub server: String,
    pub identity_token: String,
}

impl From<Credentials> for AuthConfig {
    fn from(from: Credentials) -> AuthConfig {
        AuthConfig {
            username: from.user,
            password: from.password,
            // As the kubelet leaves it: a registry that stands for another one is asked with the same credentials.
            server_address: String::new(),
            identity_token: from.identity_token,
            ..AuthConfig::default()
        }
    }
}

/// The credentials that the Secrets hold for an image, the most specific registry first.
pub fn credentials_of<'a>(image: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> Vec<Credentials> {
    let name = archive::full_name(image);
    let mut found: Vec<(usize, Credentials)> = Vec::new();
    for secret in secrets {
        for (server, entry) in entries(secret) {
            let pattern = normalize(&server);
            if matches(&pattern, &name)
                && let Some(credentials) = read(&server, &entry)
            {
                found.push((pattern.len(), credentials));
            }
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, credentials)| credentials).collect()
}

fn entries(secret: &Secret) -> Vec<(String, Value)> {
    let data = |key: &str| {
        let bytes = &secret.data.as_ref()?.get(key)?.0;
        serde_json::from_slice::<Value>(bytes).ok()
    };
    let document =
        data(".dockerconfigjson").map(|mut document| document["auths"].take()).or_else(|| data(".dockercfg"));
    match document {
        Some(Value::Object(map)) => map.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `https://index.docker.io/v1/` is `docker.io`.
fn normalize(server: &str) -> String {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

/// A registry, optionally with a path; each label of the host may be `*`.
fn matches(pattern: &str, image: &str) -> bool {
    let (host, path) = pattern.split_once('/').unwrap_or((pattern, ""));
    let (image_host, image_path) = image.split_once('/').unwrap_or((image, ""));
    let (ours, theirs): (Vec<_>, Vec<_>) = (host.split('.').collect(), image_host.split('.').collect());
    let hosts = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| *a == "*" || a == b);
    hosts
        && (path.is_empty()
            || image_path == path
            || image_path.strip_prefix(path).is_some_and(|r| r.starts_with(['/', ':', '@'])))
}

fn read(server: &str, entry: &Value) -> Option<Credentials> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let (mut user, mut password) = (text("username"), text("password"));
    if let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) {
        let decoded = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
        let (u, p) = decoded.split_once(':')?;
        (user, password) = (u.to_owned(), p.trim_end_matches('\0').to_owned());
    }
    Some(Credentials { user, password, server: server.to_owned(), identity_token: text("identitytoken") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn the_most_specific_registry_wins() {
        let config = serde_json::json!({"auths": {
            "https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:secret")},
            "registry.example.com": {"username": "all", "password": "p"},
            "registry.example.com/team": {"username": "team", "password": "p"},
            "*.gcr.io": {"username": "g", "password": "p"},
        }});
        let data = [(".dockerconfigjson".to_owned(), ByteString(config.to_string().into_bytes()))];
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        for (image, users) in [
            ("nginx", vec!["hub"]),
            ("registry.example.com/team/app:1", vec!["team", "all"]),
            ("registry.example.com/teams/app:1", vec!["all"]),
            ("eu.gcr.io/x", vec!["g"]),
            ("quay.io/x/y", vec![]),
        ] {
            let found: Vec<_> = credentials_of(image, [&secret]).into_iter().map(|c| c.user).collect();
            assert_eq!(found, users, "{image}");
        }
    }
}
