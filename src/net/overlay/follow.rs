//! Keeps the kernel's entries those of the nodes that the API knows.
//!
//! ```text
//! Nodes ──▶ peers ──▶ wanted ─┐
//! kernel, every 15 s ──▶ held ┴─▶ remove what is not wanted, add what is missing
//! ```
//!
//! What is loaded stays when this ends: pods reach each other while the process restarts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt};
use mk8s_client::{
    Selection,
    feed::{self, Change},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::peers::{self, Entries, Overlay, Peer};
use crate::netlink::tunnel::Vxlan;
use crate::netlink::{Netlink, NetlinkError};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The zone of this node, once it is known; `None` in it when the node has none.
pub(crate) type Zone = Option<Option<Arc<str>>>;

/// The link that leads to other nodes.
pub(crate) const TUNNEL_LINK: &str = "mk8s-vxlan";
const VXLAN_ID: u32 = 1;
/// What Linux has used before there was a standard, as most do.
const VXLAN_PORT: u16 = 8472;

/// Others may have changed the kernel's entries.
const LOOK_EVERY: Duration = Duration::from_secs(15);

struct Follower {
    overlay: Overlay,
    node_name: String,
    node_ip: IpAddr,
    peers: BTreeMap<String, Peer>,
    zone: Option<Arc<str>>,
    /// All nodes that there were at the start are known.
    synced: bool,
}

/// Follows the nodes until `stop`, and tells of this one's zone.
pub(crate) async fn run(
    client: Client,
    overlay: Overlay,
    node_name: String,
    node_ip: IpAddr,
    zone: watch::Sender<Zone>,
    stop: CancellationToken,
) {
    let (sender, mut changes) = mpsc::channel(256);
    feed::follow(Api::<Node>::all(client), Selection::default(), |change| change, sender, stop.clone());
    let mut follower = Follower { overlay, node_name, node_ip, peers: BTreeMap::new(), zone: None, synced: false };
    let mut clock = tokio::time::interval(LOOK_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => match change {
                Some(change) => {
                    let mut changed = follower.observe(change);
                    while let Ok(change) = changes.try_recv() {
                        changed |= follower.observe(change);
                    }
                    changed
                }
                None => return,
            },
            _ = clock.tick() => true,
        };
        if follower.synced {
            zone.send_if_modified(|known| {
                let now = Some(follower.zone.clone());
                let other = *known != now;
                *known = now;
                other
            });
        }
        if changed
            && follower.synced
            && let Err(error) = follower.apply().await
        {
            tracing::warn!(%error, "pods of other nodes cannot be reached yet, trying again");
        }
    }
}

impl Follower {
    /// Says whether it matters.
    fn observe(&mut self, change: Change<Node>) -> bool {
        match change {
            Change::Applied(node) => {
                let (name, peer) = (node.name_any(), Peer::of(&node));
                if name == self.node_name {
                    let zone = node.labels().get(ZONE_LABEL).filter(|zone| !zone.is_empty());
                    self.zone = zone.map(|zone| Arc::from(zone.as_str()));
                }
                let known = self.peers.get(&name).copied();
                match peer {
                    Some(peer) => self.peers.insert(name, peer),
                    None => self.peers.remove(&name),
                };
                known != peer
            }
            Change::Deleted(node) => {
                let name = node.name_any();
                if name == self.node_name {
                    self.zone = None;
                }
                self.peers.remove(&name).is_some()
            }
            Change::Synced => {
                self.synced = true;
                true
            }
        }
    }

    async fn apply(&self) -> Result<(), NetlinkError> {
        let IpAddr::V4(node_ip) = self.node_ip else { return Ok(()) };
        let netlink = Netlink::open()?;
        let tunnel = self.tunnel(&netlink, node_ip).await?;
        let wanted = peers::wanted(&self.peers, &self.node_name, tunnel);
        let wanted = if self.overlay == Overlay::Vxlan && tunnel.is_none() { Entries::default() } else { wanted };
        let held = held(&netlink, tunnel).await?;
        for route in held.routes.difference(&wanted.routes) {
            netlink.remove_node_route(route).await?;
        }
        if let Some(link) = tunnel {
            for (address, mac) in held.neighbours.difference(&wanted.neighbours) {
                netlink.remove_neighbour(link, *address, *mac).await?;
            }
            for (address, mac) in held.forwarding.difference(&wanted.forwarding) {
                netlink.remove_forwarding(link, *address, *mac).await?;
            }
            for (address, mac) in wanted.forwarding.difference(&held.forwarding) {
                netlink.add_forwarding(link, *address, *mac).await?;
            }
            for (address, mac) in wanted.neighbours.difference(&held.neighbours) {
                netlink.add_neighbour(link, *address, *mac).await?;
            }
        }
        for route in wanted.routes.difference(&held.routes) {
            netlink.add_node_route(route).await?;
            tracing::info!(pods = %route.pods, by = %route.gateway, "route to another node");
        }
        Ok(())
    }

    /// The link of the tunnel, made with the first peer.
    async fn tunnel(&self, netlink: &Netlink, node_ip: Ipv4Addr) -> Result<Option<u32>, NetlinkError> {
        if self.overlay != Overlay::Vxlan {
            netlink.remove_link(TUNNEL_LINK).await?;
            return Ok(None);
        }
        let Some(own) = self.peers.get(&self.node_name).filter(|_| self.peers.len() > 1) else {
            return Ok(netlink.link(TUNNEL_LINK).await?.map(|link| link.index));
        };
        let over = netlink.link_with(node_ip).await?.filter(|_| !node_ip.is_loopback());
        let wanted = Vxlan { name: TUNNEL_LINK, id: VXLAN_ID, port: VXLAN_PORT, local: node_ip, mac: own.mac(), over };
        let link = netlink.ensure_vxlan(&wanted).await?;
        netlink.ensure_only_address(link.index, own.gateway()).await?;
        Ok(Some(link.index))
    }
}

async fn held(netlink: &Netlink, tunnel: Option<u32>) -> Result<Entries, NetlinkError> {
    let mut held = Entries { routes: netlink.node_routes().await?.into_iter().collect(), ..Entries::default() };
    if let Some(link) = tunnel {
        held.neighbours = netlink.neighbours(link).await?.into_iter().collect();
        held.forwarding = netlink.forwarding(link).await?.into_iter().collect();
    }
    Ok(held)
}
