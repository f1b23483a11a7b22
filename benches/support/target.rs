//! Where to measure: an address and a client certificate, out of a kubeconfig.

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_yaml::Value;
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Target {
    /// Takes the first cluster and the first user of a kubeconfig; the user must have a client certificate.
    pub(crate) fn read(file: &str) -> anyhow::Result<Target> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
        let config: Value = serde_yaml::from_str(&text).with_context(|| format!("{file} is not a kubeconfig"))?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let server = cluster["server"].as_str().with_context(|| format!("{file}: the first cluster has no server"))?;
        let authority = server.trim_start_matches("https://").trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&field(cluster, "certificate-authority")?) {
            roots.add(certificate?)?;
        }
        let chain =
            CertificateDer::pem_slice_iter(&field(user, "client-certificate")?).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&field(user, "client-key")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Target {
            host: host.to_owned(),
            port: port.parse().with_context(|| format!("{file}: the port of {server}"))?,
            name: ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?,
            tls: Arc::new(tls),
        })
    }
}

/// A PEM that is either in the file as base64, or in a file that it names.
fn field(of: &Value, name: &str) -> anyhow::Result<Vec<u8>> {
    if let Some(data) = of[format!("{name}-data").as_str()].as_str() {
        return Ok(STANDARD.decode(data)?);
    }
    let path = of[name].as_str().with_context(|| format!("the kubeconfig has no {name}"))?;
    std::fs::read(path).with_context(|| format!("reading {path}"))
}
