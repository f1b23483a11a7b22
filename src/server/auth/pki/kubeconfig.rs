//! Kubeconfig files with everything inside: one cluster, one user, one context, all named `default`.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{Leaf, PkiError, files};

/// A kubeconfig for `server_url` with a client certificate.
pub fn render(server_url: &str, ca_pem: &str, client: &Leaf) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [{"name": "default", "cluster": {
            "server": server_url,
            "certificate-authority-data": BASE64_STANDARD.encode(ca_pem),
        }}],
        "users": [{"name": "default", "user": {
            "client-certificate-data": BASE64_STANDARD.encode(&client.cert_pem),
            "client-key-data": BASE64_STANDARD.encode(&client.key_pem),
        }}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
    });
    serde_yaml::to_string(&config).expect("a JSON object can always be written as YAML")
}

/// Writes a kubeconfig whole, with exactly these permissions; makes its directory.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|source| PkiError::File {
            action: "create directory",
            path: parent.to_path_buf(),
            source,
        })?;
    }
    let mode_is = |m: &std::fs::Metadata| std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o7777 == mode;
    if files::read_if_there(path)?.as_deref() == Some(text) && path.metadata().is_ok_and(|m| mode_is(&m)) {
        return Ok(());
    }
    files::write(path, text.as_bytes(), mode)
}
