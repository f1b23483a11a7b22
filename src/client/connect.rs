//! Where a client comes from: a kubeconfig, certificates in hand, or a service in this process.
//!
//! A client over any tower service is `kube::Client::new(service, namespace)`; nothing is added to it here.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Client, Config,
    config::{AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext},
};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read the kubeconfig {path}")]
    Read { path: PathBuf, source: kube::config::KubeconfigError },
    #[error("the connection to {server} cannot be made from its configuration")]
    Config { server: String, source: kube::config::KubeconfigError },
    #[error("a client for {server} cannot be built")]
    Client { server: String, source: kube::Error },
}

/// A client for the current context of a kubeconfig file.
pub async fn from_kubeconfig(path: &Path) -> Result<Client, ConnectError> {
    let kubeconfig =
        Kubeconfig::read_from(path).map_err(|source| ConnectError::Read { path: path.to_owned(), source })?;
    build(path.display().to_string(), kubeconfig).await
}

/// A client that trusts `ca_pem` and shows a client certificate. `server` is a URL as `https://127.0.0.1:6443`.
pub async fn from_pem(server: &str, ca_pem: &str, cert_pem: &str, key_pem: &str) -> Result<Client, ConnectError> {
    let cluster = Cluster {
        server: Some(server.to_owned()),
        certificate_authority_data: Some(STANDARD.encode(ca_pem)),
        ..Cluster::default()
    };
    let auth = AuthInfo {
        client_certificate_data: Some(STANDARD.encode(cert_pem)),
        client_key_data: Some(STANDARD.encode(key_pem).into()),
        ..AuthInfo::default()
    };
    let name = || "mk8s".to_owned();
    let context = Context { cluster: name(), user: Some(name()), ..Context::default() };
    let kubeconfig = Kubeconfig {
        clusters: vec![NamedCluster { name: name(), cluster: Some(cluster), ..Default::default() }],
        auth_infos: vec![NamedAuthInfo { name: name(), auth_info: Some(auth), ..Default::default() }],
        contexts: vec![NamedContext { name: name(), context: Some(context), ..Default::default() }],
        current_context: Some(name()),
        ..Kubeconfig::default()
    };
    build(server.to_owned(), kubeconfig).await
}

async fn build(server: String, kubeconfig: Kubeconfig) -> Result<Client, ConnectError> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|source| ConnectError::Config { server: server.clone(), source })?;
    // A watch may be silent for as long as its server lets it live; the server ends it, not a read timeout.
    config.read_timeout = None;
    Client::try_from(config).map_err(|source| ConnectError::Client { server, source })
}
