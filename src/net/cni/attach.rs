//! What the commands do to the kernel: the pair of links, addresses, routes and rules of one pod.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use futures::future::try_join;
use ipnet::{IpNet, Ipv4Net};
use rtnetlink::packet_route::AddressFamily;

use super::address::{Book, Reservation};
use super::conf::Conf;
use super::error::{CniError, Code};
use super::pods;
use super::result::{AddResult, Interface, Ip};
use crate::netlink::conntrack::{self, Flow};
use crate::netlink::namespace::{self, Namespace};
use crate::netlink::{Netlink, NetlinkError, Route, VethPair, sysctl};
use crate::nft::{Nft, NftError, NftProgram, Transaction};

/// The network interface of a container that the runtime asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attachment {
    pub container: String,
    pub ifname: String,
    pub netns: Option<PathBuf>,
}

pub(super) fn add(conf: &Conf, attachment: &Attachment) -> Result<AddResult, CniError> {
    let namespace = open_namespace(attachment)?;
    let host_link = host_link_name(attachment);
    let mut book = Book::open(&conf.data_dir, &conf.network)?;
    pods::check_free(&conf.port_mappings, &attachment.container, book.entries())?;
    let reservation = Reservation {
        container: attachment.container.clone(),
        ifname: attachment.ifname.clone(),
        host_link: host_link.clone(),
        port_mappings: conf.port_mappings.clone(),
    };
    let address = book.reserve(conf.pod_cidr, reservation)?;
    let added = std::thread::scope(|scope| {
        // The book stays locked until its rules are loaded: two plugins cannot load theirs in the wrong order.
        let rules = scope.spawn(move || load_rules(conf, book));
        let links = in_runtime(plug_in(conf, attachment, &namespace, &host_link, address));
        match rules.join() {
            Ok(rules) => rules.and(links),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    if added.is_err() {
        // The runtime calls DEL as well; this is for those that do not. The first error is the one to tell.
        let _ = del(conf, attachment);
    }
    added
}

/// Closes the book when the kernel has what it says.
fn load_rules(conf: &Conf, book: Book) -> Result<(), CniError> {
    apply(&pods::ruleset(conf, book.entries()))?;
    if !pods::has_udp(&conf.port_mappings) {
        return Ok(());
    }
    let stale = |flow: &Flow| pods::is_stale(flow, conf.pod_cidr, book.entries());
    conntrack::forget(false, stale)
        .map_err(|error| CniError::new(Code::Kernel, "cannot forget connections of a host port").because(&error))?;
    Ok(())
}

pub(super) fn del(conf: &Conf, attachment: &Attachment) -> Result<(), CniError> {
    let entry = {
        let book = Book::open(&conf.data_dir, &conf.network)?;
        book.find(&attachment.container, &attachment.ifname).map(|(_, entry)| entry.clone())
    };
    // The link goes before its address is free for the next pod; the kernel takes its time, so without the book.
    let host_link = entry.map_or_else(|| host_link_name(attachment), |entry| entry.host_link);
    in_runtime(async {
        Netlink::open()?.remove_link(&host_link).await?;
        Ok(())
    })?;
    let mut book = Book::open(&conf.data_dir, &conf.network)?;
    let released = book.release(&attachment.container, &attachment.ifname)?;
    if released.is_some_and(|entry| !entry.port_mappings.is_empty()) {
        load_rules(conf, book)?;
    }
    Ok(())
}

pub(super) fn check(conf: &Conf, attachment: &Attachment) -> Result<(), CniError> {
    let namespace = open_namespace(attachment)?;
    let (address, entry) = {
        let book = Book::open(&conf.data_dir, &conf.network)?;
        let found = book.find(&attachment.container, &attachment.ifname).cloned();
        found.ok_or_else(|| {
            CniError::new(
                Code::UnknownContainer,
                format!("no address is reserved for {} of container {}", attachment.ifname, attachment.container),
            )
        })?
    };
    check_previous(conf, address)?;
    in_runtime(async {
        let netlink = Netlink::open()?;
        let bridge = netlink.link(&conf.bridge).await?.ok_or_else(|| changed(format!("no bridge {}", conf.bridge)))?;
        let host = netlink.link(&entry.host_link).await?;
        match host {
            Some(host) if host.master == Some(bridge.index) && host.up => Ok(()),
            Some(_) => Err(changed(format!("{} is not an active port of {}", entry.host_link, conf.bridge))),
            None => Err(changed(format!("no link {}", entry.host_link))),
        }
    })?;
    namespace::within(&namespace, || check_inside(&attachment.ifname, address)).map_err(kernel)?
}

async fn check_inside(ifname: &str, address: Ipv4Addr) -> Result<(), CniError> {
    let netlink = Netlink::open().map_err(kernel)?;
    let link = netlink.link(ifname).await.map_err(kernel)?;
    let link = link.filter(|link| link.up).ok_or_else(|| changed(format!("{ifname} is not there or not up")))?;
    let addresses = netlink.addresses(link.index).await.map_err(kernel)?;
    if !addresses.iter().any(|found| found.addr() == address) {
        return Err(changed(format!("{ifname} has not the address {address}")));
    }
    if !netlink.has_default_route(AddressFamily::Inet, link.index).await.map_err(kernel)? {
        return Err(changed(format!("no default route over {ifname}")));
    }
    Ok(())
}

/// The previous result must speak of the address that is reserved.
fn check_previous(conf: &Conf, address: Ipv4Addr) -> Result<(), CniError> {
    let Some(previous) = &conf.prev_result else { return Ok(()) };
    let Some(ips) = previous["ips"].as_array() else { return Ok(()) };
    let named = ips.iter().filter_map(|ip| ip["address"].as_str()?.parse::<IpNet>().ok());
    if named.clone().count() > 0 && !named.clone().any(|net| net.addr() == address) {
        return Err(changed(format!("prevResult does not hold the reserved address {address}")));
    }
    Ok(())
}

/// Whether an ADD can be expected to work.
pub(super) fn status(conf: &Conf) -> Result<(), CniError> {
    let unavailable = |message: &str| CniError::new(Code::NotAvailable, message);
    let book = Book::open(&conf.data_dir, &conf.network)
        .map_err(|error| unavailable("cannot keep addresses").because(&error))?;
    let room = u64::from(u32::from(conf.pod_cidr.broadcast()) - u32::from(conf.pod_cidr.network()) - 2);
    if book.entries().len() as u64 >= room {
        return Err(unavailable("all addresses are in use"));
    }
    Ok(())
}

/// Removes every attachment that the runtime does not list.
pub(super) fn gc(conf: &Conf) -> Result<(), CniError> {
    let stale: Vec<Attachment> = {
        let book = Book::open(&conf.data_dir, &conf.network)?;
        let entries = book.entries().iter().map(|(_, entry)| Attachment {
            container: entry.container.clone(),
            ifname: entry.ifname.clone(),
            netns: None,
        });
        let listed = |entry: &Attachment| {
            conf.valid_attachments
                .iter()
                .any(|valid| valid.container == entry.container && valid.ifname == entry.ifname)
        };
        entries.filter(|entry| !listed(entry)).collect()
    };
    // One that cannot be removed does not keep the others; the first error is told.
    stale.iter().map(|attachment| del(conf, attachment)).fold(Ok(()), Result::and)
}

/// Sets `lo` up.
pub(super) fn loopback(attachment: &Attachment) -> Result<AddResult, CniError> {
    let namespace = open_namespace(attachment)?;
    namespace::within(&namespace, || async {
        let netlink = Netlink::open()?;
        let lo = netlink.link("lo").await?.ok_or_else(|| NetlinkError::NoLink("lo".to_owned()))?;
        netlink.set_up(lo.index).await
    })
    .and_then(|done| done)
    .map_err(kernel)?;
    let lo = Interface {
        name: "lo".to_owned(),
        mac: "00:00:00:00:00:00".to_owned(),
        sandbox: Some(namespace.path().to_owned()),
        mtu: 0,
    };
    let address = IpNet::V4(Ipv4Net::new(Ipv4Addr::LOCALHOST, 8).expect("8 is a prefix length"));
    let ip = Ip { address, gateway: None, interface: 0 };
    Ok(AddResult { interfaces: vec![lo], ips: vec![ip], ..AddResult::default() })
}

/// The kernel's side of an ADD.
async fn plug_in(
    conf: &Conf,
    attachment: &Attachment,
    namespace: &Namespace,
    host_link: &str,
    address: Ipv4Addr,
) -> Result<AddResult, CniError> {
    let netlink = Netlink::open()?;
    let gateway = conf.gateway();
    let bridge = netlink.ensure_bridge(&conf.bridge, mac_of(gateway), conf.mtu).await?;
    let bridge_address = Ipv4Net::new(gateway, conf.pod_cidr.prefix_len()).expect("the prefix length of a network");
    netlink.ensure_address(bridge.index, IpNet::V4(bridge_address)).await?;
    sysctl::set("ipv4/ip_forward", "1")?;
    sysctl::set(&format!("ipv4/conf/{}/route_localnet", conf.bridge), "1")?;
    sysctl::set(&format!("ipv4/conf/{}/send_redirects", conf.bridge), "0")?;
    // Replies to translated connections come back by another way than the kernel would choose for a pod's address.
    sysctl::set(&format!("ipv4/conf/{}/rp_filter", conf.bridge), "0")?;

    // What a killed ADD left behind.
    netlink.remove_link(host_link).await?;
    let pair = VethPair {
        host_name: host_link,
        host_master: bridge.index,
        peer_name: &attachment.ifname,
        peer_mac: mac_of(address),
        peer_namespace: std::os::fd::AsFd::as_fd(namespace.file()),
        mtu: conf.mtu,
    };
    let host = netlink.add_veth(&pair).await?;
    let inside = async {
        tokio::task::block_in_place(|| {
            namespace::within(namespace, || configure_inside(&attachment.ifname, address, gateway))
        })?
    };
    try_join(netlink.set_hairpin(host.index), inside).await?;

    let interface = |name: &str, mac: &[u8], sandbox: Option<&str>| Interface {
        name: name.to_owned(),
        mac: mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
        sandbox: sandbox.map(str::to_owned),
        mtu: conf.mtu,
    };
    Ok(AddResult {
        interfaces: vec![
            interface(&conf.bridge, &mac_of(gateway), None),
            interface(host_link, &host.mac, None),
            interface(&attachment.ifname, &mac_of(address), Some(namespace.path())),
        ],
        ips: vec![Ip { address: host_net(address), gateway: Some(gateway.into()), interface: 2 }],
        routes: vec![(default_net(), Some(gateway.into()))],
        dns: conf.dns.clone(),
    })
}

/// Runs inside the pod's namespace.
async fn configure_inside(ifname: &str, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), NetlinkError> {
    let netlink = Netlink::open()?;
    let find = async |name: &str| netlink.link(name).await?.ok_or_else(|| NetlinkError::NoLink(name.to_owned()));
    netlink.set_up(find("lo").await?.index).await?;
    for scope in ["all", ifname] {
        sysctl::set(&format!("ipv4/conf/{scope}/accept_redirects"), "0")?;
    }
    let link = find(ifname).await?;
    netlink.ensure_address(link.index, host_net(address)).await?;
    netlink.set_up(link.index).await?;
    netlink.ensure_route(&Route::on_link(host_net(gateway), link.index)).await?;
    netlink.ensure_route(&Route::via(default_net(), IpAddr::V4(gateway), link.index)).await
}

fn open_namespace(attachment: &Attachment) -> Result<Namespace, CniError> {
    let path = attachment.netns.as_deref().unwrap_or(Path::new(""));
    let namespace = Namespace::open(path).map_err(kernel)?.ok_or_else(|| {
        CniError::new(Code::UnknownContainer, format!("network namespace {} does not exist", path.display()))
    })?;
    if namespace.is_current() {
        return Err(CniError::new(Code::InvalidEnvironment, "CNI_NETNS is the node's own network namespace"));
    }
    Ok(namespace)
}

fn host_net(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::V4(address))
}

fn default_net() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}

/// A locally administered address that follows from the IP address: whoever gets the IP address next has the same one, and
/// no neighbour's cache is ever wrong.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// `veth` and eleven hexadecimal digits of the attachment's FNV-1a hash.
fn host_link_name(attachment: &Attachment) -> String {
    let bytes = attachment.container.bytes().chain([0]).chain(attachment.ifname.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("veth{:011x}", hash >> 20)
}

fn in_runtime<T>(work: impl Future<Output = Result<T, CniError>>) -> Result<T, CniError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CniError::new(Code::Io, "cannot start a runtime").because(&error))?;
    runtime.block_on(work)
}

fn apply(transaction: &Transaction) -> Result<(), CniError> {
    NftProgram::default().apply(transaction).map_err(|error: NftError| {
        CniError::new(Code::Kernel, format!("cannot load the table {}", transaction.table())).because(&error)
    })
}

fn changed(message: String) -> CniError {
    CniError::new(Code::Changed, message)
}

fn kernel(error: NetlinkError) -> CniError {
    CniError::from(error)
}

impl From<NetlinkError> for CniError {
    fn from(error: NetlinkError) -> Self {
        Self::new(Code::Kernel, "network set-up failed").because(&error)
    }
}
