//! What the cluster tells of its servers: the ConfigMap `kube-system/mk8s-servers`, one `host:port` a line.

use super::Servers;
use crate::{Selection, feed};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The ConfigMap's name, in `kube-system`.
pub const NAME: &str = "mk8s-servers";
/// The key in it.
pub const KEY: &str = "servers";

/// Keeps a list of servers like the cluster's until `stop`.
pub async fn follow(servers: Servers, client: Client, stop: CancellationToken) {
    let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    let selection = Selection::fields(format!("metadata.name={NAME}"));
    let (sender, mut changes) = mpsc::channel(4);
    feed::follow(maps, selection, |change| change, sender, stop);
    while let Some(change) = changes.recv().await {
        // One that is gone says nothing: what it said before is better than nothing.
        if let feed::Change::Applied(map) = change {
            servers.learn(named(&map));
        }
    }
}

/// Asks once, for a client that has just come: the only server that it knows may be gone before it hears of the others.
///
/// # Errors
/// That of the request.
pub async fn ask(servers: &Servers, client: &Client) -> kube::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    servers.learn(maps.get_opt(NAME).await?.as_ref().map(named).unwrap_or_default());
    Ok(())
}

fn named(map: &ConfigMap) -> Vec<String> {
    let text = map.data.as_ref().and_then(|data| data.get(KEY)).map(String::as_str).unwrap_or_default();
    text.lines().map(str::trim).map(str::to_owned).collect()
}
