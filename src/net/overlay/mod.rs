//! The node's own part of the pod network: routing between its links, and to the pods of other nodes.
//!
//! Pods of one node need no more than a bridge, an address on it and forwarding; the bridge is made by the CNI plugin with
//! the first pod. To other nodes leads a tunnel ([`Overlay::Vxlan`]) or a plain route ([`Overlay::HostGw`]): one route a
//! node, and for the tunnel its other end and the machine that it is on.
//!
//! Reading order: [`prepare_node`], [`peers`] (what must be there, pure), [`follow`] (who makes it so).
//!
//! Invariant: all that leads to a node follows from its Node object; nodes tell each other nothing.

pub(crate) mod follow;
mod peers;

pub use peers::Overlay;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::netlink::{Netlink, NetlinkError, Route, sysctl};

/// The link that carries the addresses the node itself serves in the Services' network.
pub(crate) const SERVICE_LINK: &str = "mk8s-dns";

/// Makes the node a router and gives it the cluster's DNS address.
///
/// The Services' network gets a route to that link. No packet is ever sent there: Services are translated before, and what
/// is no Service is refused. But a node without a default route could not even begin to send to a Service.
pub(crate) async fn prepare_node(node_ip: IpAddr, service_cidr: IpNet, dns: IpAddr) -> Result<(), NetlinkError> {
    sysctl::set("ipv4/ip_forward", "1")?;
    let netlink = Netlink::open()?;
    let link = netlink.ensure_dummy(SERVICE_LINK).await?;
    netlink.ensure_address(link.index, IpNet::from(dns)).await?;
    let route = Route { source: Some(node_ip), ..Route::on_link(service_cidr, link.index) };
    if let Err(error) = netlink.ensure_route(&route).await {
        // As when the node's IP is not this machine's own; most nodes have a default route anyway.
        tracing::warn!(%error, %service_cidr, "cannot route the Services' network; a default route is needed to reach it");
    }
    Ok(())
}

/// Removes the links of the node and of its pods.
pub(crate) async fn remove_links(bridge: &str) -> Result<(), NetlinkError> {
    let netlink = Netlink::open()?;
    if let Some(bridge) = netlink.link(bridge).await? {
        for port in netlink.links().await?.iter().filter(|link| link.master == Some(bridge.index)) {
            netlink.remove_link(&port.name).await?;
        }
        netlink.remove_link(&bridge.name).await?;
    }
    netlink.remove_link(SERVICE_LINK).await?;
    netlink.remove_link(follow::TUNNEL_LINK).await?;
    for route in netlink.node_routes().await? {
        netlink.remove_node_route(&route).await?;
    }
    Ok(())
}
