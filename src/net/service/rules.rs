//! What Services mean in nftables: a fixed frame of chains and maps, and what each Service contributes to it.
//!
//! ```text
//!  packet -> prerouting --(not from a pod)--> outside: @services-local, @nodeports-local
//!            prerouting, output ------------> dispatch: @services, @nodeports
//!  verdict map: address . protocol . port -> goto pick-tcp-N      (N = number of endpoints, one chain for all Services)
//!  pick-tcp-N:  dnat to address . port . random(N) map @endpoints-tcp
//! ```
//!
//! Two map lookups decide, whatever the number of Services, and a Service is elements of maps and nothing else. Only
//! client affinity and source ranges have chains of their own.
//!
//! Traffic that the endpoint must answer through this node (it came from outside by a `Cluster` policy, or it goes back to
//! the pod it came from) is masqueraded: by a packet mark set on the way in, or by the hairpin set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::model::{Protocol, ServicePort};
use crate::nft::{Family, Transaction};

/// Bit of the packet mark that asks for masquerading; the one Kubernetes uses.
const MASQUERADE_MARK: &str = "0x4000";

/// Where the frame differs from node to node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub family: Family,
    pub cluster_cidr: IpNet,
    pub service_cidr: IpNet,
    /// Served by the node itself: a Service with this address is left alone.
    pub cluster_dns: Option<IpAddr>,
}

/// How endpoints are reached: the maps, and the chains `PREFIX-N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pick {
    /// By address, source kept.
    Plain,
    /// By address, masqueraded.
    Masquerade,
    /// By node port, source kept.
    Node,
    /// By node port, masqueraded.
    NodeMasquerade,
    /// From outside by address, this node's endpoints only.
    Local,
    /// From outside by node port, this node's endpoints only.
    NodeLocal,
}

impl Pick {
    fn prefix(self) -> &'static str {
        match self {
            Self::Plain => "pick",
            Self::Masquerade => "masq",
            Self::Node => "node",
            Self::NodeMasquerade => "node-masq",
            Self::Local => "local",
            Self::NodeLocal => "node-local",
        }
    }

    fn endpoint_map(self, protocol: Protocol) -> &'static str {
        use Protocol::{Sctp, Tcp, Udp};
        match (self, protocol) {
            (Self::Plain | Self::Masquerade, Tcp) => "endpoints-tcp",
            (Self::Plain | Self::Masquerade, Udp) => "endpoints-udp",
            (Self::Plain | Self::Masquerade, Sctp) => "endpoints-sctp",
            (Self::Node | Self::NodeMasquerade, Tcp) => "nodeport-endpoints-tcp",
            (Self::Node | Self::NodeMasquerade, Udp) => "nodeport-endpoints-udp",
            (Self::Node | Self::NodeMasquerade, Sctp) => "nodeport-endpoints-sctp",
            (Self::Local, Tcp) => "endpoints-local-tcp",
            (Self::Local, Udp) => "endpoints-local-udp",
            (Self::Local, Sctp) => "endpoints-local-sctp",
            (Self::NodeLocal, Tcp) => "nodeport-endpoints-local-tcp",
            (Self::NodeLocal, Udp) => "nodeport-endpoints-local-udp",
            (Self::NodeLocal, Sctp) => "nodeport-endpoints-local-sctp",
        }
    }

    /// What the endpoint map is keyed by, before the endpoint's number.
    fn endpoint_key(self, family: Family, protocol: Protocol) -> String {
        let port = format!("{} dport", protocol.name());
        match self {
            Self::Plain | Self::Masquerade | Self::Local => format!("{family} daddr . {port}"),
            Self::Node | Self::NodeMasquerade | Self::NodeLocal => port,
        }
    }

    fn service_map(self) -> &'static str {
        match self {
            Self::Plain | Self::Masquerade => "services",
            Self::Node | Self::NodeMasquerade => "nodeports",
            Self::Local => "services-local",
            Self::NodeLocal => "nodeports-local",
        }
    }
}

/// One of the shared chains that pick an endpoint: how, over which protocol, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    pub pick: Pick,
    pub protocol: Protocol,
    pub width: usize,
}

impl Choice {
    fn chain(self) -> String {
        format!("{}-{}-{}", self.pick.prefix(), self.protocol.name(), self.width)
    }

    /// Adds the chain.
    pub(super) fn define(self, frame: &Frame, t: &mut Transaction) {
        let Self { pick, protocol, width } = self;
        let chain = self.chain();
        t.add_chain(&*chain).flush_chain(&*chain);
        if matches!(pick, Pick::Masquerade | Pick::NodeMasquerade) {
            t.add_rule(&*chain, format!("meta mark set meta mark or {MASQUERADE_MARK}"));
        }
        let family = frame.family;
        let (key, map) = (pick.endpoint_key(family, protocol), pick.endpoint_map(protocol));
        t.add_rule(chain, format!("dnat {family} to {key} . numgen random mod {width} map @{map}"));
    }
}

/// What one Service adds to the frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contribution {
    /// (set or map, key) to value.
    pub elements: BTreeMap<(&'static str, String), Option<String>>,
    pub choices: BTreeSet<Choice>,
    /// Name to declaration.
    pub sets: BTreeMap<String, String>,
    /// Name to rules.
    pub chains: BTreeMap<String, Vec<String>>,
}

impl Frame {
    /// The frame without any Service, in an empty table.
    pub(super) fn define(&self, t: &mut Transaction) {
        let Self { family, cluster_cidr, service_cidr, .. } = self;
        let address = match family {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        };
        t.replace_table();
        for map in ["services", "services-local", "no-endpoints", "firewall"] {
            t.add_map(map, format!("type {address} . inet_proto . inet_service : verdict;"));
        }
        for map in ["nodeports", "nodeports-local", "no-endpoints-nodeports"] {
            t.add_map(map, "type inet_proto . inet_service : verdict;");
        }
        // Keyed by an expression, so the types must be told by expressions, which nft takes as a statement about the
        // protocol as well: hence one map for each.
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            for pick in [Pick::Plain, Pick::Local, Pick::Node, Pick::NodeLocal] {
                let key = pick.endpoint_key(*family, protocol);
                let value = Pick::Plain.endpoint_key(*family, protocol);
                let declaration = format!("typeof {key} . numgen random mod 65536 : {value};");
                t.add_map(pick.endpoint_map(protocol), declaration);
            }
        }
        t.add_set("hairpin", format!("type {address} . {address};"));

        for chain in ["outside", "dispatch", "unanswered", "refuse"] {
            t.add_chain(chain);
        }
        for (chain, hook) in [
            ("firewall", "type filter hook prerouting priority -110;"),
            ("prerouting", "type nat hook prerouting priority -100;"),
            ("output", "type nat hook output priority -100;"),
            ("postrouting", "type nat hook postrouting priority 100;"),
            ("filter-input", "type filter hook input priority 0;"),
            ("filter-forward", "type filter hook forward priority 0;"),
            ("filter-output", "type filter hook output priority 0;"),
        ] {
            t.add_base_chain(chain, hook);
        }
        let by_address = format!("{family} daddr . meta l4proto . th dport");
        let by_port = "fib daddr type local meta l4proto . th dport";
        let loopback = match family {
            Family::V4 => "127.0.0.0/8",
            Family::V6 => "::1/128",
        };
        for (chain, rule) in [
            ("firewall", format!("ct state new {by_address} vmap @firewall")),
            ("prerouting", format!("{family} saddr != {cluster_cidr} jump outside")),
            ("prerouting", "jump dispatch".to_owned()),
            ("output", "jump dispatch".to_owned()),
            ("outside", format!("{by_address} vmap @services-local")),
            ("outside", format!("{by_port} vmap @nodeports-local")),
            ("outside", format!("{family} daddr {service_cidr} meta mark set meta mark or {MASQUERADE_MARK}")),
            ("dispatch", format!("{by_address} vmap @services")),
            ("dispatch", format!("{by_port} vmap @nodeports")),
            (
                "postrouting",
                format!(
                    "meta mark & {MASQUERADE_MARK} == {MASQUERADE_MARK} meta mark set meta mark xor {MASQUERADE_MARK} \
                     ct status dnat masquerade fully-random"
                ),
            ),
            ("postrouting", format!("ct status dnat {family} saddr . {family} daddr @hairpin masquerade fully-random")),
            // Node ports on the loopback address: the pod needs an address to answer to.
            ("postrouting", format!("ct status dnat {family} saddr {loopback} masquerade fully-random")),
            ("filter-input", "ct state new jump unanswered".to_owned()),
            ("filter-forward", "ct state new jump unanswered".to_owned()),
            ("filter-output", "ct state new jump unanswered".to_owned()),
            ("unanswered", format!("{by_address} vmap @no-endpoints")),
            ("unanswered", format!("{by_port} vmap @no-endpoints-nodeports")),
            // An address of the range that is no Service's (yet) must not leave the node.
            ("unanswered", format!("{family} daddr {service_cidr} fib daddr type != local reject")),
            ("refuse", "reject".to_owned()),
        ] {
            t.add_rule(chain, rule);
        }
    }

    /// What the ports of one Service add.
    pub fn contribution(&self, ports: &[ServicePort]) -> Contribution {
        let mut contribution = Contribution::default();
        for port in ports.iter().filter(|port| self.cluster_dns.is_none_or(|dns| !port.cluster_ips.contains(&dns))) {
            Compiler { frame: self, port, out: &mut contribution }.compile();
        }
        contribution
    }
}

/// An address, or any address of the node.
#[derive(Debug, Clone, Copy)]
enum Front {
    Address(IpAddr),
    NodePort(u16),
}

struct Compiler<'a> {
    frame: &'a Frame,
    port: &'a ServicePort,
    out: &'a mut Contribution,
}

impl Compiler<'_> {
    fn compile(&mut self) {
        let port = self.port;
        for address in &port.cluster_ips {
            self.front(Front::Address(*address), Pick::Plain, port.internal_endpoints());
            if port.internal_endpoints().is_empty() {
                self.unanswered(Front::Address(*address), port.endpoints.is_empty());
            }
        }
        let externals = port.external_ips.iter().map(|address| Front::Address(*address));
        for front in externals.chain(port.node_port.map(Front::NodePort)) {
            self.external(front);
        }
        if !port.source_ranges.is_empty() {
            self.firewall();
        }
        // A pod's own packet can only come back to it on its node.
        for endpoint in &port.local_endpoints {
            let pair = format!("{0} . {0}", endpoint.ip());
            self.out.elements.insert(("hairpin", pair), None);
        }
    }

    fn external(&mut self, front: Front) {
        let port = self.port;
        let (plain, masquerade, local) = match front {
            Front::Address(_) => (Pick::Plain, Pick::Masquerade, Pick::Local),
            Front::NodePort(_) => (Pick::Node, Pick::NodeMasquerade, Pick::NodeLocal),
        };
        if port.external_local {
            self.front(front, plain, &port.endpoints);
            self.front(front, local, &port.local_endpoints);
            if port.local_endpoints.is_empty() && !port.endpoints.is_empty() {
                // From outside: not translated here, and dropped by the filter.
                self.element(local.service_map(), self.key(front), "accept");
            }
            if port.local_endpoints.is_empty() {
                self.unanswered(front, port.endpoints.is_empty());
            }
        } else {
            self.front(front, masquerade, &port.endpoints);
            if port.endpoints.is_empty() {
                self.unanswered(front, true);
            }
        }
    }

    /// Sends a front's traffic to the endpoints, if there are any.
    fn front(&mut self, front: Front, pick: Pick, endpoints: &[SocketAddr]) {
        if endpoints.is_empty() {
            return;
        }
        let key = self.key(front);
        let target = if self.port.affinity.is_some() {
            self.affinity_chain(pick, endpoints)
        } else {
            let protocol = self.port.protocol;
            for (index, endpoint) in endpoints.iter().enumerate() {
                let key = match front {
                    Front::Address(address) => format!("{address} . {} . {index}", self.port.port),
                    Front::NodePort(port) => format!("{port} . {index}"),
                };
                let value = format!("{} . {}", endpoint.ip(), endpoint.port());
                self.element(pick.endpoint_map(protocol), key, value);
            }
            let choice = Choice { pick, protocol, width: endpoints.len() };
            self.out.choices.insert(choice);
            choice.chain()
        };
        self.element(pick.service_map(), key, format!("goto {target}"));
    }

    fn unanswered(&mut self, front: Front, refuse: bool) {
        let map = match front {
            Front::Address(_) => "no-endpoints",
            Front::NodePort(_) => "no-endpoints-nodeports",
        };
        self.element(map, self.key(front), if refuse { "goto refuse" } else { "drop" });
    }

    fn firewall(&mut self) {
        let port = self.port;
        let chain = format!("firewall-{}", self.id());
        let ranges = port.source_ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let family = self.frame.family;
        let rules = vec![format!("{family} saddr {{ {ranges} }} return"), "drop".to_owned()];
        self.out.chains.insert(chain.clone(), rules);
        for address in &port.load_balancer_ips {
            self.element("firewall", self.key(Front::Address(*address)), format!("goto {chain}"));
        }
    }

    /// A chain in which clients come back to the endpoint they had, as long as it is one.
    fn affinity_chain(&mut self, pick: Pick, endpoints: &[SocketAddr]) -> String {
        let family = self.frame.family;
        let id = self.id();
        let only_local = matches!(pick, Pick::Local | Pick::NodeLocal)
            || (pick == Pick::Plain && self.port.internal_local && endpoints == self.port.local_endpoints);
        let chain = if only_local { format!("affinity-{id}-local") } else { format!("affinity-{id}") };
        let mut rules = Vec::new();
        let mut choices = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let set = self.affinity_endpoint(&id, endpoint);
            rules.push(format!("{family} saddr @{set} goto {set}"));
            choices.push(format!("{index} : goto {set}"));
        }
        rules.push(format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), choices.join(", ")));
        self.out.chains.insert(chain.clone(), rules);
        if !matches!(pick, Pick::Masquerade | Pick::NodeMasquerade) {
            return chain;
        }
        let masquerading = format!("{chain}-masq");
        let rules = vec![format!("meta mark set meta mark or {MASQUERADE_MARK}"), format!("goto {chain}")];
        self.out.chains.insert(masquerading.clone(), rules);
        masquerading
    }

    /// The chain of one endpoint and, under the same name, the set of its clients.
    fn affinity_endpoint(&mut self, id: &str, endpoint: &SocketAddr) -> String {
        let seconds = self.port.affinity.map_or(0, |timeout| timeout.as_secs());
        // The timeout belongs to the name, because a set cannot change its own.
        let content = format!("{endpoint} {seconds}");
        let name = format!("affinity-{id}-{:08x}", fnv1a(content.bytes()) & 0xffff_ffff);
        let (family, address) = match self.frame.family {
            Family::V4 => ("ip", "ipv4_addr"),
            Family::V6 => ("ip6", "ipv6_addr"),
        };
        self.out.sets.insert(name.clone(), format!("type {address}; flags dynamic,timeout; timeout {seconds}s;"));
        let rules = vec![
            format!("update @{name} {{ {family} saddr }}"),
            format!("meta l4proto {} dnat {family} to {endpoint}", self.port.protocol.name()),
        ];
        self.out.chains.insert(name.clone(), rules);
        name
    }

    fn element(&mut self, map: &'static str, key: String, value: impl Into<String>) {
        self.out.elements.insert((map, key), Some(value.into()));
    }

    fn key(&self, front: Front) -> String {
        let protocol = self.port.protocol.name();
        match front {
            Front::Address(address) => format!("{address} . {protocol} . {}", self.port.port),
            Front::NodePort(port) => format!("{protocol} . {port}"),
        }
    }

    /// Short and stable name of the Service's port.
    fn id(&self) -> String {
        let name = self.port.name.bytes().chain([0]).chain(self.port.protocol.name().bytes());
        format!("{:016x}", fnv1a(name))
    }
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
