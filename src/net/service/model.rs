//! What a Service asks of the node, with its endpoints chosen: the pure step from API objects to [`ServicePort`]s.
//!
//! The rules are kube-proxy's: ready endpoints, or else serving ones that terminate; `Local` policies keep this node's,
//! others those that hints keep for this node or its zone; headless, external-name and foreign-proxy Services ask nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort as ApiPort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// A transport protocol, in nftables' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// Absent means TCP.
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Where this node is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    pub node: &'p str,
    /// Nobody may have said.
    pub zone: Option<&'p str>,
}

/// One port of one Service, for one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// `namespace/name:port name`.
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub cluster_ips: Vec<IpAddr>,
    /// External IPs and load balancer addresses.
    pub external_ips: Vec<IpAddr>,
    /// Load balancer addresses alone; they may be closed to some sources.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Empty: open to all.
    pub source_ranges: Vec<IpNet>,
    pub node_port: Option<u16>,
    pub internal_local: bool,
    pub external_local: bool,
    /// How long a client keeps its endpoint.
    pub affinity: Option<Duration>,
    /// In order, without doubles.
    pub endpoints: Vec<SocketAddr>,
    /// Those of them (or of the terminating ones) that are on this node.
    pub local_endpoints: Vec<SocketAddr>,
}

impl ServicePort {
    /// The endpoints for traffic to the cluster IP.
    pub fn internal_endpoints(&self) -> &[SocketAddr] {
        if self.internal_local { &self.local_endpoints } else { &self.endpoints }
    }
}

/// Seconds; the API's default for ClientIP affinity.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;
/// Services with this label belong to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// What the Service asks for, by port; `ipv6` chooses the family.
pub fn service_ports(service: &Service, slices: &[&EndpointSlice], place: Place<'_>, ipv6: bool) -> Vec<ServicePort> {
    let Some(spec) = service.spec.as_ref().filter(|spec| is_proxied(service, spec)) else { return Vec::new() };
    let in_family = |address: &IpAddr| address.is_ipv6() == ipv6;
    let parse_all = |texts: &mut dyn Iterator<Item = &String>| -> Vec<IpAddr> {
        let addresses: BTreeSet<IpAddr> = texts.filter_map(|text| text.parse().ok()).filter(in_family).collect();
        addresses.into_iter().collect()
    };
    let cluster_ips = parse_all(&mut spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip));
    if cluster_ips.is_empty() {
        return Vec::new();
    }
    let load_balancer_ips = load_balancer_ips(service).into_iter().filter(in_family).collect::<Vec<_>>();
    let mut external_ips = parse_all(&mut spec.external_ips.iter().flatten());
    external_ips.extend(
        load_balancer_ips.iter().filter(|address| !external_ips.contains(address)).copied().collect::<Vec<_>>(),
    );
    let meta = &service.metadata;
    let full_name = format!("{}/{}", meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""));

    let port_of = |port: &ApiPort| {
        let protocol = Protocol::parse(port.protocol.as_deref())?;
        let name = port.name.as_deref().unwrap_or("");
        let candidates = candidates(slices, name, protocol, ipv6);
        Some(ServicePort {
            name: format!("{full_name}:{name}"),
            protocol,
            port: u16::try_from(port.port).ok()?,
            cluster_ips: cluster_ips.clone(),
            external_ips: external_ips.clone(),
            load_balancer_ips: load_balancer_ips.clone(),
            source_ranges: source_ranges(spec, ipv6),
            node_port: node_port(spec, port),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            affinity: affinity(spec),
            endpoints: usable(&candidates, |ready| near(ready, place)),
            local_endpoints: local(&candidates, place.node),
        })
    };
    spec.ports.iter().flatten().filter_map(port_of).collect()
}

fn is_proxied(service: &Service, spec: &ServiceSpec) -> bool {
    let foreign = service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL));
    let headless = matches!(spec.cluster_ip.as_deref(), None | Some("" | "None"));
    !foreign && !headless && spec.type_.as_deref() != Some("ExternalName")
}

/// The addresses the load balancer gave the Service and that the node shall answer for.
fn load_balancer_ips(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref());
    let addresses: BTreeSet<IpAddr> = ingress
        .into_iter()
        .flatten()
        .filter(|ingress| ingress.ip_mode.as_deref().unwrap_or("VIP") == "VIP")
        .filter_map(|ingress| ingress.ip.as_deref()?.parse().ok())
        .collect();
    addresses.into_iter().collect()
}

fn source_ranges(spec: &ServiceSpec, ipv6: bool) -> Vec<IpNet> {
    let ranges = spec.load_balancer_source_ranges.iter().flatten();
    let nets: BTreeSet<IpNet> = ranges
        .filter_map(|text| text.trim().parse::<IpNet>().ok())
        .map(|net| net.trunc())
        .filter(|net| matches!(net, IpNet::V6(_)) == ipv6)
        .collect();
    nets.into_iter().collect()
}

fn node_port(spec: &ServiceSpec, port: &ApiPort) -> Option<u16> {
    let kind = spec.type_.as_deref();
    if !matches!(kind, Some("NodePort" | "LoadBalancer")) {
        return None;
    }
    port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|client| client.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
    Some(Duration::from_secs(u64::try_from(seconds.max(1)).expect("a positive number")))
}

/// An endpoint that may be used.
#[derive(Clone, Copy)]
struct Candidate<'s> {
    address: SocketAddr,
    endpoint: &'s Endpoint,
    draining: bool,
}

/// The endpoints of one port.
fn candidates<'s>(slices: &[&'s EndpointSlice], port_name: &str, protocol: Protocol, ipv6: bool) -> Vec<Candidate<'s>> {
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let mut candidates = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == family) {
        let ports = slice.ports.iter().flatten().filter(|port| {
            port.name.as_deref().unwrap_or("") == port_name
                && Protocol::parse(port.protocol.as_deref()) == Some(protocol)
        });
        for port in ports.filter_map(|port| u16::try_from(port.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten() {
                let Some(address) = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok()) else {
                    continue;
                };
                let draining = match readiness(endpoint) {
                    Readiness::Ready => false,
                    Readiness::Draining => true,
                    Readiness::No => continue,
                };
                candidates.push(Candidate { address: SocketAddr::new(address, port), endpoint, draining });
            }
        }
    }
    candidates
}

/// Ready ones of which `choose` leaves some, or else serving ones that terminate.
fn usable<'s>(
    candidates: &[Candidate<'s>],
    choose: impl FnOnce(Vec<Candidate<'s>>) -> Vec<Candidate<'s>>,
) -> Vec<SocketAddr> {
    let (draining, ready): (Vec<Candidate<'s>>, Vec<Candidate<'s>>) =
        candidates.iter().copied().partition(|candidate| candidate.draining);
    let chosen = if ready.is_empty() { draining } else { choose(ready) };
    let addresses: BTreeSet<SocketAddr> = chosen.iter().map(|candidate| candidate.address).collect();
    addresses.into_iter().collect()
}

fn local(candidates: &[Candidate<'_>], node: &str) -> Vec<SocketAddr> {
    let here = |candidate: &&Candidate<'_>| candidate.endpoint.node_name.as_deref() == Some(node);
    usable(&candidates.iter().filter(here).copied().collect::<Vec<_>>(), |ready| ready)
}

/// Those that are kept for this node, or else for its zone, by their hints. Where one of them has no hint, or none is for
/// here, hints say nothing.
fn near<'s>(ready: Vec<Candidate<'s>>, place: Place<'_>) -> Vec<Candidate<'s>> {
    type Names<'n> = Vec<&'n str>;
    let nodes = |candidate: &Candidate<'s>| -> Names<'s> {
        let hints = candidate.endpoint.hints.as_ref().and_then(|hints| hints.for_nodes.as_ref());
        hints.into_iter().flatten().map(|node| node.name.as_str()).collect()
    };
    let zones = |candidate: &Candidate<'s>| -> Names<'s> {
        let hints = candidate.endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
        hints.into_iter().flatten().map(|zone| zone.name.as_str()).collect()
    };
    let here = |names: &dyn Fn(&Candidate<'s>) -> Names<'s>, place: &str| {
        let hinted = ready.iter().all(|candidate| !names(candidate).is_empty());
        let here: Vec<Candidate<'s>> =
            ready.iter().filter(|candidate| names(candidate).contains(&place)).copied().collect();
        (hinted && !here.is_empty()).then_some(here)
    };
    here(&nodes, place.node).or_else(|| here(&zones, place.zone?)).unwrap_or(ready)
}

enum Readiness {
    Ready,
    Draining,
    No,
}

/// Absent conditions are to be read as `true`, except for terminating.
fn readiness(endpoint: &Endpoint) -> Readiness {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Readiness::Ready,
        (false, true) => Readiness::Draining,
        (false, false) => Readiness::No,
    }
}
