//! Where a backend is and whom to trust there, as a `clientConfig` says it.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::sign::CertifiedKey;
use serde_json::Value;

/// A backend. Two that are equal share their connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub place: Place,
    /// The certificates that are trusted, PEM. Empty: those that the system trusts.
    pub ca_bundle: Vec<u8>,
    /// Whoever answers is trusted.
    pub insecure: bool,
    /// What we show of ourselves.
    pub identity: Option<Identity>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// `https://host[:port][/path]`
    Url(String),
    Service(ServicePlace),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePlace {
    pub namespace: String,
    pub name: String,
    pub port: u16,
    pub path: String,
}

/// A client certificate and its key; the certificate's text tells identities apart.
#[derive(Debug, Clone)]
pub struct Identity {
    pub cert_pem: Arc<str>,
    pub key: Arc<CertifiedKey>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.cert_pem == other.cert_pem
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cert_pem.hash(state);
    }
}

impl Endpoint {
    /// Reads a `clientConfig`, which validation let pass. `None`: it names no place.
    pub fn of_client_config(config: &Value) -> Option<Endpoint> {
        let place = match (&config["url"], &config["service"]) {
            (Value::String(url), _) => Place::Url(url.clone()),
            (_, service @ Value::Object(_)) => Place::Service(ServicePlace::of(service)?),
            _ => return None,
        };
        Some(Endpoint { place, ca_bundle: ca_bundle(&config["caBundle"]), insecure: false, identity: None })
    }

    /// The address as URLs name it, without a path: `https://NAME.NAMESPACE.svc:PORT`.
    pub fn origin(&self) -> String {
        match &self.place {
            Place::Service(service) => format!("https://{}:{}", service.host(), service.port),
            Place::Url(url) => match url.split_once("://") {
                Some((scheme, rest)) => format!("{scheme}://{}", rest.split('/').next().unwrap_or_default()),
                None => url.clone(),
            },
        }
    }

    /// The path that is asked, with its slash.
    pub fn path(&self) -> String {
        let path = match &self.place {
            Place::Service(service) => service.path.as_str(),
            Place::Url(url) => {
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                rest.find('/').map_or("", |at| &rest[at..])
            }
        };
        if path.starts_with('/') { path.to_string() } else { format!("/{path}") }
    }
}

impl ServicePlace {
    pub(crate) fn of(service: &Value) -> Option<ServicePlace> {
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_string();
        let port = match service["port"].as_u64() {
            None => 443,
            Some(port) => u16::try_from(port).ok()?,
        };
        Some(ServicePlace { namespace: text("namespace"), name: text("name"), port, path: text("path") })
    }

    /// The name that certificates are made for.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// The bytes of a `caBundle`; what cannot be read trusts nobody, because it holds no certificate.
pub(crate) fn ca_bundle(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_default();
    STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn client_configs_are_read() {
        let cases = [
            (json!({"url": "https://a.b/x/y"}), Some("https://a.b /x/y")),
            (json!({"url": "https://a.b:8443"}), Some("https://a.b:8443 /")),
            (json!({"service": {"namespace": "n", "name": "s", "path": "/p"}}), Some("https://s.n.svc:443 /p")),
            (
                json!({"service": {"namespace": "n", "name": "s", "port": 8443, "path": "p"}}),
                Some("https://s.n.svc:8443 /p"),
            ),
            (json!({"service": {"namespace": "n", "name": "s", "port": 99999}}), None),
            (json!({}), None),
        ];
        for (config, expected) in cases {
            let endpoint = Endpoint::of_client_config(&config);
            let shown = endpoint.map(|endpoint| format!("{} {}", endpoint.origin(), endpoint.path()));
            assert_eq!(shown.as_deref(), expected, "{config}");
        }
    }
}
