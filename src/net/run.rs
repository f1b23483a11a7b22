//! The node's network as a whole: start, run, and remove.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cni::PODS_TABLE;
use crate::dns::{Server, Upstream, Zone};
use crate::feed::{self, Change};
use crate::netlink::NetlinkError;
use crate::nft::{Family, Nft, NftError, NftProgram, Table, Transaction};
use crate::overlay::{self, Overlay};
use crate::service::{self, Frame, Proxy};

/// How long to wait before listening for DNS is tried again.
const LISTEN_RETRY: Duration = Duration::from_secs(5);

/// What the network of a node is made from.
#[derive(Debug, Clone)]
pub struct NetOptions {
    pub node_name: String,
    pub node_ip: IpAddr,
    pub cluster_cidr: IpNet,
    pub service_cidr: IpNet,
    pub cluster_dns: IpAddr,
    /// Without a dot at its end: `cluster.local`.
    pub cluster_domain: String,
    /// How packets go from node to node.
    pub overlay: Overlay,
    /// The pods' bridge, for `cleanup`; the CNI configuration names it to the plugin.
    pub bridge: String,
    /// The node's data directory, for `cleanup`: the CNI plugin's addresses are in `agent/cni/state`.
    pub data_dir: PathBuf,
    /// Where the host's resolvers are written.
    pub resolv_conf: PathBuf,
}

impl Default for NetOptions {
    fn default() -> Self {
        let net = |second, length| {
            IpNet::V4(Ipv4Net::new(Ipv4Addr::new(10, second, 0, 0), length).expect("a length of at most 32"))
        };
        Self {
            node_name: String::new(),
            node_ip: Ipv4Addr::LOCALHOST.into(),
            cluster_cidr: net(42, 16),
            service_cidr: net(43, 16),
            cluster_dns: Ipv4Addr::new(10, 43, 0, 10).into(),
            cluster_domain: "cluster.local".to_owned(),
            overlay: Overlay::default(),
            bridge: "cni0".to_owned(),
            data_dir: PathBuf::from("/var/lib/mk8s"),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// Why the network cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot prepare the node's network")]
    Node(#[source] NetlinkError),
    #[error("invalid cluster domain {domain:?}: {reason}")]
    Domain { domain: String, reason: String },
    #[error("cannot remove the table {table}")]
    Table {
        table: String,
        #[source]
        source: NftError,
    },
    #[error("cannot remove {path}")]
    State {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Runs the service proxy, DNS and the ways to other nodes until `stop`. What is loaded into the kernel stays: pods keep their Services while the
/// process restarts.
pub async fn run(client: kube::Client, options: NetOptions, stop: CancellationToken) -> Result<(), NetError> {
    let changes = feed::follow(&client, &stop);
    let NetOptions { overlay, node_name, node_ip, .. } = options.clone();
    let (zone, zones) = watch::channel(None);
    let nodes = tokio::spawn(overlay::follow::run(client, overlay, node_name, node_ip, zone, stop.clone()));
    let outcome = run_on(changes, zones, Arc::new(NftProgram::default()), options, stop).await;
    if outcome.is_err() {
        nodes.abort();
    }
    if let Err(error) = nodes.await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
    outcome
}

/// `run` on changes from anywhere.
async fn run_on(
    changes: mpsc::Receiver<Change>,
    zones: watch::Receiver<overlay::follow::Zone>,
    nft: Arc<dyn Nft>,
    options: NetOptions,
    stop: CancellationToken,
) -> Result<(), NetError> {
    let NetOptions { node_ip, cluster_cidr, service_cidr, cluster_dns, .. } = options;
    let zone = Zone::new(&options.cluster_domain, cluster_dns, vec![cluster_cidr, service_cidr])
        .map_err(|error| NetError::Domain { domain: options.cluster_domain.clone(), reason: error.to_string() })?;
    let zone = Arc::new(RwLock::new(zone));
    let upstream = Upstream::new(options.resolv_conf.clone(), cluster_dns);
    let family = if service_cidr.addr().is_ipv4() { Family::V4 } else { Family::V6 };
    let frame = Frame { family, cluster_cidr, service_cidr, cluster_dns: Some(cluster_dns) };
    let proxy = Proxy::new(frame, &options.node_name);
    overlay::prepare_node(node_ip, service_cidr, cluster_dns).await.map_err(NetError::Node)?;

    warn_of_firewalls(nft.clone());
    let (to_proxy, proxied) = mpsc::channel(4096);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_dns(Arc::new(Server::new(zone.clone(), upstream)), cluster_dns, stop.clone()));
    tasks.spawn(service::run(proxy, nft, proxied, stop.clone()));
    tasks.spawn(distribute(changes, zones, zone, to_proxy));
    // The distributor ends with its source, the others with `stop`.
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    Ok(())
}

/// A packet must be accepted by every table, and others' tables are not ours to change: whoever set them has to know.
fn warn_of_firewalls(nft: Arc<dyn Nft>) {
    tokio::task::spawn_blocking(move || {
        for chain in nft.forward_drops().unwrap_or_default() {
            tracing::warn!(
                chain,
                "this nftables chain drops forwarded packets by default: pods reach each other and the world only if it \
                 accepts the pods' and the Services' networks"
            );
        }
    });
}

/// Hands every change to DNS and to the proxy.
async fn distribute(
    mut changes: mpsc::Receiver<Change>,
    mut zones: watch::Receiver<overlay::follow::Zone>,
    zone: Arc<RwLock<Zone>>,
    proxy: mpsc::Sender<Change>,
) {
    let mut follows = true;
    loop {
        let change = tokio::select! {
            change = changes.recv() => match change {
                Some(change) => change,
                None => return,
            },
            moved = zones.changed(), if follows => {
                // Services are served even if nobody can say any more where this node is.
                follows = moved.is_ok();
                Change::Zone(zones.borrow_and_update().clone().flatten())
            }
        };
        zone.write().observe(&change);
        if proxy.send(change).await.is_err() {
            return;
        }
    }
}

/// Another resolver may hold port 53 of all addresses; Services work without DNS, so this waits for it to go.
async fn serve_dns(server: Arc<Server>, address: IpAddr, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Err(error) = server.clone().run(address, stop.clone()).await else { return };
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, cause, "cluster DNS cannot serve, trying again");
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LISTEN_RETRY) => {}
        }
    }
}

/// Removes everything this crate ever puts on a node: tables, links with their addresses and routes, and the plugin's
/// reservations. For an uninstallation; pods that run lose their network.
pub async fn cleanup(options: NetOptions) -> Result<(), NetError> {
    let removed = tokio::task::spawn_blocking(|| {
        let nft = NftProgram::default();
        for (family, name) in [(Family::V4, service::TABLE), (Family::V6, service::TABLE), (Family::V4, PODS_TABLE)] {
            let mut transaction = Transaction::new(Table::new(family, name));
            transaction.remove_table();
            nft.apply(&transaction)
                .map_err(|source| NetError::Table { table: transaction.table().to_string(), source })?;
        }
        Ok(())
    });
    match removed.await {
        Ok(result) => result?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
    overlay::remove_links(&options.bridge).await.map_err(NetError::Node)?;
    let path = options.data_dir.join("agent/cni/state");
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(NetError::State { path, source: error }),
        _ => Ok(()),
    }
}
