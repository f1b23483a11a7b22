//! Which nodes there are, and what the kernel must know of them. Nothing here speaks to the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;

use crate::netlink::tunnel::{Mac, NodeRoute};

/// How packets go from node to node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlay {
    /// In UDP packets, over whatever is between the nodes.
    #[default]
    Vxlan,
    /// As they are: the nodes are on one link, and each is the gateway to its pods.
    HostGw,
}

impl Overlay {
    /// Bytes of a packet between nodes that are not the pods'.
    pub fn overhead(self) -> u32 {
        match self {
            // IP, UDP, VXLAN, and the frame inside.
            Overlay::Vxlan => 20 + 8 + 8 + 14,
            Overlay::HostGw => 0,
        }
    }
}

impl std::str::FromStr for Overlay {
    type Err = String;

    fn from_str(text: &str) -> Result<Overlay, String> {
        match text {
            "vxlan" => Ok(Overlay::Vxlan),
            "host-gw" => Ok(Overlay::HostGw),
            other => Err(format!("{other:?} is no overlay; use vxlan or host-gw")),
        }
    }
}

/// A node as the others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// The network of its pods.
    pub(super) pods: Ipv4Net,
    /// Its own address.
    pub(super) address: Ipv4Addr,
}

impl Peer {
    /// `None` while it has no pods' network or no address.
    pub(super) fn of(node: &Node) -> Option<Peer> {
        let spec = node.spec.as_ref()?;
        let mut networks = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
        let pods = networks.find_map(|network| network.parse::<Ipv4Net>().ok())?.trunc();
        let mut addresses = node.status.as_ref()?.addresses.iter().flatten();
        let address = addresses.find_map(|at| (at.type_ == "InternalIP").then(|| at.address.parse().ok()).flatten())?;
        Some(Peer { pods, address })
    }

    /// The address of its end of the tunnel: the first of its pods' network, which no pod is given.
    pub(super) fn gateway(&self) -> Ipv4Addr {
        self.pods.network()
    }

    /// The hardware address of that end. It follows from the network, so nobody has to be told.
    pub(super) fn mac(&self) -> Mac {
        let [a, b, c, d] = self.pods.network().octets();
        [0x0a, 0x58, a, b, c, d]
    }
}

/// What the kernel must know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entries {
    pub(super) routes: BTreeSet<NodeRoute>,
    /// The other ends of the tunnel.
    pub(super) neighbours: BTreeSet<(Ipv4Addr, Mac)>,
    /// The nodes they are on.
    pub(super) forwarding: BTreeSet<(Ipv4Addr, Mac)>,
}

/// What leads to the peers; `tunnel` is the link that leads there when there is one.
pub(super) fn wanted(peers: &BTreeMap<String, Peer>, own_name: &str, tunnel: Option<u32>) -> Entries {
    let mut out = Entries::default();
    let own = peers.get(own_name);
    let mut taken: Vec<Ipv4Net> = own.iter().map(|own| own.pods).collect();
    for (_, peer) in peers.iter().filter(|(name, _)| *name != own_name) {
        // Two nodes with one network are a mistake of somebody; our own pods and those of the first are not lost by it.
        if taken.iter().any(|other| other.contains(&peer.pods) || peer.pods.contains(other)) {
            continue;
        }
        taken.push(peer.pods);
        let Some(link) = tunnel else {
            out.routes.insert(NodeRoute { pods: peer.pods, gateway: peer.address, on_link: None });
            continue;
        };
        out.routes.insert(NodeRoute { pods: peer.pods, gateway: peer.gateway(), on_link: Some(link) });
        out.neighbours.insert((peer.gateway(), peer.mac()));
        out.forwarding.insert((peer.address, peer.mac()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn node(cidr: &str, address: &str) -> Option<Peer> {
        let object = json!({
            "metadata": {},
            "spec": {"podCIDR": cidr},
            "status": {"addresses": [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": address}]},
        });
        Peer::of(&serde_json::from_value(object).expect("a node"))
    }

    #[test]
    fn nodes_without_network_or_address_are_no_peers() {
        assert!(node("10.42.1.0/24", "192.0.2.1").is_some());
        assert_eq!(node("", "192.0.2.1"), None);
        assert_eq!(node("10.42.1.0/24", "fd00::1"), None);
        assert_eq!(node("fd00::/64", "192.0.2.1"), None);
    }

    #[test]
    fn every_peer_is_led_to() {
        let peers: BTreeMap<String, Peer> = [
            ("own", node("10.42.0.0/24", "192.0.2.1")),
            ("b", node("10.42.1.0/24", "192.0.2.2")),
            ("c", node("10.42.2.0/24", "192.0.2.3")),
            ("thief", node("10.42.0.0/16", "192.0.2.4")),
        ]
        .into_iter()
        .map(|(name, peer)| (name.to_owned(), peer.expect("a peer")))
        .collect();
        let check = |tunnel, expected: Expect| {
            let Entries { routes, neighbours, forwarding } = wanted(&peers, "own", tunnel);
            let mut lines: Vec<String> =
                routes.iter().map(|r| format!("{} by {} on {:?}", r.pods, r.gateway, r.on_link)).collect();
            lines.extend(neighbours.iter().map(|(address, mac)| format!("{address} is {mac:02x?}")));
            lines.extend(forwarding.iter().map(|(address, mac)| format!("{mac:02x?} at {address}")));
            expected.assert_eq(&lines.join("\n"));
        };
        check(
            Some(7),
            expect![[r#"
                10.42.1.0/24 by 10.42.1.0 on Some(7)
                10.42.2.0/24 by 10.42.2.0 on Some(7)
                10.42.1.0 is [0a, 58, 0a, 2a, 01, 00]
                10.42.2.0 is [0a, 58, 0a, 2a, 02, 00]
                [0a, 58, 0a, 2a, 01, 00] at 192.0.2.2
                [0a, 58, 0a, 2a, 02, 00] at 192.0.2.3"#]],
        );
        check(
            None,
            expect![[r#"
                10.42.1.0/24 by 192.0.2.2 on None
                10.42.2.0/24 by 192.0.2.3 on None"#]],
        );
    }
}
