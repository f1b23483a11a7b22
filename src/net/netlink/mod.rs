//! The door to rtnetlink and what belongs to it: links, addresses, routes, network namespaces, interface sysctls and
//! connection tracking. With `nft/` this is the only way from this crate into the kernel.
//!
//! A [`Netlink`] speaks to the network namespace of the thread that opened it, for as long as it lives. To work in
//! another namespace, run a closure there with [`namespace::within`] and open a new one.

pub mod conntrack;
pub mod namespace;
pub mod sysctl;
pub mod tunnel;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkDummy, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

/// A failed request, with what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    #[error("cannot {what}: {}", errno_text(.errno))]
    Request { what: String, errno: i32 },
    #[error("link {0} not found")]
    NoLink(String),
    #[error("{what}")]
    Namespace {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {path}")]
    Sysctl {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

impl NetlinkError {
    /// The kernel's error number, when the kernel answered with one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Request { errno, .. } if *errno != 0 => Some(*errno),
            _ => None,
        }
    }

    fn is(&self, errno: i32) -> bool {
        self.errno() == Some(errno)
    }
}

fn errno_text(errno: &i32) -> String {
    match errno {
        0 => "no answer from the kernel".to_owned(),
        errno => std::io::Error::from_raw_os_error(*errno).to_string(),
    }
}

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mac: Vec<u8>,
    pub mtu: u32,
    pub up: bool,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
}

/// How a veth pair is made.
#[derive(Debug)]
pub struct VethPair<'a> {
    pub host_name: &'a str,
    pub host_master: u32,
    pub peer_name: &'a str,
    pub peer_mac: [u8; 6],
    pub peer_namespace: BorrowedFd<'a>,
    pub mtu: u32,
}

/// A connection to rtnetlink.
#[derive(Debug, Clone)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens a socket in the current network namespace. Must run inside a tokio runtime, which drives the socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    pub async fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await;
        match found.map_err(|error| request(|| format!("look up link {name}"), error)) {
            Ok(message) => Ok(message.map(|message| describe_link(&message))),
            Err(error) if error.is(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|error| request(|| "list links".to_owned(), error))?;
        Ok(links.iter().map(describe_link).collect())
    }

    /// Makes the bridge exist and be up, with a fixed MAC address: by default a bridge takes over the address of its
    /// first port, and the neighbours' caches would be wrong each time pods come and go.
    pub async fn ensure_bridge(&self, name: &str, mac: [u8; 6], mtu: u32) -> Result<Link, NetlinkError> {
        if self.link(name).await?.is_none() {
            let bridge = LinkBridge::new(name).address(mac.to_vec()).mtu(mtu).build();
            self.add_link(name, bridge).await?;
        }
        let link = self.link(name).await?.ok_or_else(|| NetlinkError::NoLink(name.to_owned()))?;
        if !link.up || link.mtu != mtu {
            let change = LinkUnspec::new_with_index(link.index).mtu(mtu).up().build();
            self.change_link(name, change).await?;
        }
        Ok(link)
    }

    /// Makes a link exist that carries addresses and nothing else. A bridge without ports serves where the kernel has no
    /// dummy links.
    pub async fn ensure_dummy(&self, name: &str) -> Result<Link, NetlinkError> {
        if self.link(name).await?.is_none() {
            match self.add_link(name, LinkDummy::new(name).up().build()).await {
                Err(error) if error.is(libc::EOPNOTSUPP) => {
                    self.add_link(name, LinkBridge::new(name).build()).await?;
                }
                other => other?,
            }
        }
        let link = self.link(name).await?.ok_or_else(|| NetlinkError::NoLink(name.to_owned()))?;
        self.set_up(link.index).await?;
        Ok(link)
    }

    /// Another process may create the same link at the same time; that it exists is what counts.
    async fn add_link(&self, name: &str, message: LinkMessage) -> Result<(), NetlinkError> {
        let added = self.handle.link().add(message).execute().await;
        match added.map_err(|error| request(|| format!("add link {name}"), error)) {
            Err(error) if error.is(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    async fn change_link(&self, name: &str, message: LinkMessage) -> Result<(), NetlinkError> {
        let changed = self.handle.link().change(message).execute().await;
        changed.map_err(|error| request(|| format!("change link {name}"), error))
    }

    pub async fn set_up(&self, index: u32) -> Result<(), NetlinkError> {
        self.change_link(&format!("#{index}"), LinkUnspec::new_with_index(index).up().build()).await
    }

    /// Creates a pair whose host end is a port of a bridge and whose peer is born in another network namespace.
    pub async fn add_veth(&self, pair: &VethPair<'_>) -> Result<Link, NetlinkError> {
        let peer = LinkUnspec::new_with_name(pair.peer_name)
            .address(pair.peer_mac.to_vec())
            .mtu(pair.mtu)
            .setns_by_fd(pair.peer_namespace.as_raw_fd())
            .build();
        let host = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(pair.host_name)
            .mtu(pair.mtu)
            .controller(pair.host_master)
            .up()
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let added = self.handle.link().add(host).execute().await;
        added.map_err(|error| request(|| format!("add veth pair {} - {}", pair.host_name, pair.peer_name), error))?;
        self.link(pair.host_name).await?.ok_or_else(|| NetlinkError::NoLink(pair.host_name.to_owned()))
    }

    /// Lets a bridge send frames back out of the port they came in by.
    pub async fn set_hairpin(&self, index: u32) -> Result<(), NetlinkError> {
        let message = LinkBridgePort::new(index).append_info_data(InfoBridgePort::HairpinMode(true)).build();
        let set = self.handle.link().set_port(message).execute().await;
        set.map_err(|error| request(|| format!("set hairpin mode on link #{index}"), error))
    }

    /// Removes the link if it is there; says whether it was.
    pub async fn remove_link(&self, name: &str) -> Result<bool, NetlinkError> {
        let Some(link) = self.link(name).await? else { return Ok(false) };
        let deleted = self.handle.link().del(link.index).execute().await;
        match deleted.map_err(|error| request(|| format!("delete link {name}"), error)) {
            Err(error) if error.is(libc::ENODEV) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        }
    }

    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNet>, NetlinkError> {
        let messages: Vec<_> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
            .try_collect()
            .await
            .map_err(|error| request(|| format!("list addresses of link #{index}"), error))?;
        let address_of = |attributes: &[AddressAttribute]| {
            attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        };
        Ok(messages
            .iter()
            .filter(|message| message.header.index == index)
            .filter_map(|message| IpNet::new(address_of(&message.attributes)?, message.header.prefix_len).ok())
            .collect())
    }

    /// Makes the address exist on the link.
    pub async fn ensure_address(&self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        let added = self.handle.address().add(index, address.addr(), address.prefix_len()).execute().await;
        match added.map_err(|error| request(|| format!("add address {address} to link #{index}"), error)) {
            Err(error) if error.is(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Makes the route exist and lead over this link (and this gateway).
    pub async fn ensure_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let added = self.handle.route().add(route.message()).replace().execute().await;
        added.map_err(|error| request(|| format!("add route {route:?}"), error))
    }

    async fn routes(&self, family: AddressFamily) -> Result<Vec<RouteMessage>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let routes = self.handle.route().get(message).execute().try_collect().await;
        routes.map_err(|error| request(|| "list routes".to_owned(), error))
    }

    /// Whether there is a default route over this link.
    pub async fn has_default_route(&self, family: AddressFamily, index: u32) -> Result<bool, NetlinkError> {
        Ok(self.routes(family).await?.iter().any(|route| {
            route.header.destination_prefix_length == 0
                && route.header.kind == RouteType::Unicast
                && route
                    .attributes
                    .iter()
                    .any(|attribute| matches!(attribute, RouteAttribute::Oif(oif) if *oif == index))
        }))
    }
}

/// A unicast route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    /// Absent: the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
    pub link: u32,
    pub metric: Option<u32>,
}

impl Route {
    pub fn on_link(destination: IpNet, link: u32) -> Self {
        Self { destination, gateway: None, source: None, link, metric: None }
    }

    pub fn via(destination: IpNet, gateway: IpAddr, link: u32) -> Self {
        Self { destination, gateway: Some(gateway), source: None, link, metric: None }
    }

    fn message(&self) -> RouteMessage {
        let scope = if self.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
        let mut message = match self.destination {
            IpNet::V4(net) => {
                let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
                    .destination_prefix(net.network(), net.prefix_len())
                    .output_interface(self.link)
                    .protocol(RouteProtocol::Static)
                    .scope(scope);
                if let Some(IpAddr::V4(gateway)) = self.gateway {
                    builder = builder.gateway(gateway);
                }
                if let Some(IpAddr::V4(source)) = self.source {
                    builder = builder.pref_source(source);
                }
                builder.build()
            }
            IpNet::V6(net) => {
                let mut builder = RouteMessageBuilder::<Ipv6Addr>::new()
                    .destination_prefix(net.network(), net.prefix_len())
                    .output_interface(self.link)
                    .protocol(RouteProtocol::Static);
                if let Some(IpAddr::V6(gateway)) = self.gateway {
                    builder = builder.gateway(gateway);
                }
                if let Some(IpAddr::V6(source)) = self.source {
                    builder = builder.pref_source(source);
                }
                builder.build()
            }
        };
        if let Some(metric) = self.metric {
            message.attributes.push(RouteAttribute::Priority(metric));
        }
        message
    }
}

fn describe_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: Vec::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        master: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = Some(*index),
            _ => {}
        }
    }
    link
}

fn request(what: impl FnOnce() -> String, error: rtnetlink::Error) -> NetlinkError {
    let errno = match &error {
        rtnetlink::Error::NetlinkError(message) => message.code.map_or(0, |code| code.get().abs()),
        _ => 0,
    };
    NetlinkError::Request { what: what(), errno }
}
