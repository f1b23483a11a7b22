//! A kubeconfig that says where a webhook is, whom to trust there, and what to show. Its current context counts.

use std::{fs, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use kube::config::{Cluster, Kubeconfig};
use mk8s_api::decode;
use serde_json::Value;

use super::AskError;
use crate::{
    auth::pki::Leaf,
    stored,
    webhook::{Endpoint, Identity, Place},
};

/// Where a webhook is, and as whom it is asked.
#[derive(Debug, Clone)]
pub struct Access {
    pub endpoint: Endpoint,
    pub credentials: Credentials,
}

/// What is shown beside a client certificate.
#[derive(Debug, Clone)]
pub enum Credentials {
    Nothing,
    /// Marked as a secret, so it shows itself nowhere.
    Header(HeaderValue),
    /// A file with a bearer token, read each time: it may change.
    TokenFile(String),
}

impl Credentials {
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, AskError> {
        let path = match self {
            Credentials::Nothing => return Ok(None),
            Credentials::Header(header) => return Ok(Some(header.clone())),
            Credentials::TokenFile(path) => path,
        };
        let failed = |why: String| AskError::Token { path: path.clone(), why };
        let token = tokio::fs::read_to_string(path).await.map_err(|error| failed(error.to_string()))?;
        bearer(token.trim()).map(Some).map_err(failed)
    }
}

impl Access {
    /// Reads a file, and those that it names, which are sought beside it.
    ///
    /// # Errors
    /// What is wrong, in the words of a sentence about the file.
    pub fn read(path: &Path) -> Result<Access, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        Access::parse(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a kubeconfig that lies in `dir`.
    ///
    /// # Errors
    /// As [`Access::read`].
    pub fn parse(text: &str, dir: &Path) -> Result<Access, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("is no kubeconfig: {error}");
        let document: Value = serde_yaml::from_str(text).map_err(|error| wrong(&error))?;
        let config: Option<Kubeconfig> = decode::typed(&document).map_err(|error| wrong(&error))?;
        let config = config.unwrap_or_default();
        let current = config.current_context.as_deref().unwrap_or_default();
        let lacks = |what: &str, name: &str| format!("has no {what} {name:?}");
        let context = config.contexts.iter().find(|context| context.name == current);
        let context = context.and_then(|named| named.context.as_ref()).ok_or_else(|| lacks("context", current))?;
        let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster =
            cluster.and_then(|named| named.cluster.as_ref()).ok_or_else(|| lacks("cluster", &context.cluster))?;
        // As it is written: the library keeps secrets from being looked at by accident.
        let users = stored::items(&document["users"]);
        let user = match context.user.as_deref().filter(|name| !name.is_empty()) {
            None => &Value::Null,
            Some(name) => {
                let named = users.iter().find(|user| user["name"] == name);
                &named.ok_or_else(|| lacks("user", name))?["user"]
            }
        };
        let endpoint = endpoint(cluster, identity(user, dir)?, dir)?;
        Ok(Access { endpoint, credentials: credentials(user, dir)? })
    }
}

fn endpoint(cluster: &Cluster, identity: Option<Identity>, dir: &Path) -> Result<Endpoint, String> {
    let server = cluster.server.clone().unwrap_or_default();
    let url = server.parse::<http::Uri>().ok().filter(|url| {
        let plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        url.scheme_str() == Some("https") && plain && url.host().is_some_and(|host| !host.is_empty())
    });
    if url.is_none() {
        return Err(format!("names the server {server:?}; write an https URL without user and password"));
    }
    let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if said(&cluster.tls_server_name) || said(&cluster.proxy_url) {
        return Err("has tls-server-name or proxy-url, which are not supported".into());
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let data = text(&cluster.certificate_authority_data);
    let ca_bundle = material(&data, &text(&cluster.certificate_authority), dir)?;
    let insecure = cluster.insecure_skip_tls_verify.unwrap_or_default();
    if insecure && ca_bundle.is_some() {
        return Err("names a certificate authority, and says insecure-skip-tls-verify; leave one of them away".into());
    }
    Ok(Endpoint { place: Place::Url(server), ca_bundle: ca_bundle.unwrap_or_default(), insecure, identity })
}

fn identity(user: &Value, dir: &Path) -> Result<Option<Identity>, String> {
    let cert = material(text(user, "client-certificate-data"), text(user, "client-certificate"), dir)?;
    let key = material(text(user, "client-key-data"), text(user, "client-key"), dir)?;
    let (cert, key) = match (cert, key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => return Err("has a client certificate without its key, or a key without its certificate".into()),
    };
    let pem = |bytes| String::from_utf8(bytes).map_err(|_| "has a client certificate that is no PEM".to_owned());
    let leaf = Leaf { cert_pem: pem(cert)?, key_pem: pem(key)? };
    let key = leaf.certified_key().map_err(|error| format!("has a client certificate that cannot be used: {error}"))?;
    Ok(Some(Identity { cert_pem: leaf.cert_pem.into(), key: Arc::new(key) }))
}

fn credentials(user: &Value, dir: &Path) -> Result<Credentials, String> {
    if ["exec", "auth-provider"].iter().any(|plugin| user.get(plugin).is_some_and(|plugin| !plugin.is_null())) {
        return Err("has exec or auth-provider, which are not supported; use a token or a client certificate".into());
    }
    let [token, token_file, name] = ["token", "tokenFile", "username"].map(|field| text(user, field));
    if !token_file.is_empty() {
        return Ok(Credentials::TokenFile(dir.join(token_file).display().to_string()));
    }
    if !token.is_empty() {
        return bearer(token).map(Credentials::Header);
    }
    if !name.is_empty() {
        let encoded = BASE64_STANDARD.encode(format!("{name}:{}", text(user, "password")));
        return header(&format!("Basic {encoded}")).map(Credentials::Header);
    }
    Ok(Credentials::Nothing)
}

fn text<'a>(user: &'a Value, field: &str) -> &'a str {
    user[field].as_str().unwrap_or_default()
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    header(&format!("Bearer {token}"))
}

fn header(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "has a token that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// What is written in base64, or lies in a file.
fn material(data: &str, file: &str, dir: &Path) -> Result<Option<Vec<u8>>, String> {
    if !data.is_empty() {
        return BASE64_STANDARD.decode(data).map(Some).map_err(|error| format!("has data that is no base64: {error}"));
    }
    if file.is_empty() {
        return Ok(None);
    }
    let path = dir.join(file);
    fs::read(&path).map(Some).map_err(|error| format!("names {}, which cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: k, cluster: {cluster}}}]\n\
             users: [{{name: u, user: {user}}}]\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n"
        )
    }

    #[test]
    fn the_current_context_says_where_and_as_whom() {
        let text = config("{server: 'https://a:8443/x', insecure-skip-tls-verify: true}", "{token: t}");
        let access = Access::parse(&text, Path::new("/")).expect("it is one");
        assert_eq!((access.endpoint.origin(), access.endpoint.path()), ("https://a:8443".into(), "/x".into()));
        assert!(access.endpoint.insecure);
        let Credentials::Header(header) = &access.credentials else { panic!("{access:?}") };
        assert_eq!(header, "Bearer t");
        assert!(!format!("{access:?}").contains("Bearer"), "it is not shown");
        let text = config("{server: 'https://a', certificate-authority-data: YQ==}", "{username: a, password: b}");
        let access = Access::parse(&text, Path::new("/")).expect("it is one");
        assert_eq!(access.endpoint.ca_bundle, b"a");
        let Credentials::Header(header) = &access.credentials else { panic!("{access:?}") };
        assert_eq!(header, "Basic YTpi");
        let text = config("{server: 'https://a'}", "{tokenFile: t/f, token: t}");
        let access = Access::parse(&text, Path::new("/d")).expect("it is one");
        assert!(matches!(&access.credentials, Credentials::TokenFile(path) if path == "/d/t/f"));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let cases = [
            ("[]".to_owned(), "is no kubeconfig"),
            (String::new(), "has no context \"\""),
            (config("{server: 'http://a'}", "{}"), "names the server \"http://a\""),
            (config("{server: 'https://u:p@a'}", "{}"), "without user and password"),
            (config("{server: 'https://a', tls-server-name: b}", "{}"), "tls-server-name"),
            (config("{server: 'https://a', certificate-authority: none}", "{}"), "names /none, which cannot be read"),
            (config("{server: 'https://a', certificate-authority-data: '%'}", "{}"), "is no base64"),
            (config("{server: 'https://a'}", "{exec: {command: x}}"), "exec or auth-provider"),
            (config("{server: 'https://a'}", "{client-key-data: YQ==}"), "a key without its certificate"),
            (config("{server: 'https://a'}", "{token: \"a\\nb\"}"), "no header can carry"),
        ];
        for (text, expected) in cases {
            let why = Access::parse(&text, Path::new("/")).expect_err(&text);
            assert!(why.contains(expected), "{text}: {why}");
        }
    }
}
