//! What the server tells nodes of the cluster's networks, and what was told last, for a start without a server.

use super::{
    failure::{JoinError, chain},
    files,
    server::ANSWER_WITHIN,
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use std::{collections::BTreeMap, net::IpAddr, path::Path};

/// The networks of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNetwork {
    pub cluster_cidr: IpNet,
    pub service_cidr: IpNet,
    pub cluster_dns: IpAddr,
    pub cluster_domain: String,
    /// How packets go between nodes, as `--overlay` of the server says it.
    pub overlay: String,
}

type Data = BTreeMap<String, String>;

impl ClusterNetwork {
    fn read(data: &Data) -> Option<ClusterNetwork> {
        let text = |key: &str| data.get(key).map(String::as_str);
        Some(ClusterNetwork {
            cluster_cidr: text("clusterCIDR")?.parse().ok()?,
            service_cidr: text("serviceCIDR")?.parse().ok()?,
            cluster_dns: text("clusterDNS")?.parse().ok()?,
            cluster_domain: text("clusterDomain")?.to_owned(),
            overlay: text("overlay").unwrap_or("vxlan").to_owned(),
        })
    }
}

/// Asks the server; when that does not answer, what it said last counts.
pub(super) async fn learn(client: &Client, dir: &Path, server: &str) -> Result<ClusterNetwork, JoinError> {
    let kept = dir.join("network.json");
    let error = match ask(client, server).await {
        Ok((data, network)) => {
            keep(&kept, &data)?;
            return Ok(network);
        }
        Err(error) => error,
    };
    let last = std::fs::read(&kept).ok().and_then(|text| serde_json::from_slice(&text).ok());
    match last.and_then(|data| ClusterNetwork::read(&data)) {
        Some(network) if !error.is_final() => {
            tracing::warn!(error = chain(&error), "the server does not answer: starting with what it said last");
            Ok(network)
        }
        _ => Err(error),
    }
}

async fn ask(client: &Client, server: &str) -> Result<(Data, ClusterNetwork), JoinError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let silent = |_| JoinError::Silent { server: server.to_owned(), seconds: ANSWER_WITHIN.as_secs() };
    let answer = tokio::time::timeout(ANSWER_WITHIN, maps.get("mk8s-network")).await.map_err(silent)?;
    let data = answer.map_err(|error| JoinError::of(server, error))?.data.unwrap_or_default();
    let no_answer =
        || JoinError::NoAnswer { server: server.to_owned(), why: "the ConfigMap mk8s-network cannot be read".into() };
    let network = ClusterNetwork::read(&data).ok_or_else(no_answer)?;
    Ok((data, network))
}

fn keep(path: &Path, data: &Data) -> Result<(), JoinError> {
    let text = serde_json::to_string_pretty(data).unwrap_or_default();
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    files::replace(path, &text, 0o644).map_err(|source| JoinError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let mut data: Data = [
            ("clusterCIDR", "10.42.0.0/16"),
            ("serviceCIDR", "10.43.0.0/16"),
            ("clusterDNS", "10.43.0.10"),
            ("clusterDomain", "cluster.local"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let network = ClusterNetwork::read(&data).expect("readable");
        assert_eq!((network.overlay.as_str(), network.cluster_domain.as_str()), ("vxlan", "cluster.local"));
        data.insert("clusterDNS".into(), "nowhere".into());
        assert_eq!(ClusterNetwork::read(&data), None);
    }
}
