//! What tunnels between nodes are made of: VXLAN links, the neighbours behind them, and routes over them.
//!
//! Routes carry a protocol number of their own, so that those of others are never taken for ours.

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{LinkUnspec, LinkVxlan, RouteMessageBuilder};

use super::{Link, Netlink, NetlinkError, describe_link, request};

/// Marks routes between nodes. No number that is registered.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(109);

/// A hardware address.
pub type Mac = [u8; 6];

/// A VXLAN link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vxlan<'a> {
    pub name: &'a str,
    pub id: u32,
    pub port: u16,
    /// Its end on this machine.
    pub local: Ipv4Addr,
    pub mac: Mac,
    /// The link that packets leave by, which also says how large they may be.
    pub over: Option<u32>,
}

/// A route to the pods of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeRoute {
    pub pods: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// The gateway is behind this link although no address of the link says so.
    pub on_link: Option<u32>,
}

impl NodeRoute {
    fn message(&self) -> RouteMessage {
        let builder = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(self.pods.network(), self.pods.prefix_len())
            .gateway(self.gateway)
            .protocol(PROTOCOL)
            .scope(RouteScope::Universe);
        match self.on_link {
            Some(link) => builder.output_interface(link).onlink().build(),
            None => builder.build(),
        }
    }

    fn read(message: &RouteMessage) -> Option<NodeRoute> {
        let header = &message.header;
        if header.protocol != PROTOCOL {
            return None;
        }
        let mut route = NodeRoute { pods: Ipv4Net::default(), gateway: Ipv4Addr::UNSPECIFIED, on_link: None };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                    route.pods = Ipv4Net::new(*address, header.destination_prefix_length).ok()?;
                }
                RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => route.gateway = *gateway,
                RouteAttribute::Oif(link) if header.flags.contains(RouteFlags::Onlink) => route.on_link = Some(*link),
                _ => {}
            }
        }
        Some(route)
    }
}

impl Netlink {
    /// Makes the link exist as it is described, and be up.
    pub async fn ensure_vxlan(&self, wanted: &Vxlan<'_>) -> Result<Link, NetlinkError> {
        let Vxlan { name, id, port, local, mac, over } = *wanted;
        let known = self.link_message(name).await?;
        if known.as_ref().is_some_and(|known| !is_vxlan(known, wanted)) {
            self.remove_link(name).await?;
        }
        let mut link = LinkVxlan::new(name, id).port(port).local(local).learning(false).address(mac.to_vec()).up();
        if let Some(over) = over {
            link = link.dev(over);
        }
        self.add_link(name, link.build()).await?;
        let link = self.link(name).await?.ok_or_else(|| NetlinkError::NoLink(name.to_owned()))?;
        if link.mac != mac {
            let change = LinkUnspec::new_with_index(link.index).address(mac.to_vec()).build();
            self.change_link(name, change).await?;
        }
        if !link.up {
            self.set_up(link.index).await?;
        }
        Ok(link)
    }

    async fn link_message(&self, name: &str) -> Result<Option<LinkMessage>, NetlinkError> {
        let found = self.handle.link().get().match_name(name.to_owned()).execute().try_next().await;
        match found.map_err(|error| request(|| format!("look up link {name}"), error)) {
            Err(error) if error.is(libc::ENODEV) => Ok(None),
            other => other,
        }
    }

    /// The link that has this address.
    pub async fn link_with(&self, address: Ipv4Addr) -> Result<Option<u32>, NetlinkError> {
        let found = self.handle.address().get().set_address_filter(IpAddr::V4(address)).execute().try_next().await;
        let found = found.map_err(|error| request(|| format!("look up address {address}"), error))?;
        Ok(found.map(|message| message.header.index))
    }

    /// Removes addresses other than this one, and makes it exist.
    pub async fn ensure_only_address(&self, index: u32, address: Ipv4Addr) -> Result<(), NetlinkError> {
        let wanted = ipnet::IpNet::from(IpAddr::V4(address));
        for other in self.addresses(index).await?.into_iter().filter(|known| *known != wanted && known.addr().is_ipv4())
        {
            self.remove_address(index, other).await?;
        }
        self.ensure_address(index, wanted).await
    }

    async fn remove_address(&self, index: u32, address: ipnet::IpNet) -> Result<(), NetlinkError> {
        let mut found =
            self.handle.address().get().set_link_index_filter(index).set_address_filter(address.addr()).execute();
        let failed = |error| request(|| format!("remove address {address} from link #{index}"), error);
        while let Some(message) = found.try_next().await.map_err(failed)? {
            self.handle.address().del(message).execute().await.map_err(failed)?;
        }
        Ok(())
    }

    /// The routes to other nodes' pods.
    pub async fn node_routes(&self) -> Result<Vec<NodeRoute>, NetlinkError> {
        Ok(self.routes(AddressFamily::Inet).await?.iter().filter_map(NodeRoute::read).collect())
    }

    pub async fn add_node_route(&self, route: &NodeRoute) -> Result<(), NetlinkError> {
        let added = self.handle.route().add(route.message()).replace().execute().await;
        added.map_err(|error| request(|| format!("add route to {} by {}", route.pods, route.gateway), error))
    }

    pub async fn remove_node_route(&self, route: &NodeRoute) -> Result<(), NetlinkError> {
        let removed = self.handle.route().del(route.message()).execute().await;
        match removed.map_err(|error| request(|| format!("remove route to {}", route.pods), error)) {
            Err(error) if error.is(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// The fixed neighbours of a link: which address has which hardware address.
    pub async fn neighbours(&self, link: u32) -> Result<Vec<(Ipv4Addr, Mac)>, NetlinkError> {
        Ok(self.entries(link, AddressFamily::Inet).await?.iter().filter_map(address_and_mac).collect())
    }

    /// Behind which machine hardware addresses are.
    pub async fn forwarding(&self, link: u32) -> Result<Vec<(Ipv4Addr, Mac)>, NetlinkError> {
        Ok(self.entries(link, AddressFamily::Bridge).await?.iter().filter_map(address_and_mac).collect())
    }

    async fn entries(&self, link: u32, family: AddressFamily) -> Result<Vec<NeighbourMessage>, NetlinkError> {
        let all: Vec<NeighbourMessage> = self
            .handle
            .neighbours()
            .get()
            .set_address_family(family)
            .execute()
            .try_collect()
            .await
            .map_err(|error| request(|| format!("list neighbours of link #{link}"), error))?;
        let ours =
            |entry: &NeighbourMessage| entry.header.ifindex == link && entry.header.state == NeighbourState::Permanent;
        Ok(all.into_iter().filter(ours).collect())
    }

    pub async fn add_neighbour(&self, link: u32, address: Ipv4Addr, mac: Mac) -> Result<(), NetlinkError> {
        let add = self.handle.neighbours().add(link, IpAddr::V4(address)).link_layer_address(&mac).replace();
        add.execute().await.map_err(|error| request(|| format!("add neighbour {address}"), error))
    }

    pub async fn remove_neighbour(&self, link: u32, address: Ipv4Addr, mac: Mac) -> Result<(), NetlinkError> {
        self.remove_entry(self.handle.neighbours().add(link, IpAddr::V4(address)).link_layer_address(&mac)).await
    }

    pub async fn add_forwarding(&self, link: u32, address: Ipv4Addr, mac: Mac) -> Result<(), NetlinkError> {
        let add = self.handle.neighbours().add_bridge(link, &mac).destination(IpAddr::V4(address));
        let add = add.flags(NeighbourFlags::Own).replace();
        add.execute().await.map_err(|error| request(|| format!("add forwarding to {address}"), error))
    }

    pub async fn remove_forwarding(&self, link: u32, address: Ipv4Addr, mac: Mac) -> Result<(), NetlinkError> {
        let entry = self.handle.neighbours().add_bridge(link, &mac).destination(IpAddr::V4(address));
        self.remove_entry(entry.flags(NeighbourFlags::Own)).await
    }

    async fn remove_entry(&self, mut entry: rtnetlink::NeighbourAddRequest) -> Result<(), NetlinkError> {
        let removed = self.handle.neighbours().del(entry.message_mut().clone()).execute().await;
        match removed.map_err(|error| request(|| "remove a neighbour".to_owned(), error)) {
            Err(error) if error.is(libc::ENOENT) => Ok(()),
            other => other,
        }
    }
}

fn address_and_mac(entry: &NeighbourMessage) -> Option<(Ipv4Addr, Mac)> {
    let address = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    let mac = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => Mac::try_from(mac.as_slice()).ok(),
        _ => None,
    });
    Some((address?, mac?))
}

/// Whether the link is this one but for what can be changed.
fn is_vxlan(message: &LinkMessage, wanted: &Vxlan<'_>) -> bool {
    let info = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    });
    let data = info.into_iter().flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    });
    let Some(data) = data else { return false };
    let over = data.iter().find_map(|one| match one {
        InfoVxlan::Link(link) => Some(*link),
        _ => None,
    });
    let has = |wanted: InfoVxlan| data.contains(&wanted);
    describe_link(message).name == wanted.name
        && has(InfoVxlan::Id(wanted.id))
        && has(InfoVxlan::Port(wanted.port))
        && has(InfoVxlan::Local(wanted.local))
        && over.filter(|over| *over != 0) == wanted.over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_told_from_those_of_others() {
        let routes = [
            NodeRoute {
                pods: "10.42.1.0/24".parse().expect("a network"),
                gateway: [10, 42, 1, 0].into(),
                on_link: Some(7),
            },
            NodeRoute {
                pods: "10.42.2.0/24".parse().expect("a network"),
                gateway: [192, 0, 2, 2].into(),
                on_link: None,
            },
        ];
        for route in routes {
            assert_eq!(NodeRoute::read(&route.message()), Some(route));
            let mut other = route.message();
            other.header.protocol = RouteProtocol::Static;
            assert_eq!(NodeRoute::read(&other), None);
        }
    }
}
