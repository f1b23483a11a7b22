//! What one run of the program knows: its global flags and, made when first needed, the connection and the server's types.

use crate::{flags::Globals, kubeconfig, remote::Remote, resolve::discovery::Mapper};
use anyhow::{Context, Result};
use tokio::sync::OnceCell;

pub(crate) struct Session {
    pub(crate) globals: Globals,
    target: OnceCell<kubeconfig::Target>,
    remote: OnceCell<Remote>,
    mapper: OnceCell<Mapper>,
}

impl Session {
    pub(crate) fn new(globals: Globals) -> Session {
        Session { globals, target: OnceCell::new(), remote: OnceCell::new(), mapper: OnceCell::new() }
    }

    async fn target(&self) -> Result<&kubeconfig::Target> {
        self.target.get_or_try_init(|| kubeconfig::target(&self.globals)).await
    }

    /// The API server.
    pub(crate) async fn remote(&self) -> Result<&Remote> {
        self.remote
            .get_or_try_init(|| async {
                let config = self.target().await?.config.clone();
                let url = config.cluster_url.clone();
                let client = kube::Client::try_from(config).context("invalid configuration")?;
                Ok(Remote::new(client, &url))
            })
            .await
    }

    /// The types the server has.
    pub(crate) async fn mapper(&self) -> Result<&Mapper> {
        self.mapper.get_or_try_init(|| async { Mapper::discover(self.remote().await?).await }).await
    }

    /// The namespace commands work in.
    pub(crate) async fn namespace(&self) -> Result<String> {
        if let Some(namespace) = self.namespace_flag() {
            return Ok(namespace.to_owned());
        }
        Ok(self.target().await?.namespace.clone().unwrap_or_else(|| "default".to_owned()))
    }

    /// The namespace asked for by `-n`.
    pub(crate) fn namespace_flag(&self) -> Option<&str> {
        self.globals.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }
}
