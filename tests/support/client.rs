//! The `kube` crate's client for a host, from the root namespace.

use super::host::Host;
use kube::{
    Client, Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use std::time::Duration;

pub(crate) async fn client(host: &Host) -> Client {
    client_of(host, |_| {}).await
}

/// The same for whoever has a token.
pub(crate) async fn client_with(host: &Host, token: &str) -> Client {
    client_of(host, |user| *user = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() }).await
}

async fn client_of(host: &Host, change: impl Fn(&mut AuthInfo)) -> Client {
    let mut kubeconfig = Kubeconfig::read_from(host.kubeconfig()).expect("the kubeconfig is good");
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some(format!("https://{}:6443", host.address));
    }
    kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()).for_each(change);
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the kubeconfig is good");
    config.connect_timeout = Some(Duration::from_secs(1));
    Client::try_from(config).expect("a client can be made")
}
