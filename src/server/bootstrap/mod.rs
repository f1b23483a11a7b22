//! What every cluster has: made at start where it is missing, mended where it fell behind.
//!
//! Reading order: [`Bootstrap`], [`run`], then [`objects`] (the objects that depend on this server), [`rbac`] (the default
//! roles and bindings), [`manifests`] (embedded and the administrator's files), [`ensure`] (create or mend one object).
//!
//! Invariant: whatever an administrator changed stays changed, unless it is an address or certificate of this server, or a
//! default role that lacks rules and is marked for updates.

mod ensure;
mod manifests;
mod objects;
pub mod rbac;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::Value;

pub(crate) use ensure::{ensure, mended};
pub use manifests::ManifestError;
pub(crate) use manifests::flow_control;

/// How many objects are written at a time: enough for one fsync to serve many.
const CONCURRENCY: usize = 64;

/// What the objects are made from.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Where clients in the cluster reach this server.
    pub node_ip: IpAddr,
    pub port: u16,
    /// The other servers of the cluster that answer on the same port.
    pub others: BTreeSet<IpAddr>,
    /// `host:port` of all servers of the cluster, whether they answer or not.
    pub members: BTreeSet<String>,
    /// The address of the `kubernetes` Service: the first of the service network.
    pub service_ip: IpAddr,
    pub service_cidr: ipnet::IpNet,
    pub ca_pem: String,
    pub front_proxy_ca_pem: String,
    /// What nodes are told of the cluster's networks: `clusterCIDR`, `serviceCIDR`, `clusterDNS`, ...
    pub network: BTreeMap<&'static str, String>,
    /// Names of manifests that are not wanted.
    pub disabled: Vec<String>,
    /// `<data-dir>/server/manifests`.
    pub manifests_dir: PathBuf,
}

impl Bootstrap {
    /// Where clients in the cluster reach a server.
    fn servers(&self) -> impl Iterator<Item = String> {
        let all: BTreeSet<IpAddr> = self.others.iter().copied().chain([self.node_ip]).collect();
        all.into_iter().map(|ip| ip.to_string())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("cannot create {kind} {name}")]
    Object {
        kind: String,
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("{kind} {name} is of no kind this server knows")]
    UnknownKind { kind: String, name: String },
}

/// Makes everything that is missing. A file of the administrator that cannot be applied is logged and left out.
pub async fn run(client: &Client, bootstrap: &Bootstrap) -> Result<(), BootstrapError> {
    for namespace in manifests::namespaces() {
        ensure::ensure(client, &namespace).await?;
    }
    let mut all = rbac::objects();
    all.extend(manifests::embedded(&bootstrap.disabled));
    all.extend(objects::objects(bootstrap));
    all.extend(crate::aggregation::local::objects());
    let written = all.into_iter().map(|object| {
        let client = client.clone();
        async move { ensure::ensure(&client, &object).await }
    });
    stream::iter(written).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    apply_files(client, bootstrap).await;
    Ok(())
}

/// Says where the cluster's servers are.
///
/// # Errors
/// [`BootstrapError::Object`].
pub async fn say_servers(client: &Client, bootstrap: &Bootstrap) -> Result<(), BootstrapError> {
    for object in objects::servers(bootstrap) {
        ensure::ensure(client, &object).await?;
    }
    Ok(())
}

async fn apply_files(client: &Client, bootstrap: &Bootstrap) {
    let paths = match manifests::files(&bootstrap.manifests_dir, &bootstrap.disabled) {
        Ok(paths) => paths,
        Err(error) => {
            return tracing::error!(error = %format!("{:#}", anyhow::Error::new(error)), "manifests are not applied");
        }
    };
    for path in paths {
        let objects: Vec<Value> = match manifests::read(&path) {
            Ok(objects) => objects,
            Err(error) => {
                tracing::error!(path = %path.display(), error = %format!("{:#}", anyhow::Error::new(error)), "manifest is not applied");
                continue;
            }
        };
        for object in objects {
            if let Err(error) = ensure::apply(client, &object).await {
                tracing::error!(path = %path.display(), error = %format!("{:#}", anyhow::Error::new(error)), "object of a manifest is not applied");
            }
        }
    }
}
