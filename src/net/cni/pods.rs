//! The nftables table of the pods' network: masquerade towards the world, host ports, and two guards.
//!
//! The content of its maps is always written whole, from the reservations on disk: an entry whose pod vanished without a
//! DEL cannot stay behind, and a flushed table is whole again after the next ADD.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::address::Reservation;
use super::conf::{Conf, PortMapping};
use super::error::{CniError, Code};
use crate::netlink::conntrack::Flow;
use crate::nft::{Family, Table, Transaction};

/// The table's name.
pub const TABLE: &str = "mk8s-pods";

/// Everything the table holds.
pub(super) fn ruleset(conf: &Conf, entries: &[(Ipv4Addr, Reservation)]) -> Transaction {
    let mut t = Transaction::new(Table::new(Family::V4, TABLE));
    t.add_table();
    t.add_map("hostports", "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;");
    t.add_map("hostports-any", "type inet_proto . inet_service : ipv4_addr . inet_service;");
    t.add_set("hairpin", "type ipv4_addr . ipv4_addr;");
    for (chain, hook) in [
        ("guard", "type filter hook prerouting priority raw;"),
        ("prerouting", "type nat hook prerouting priority dstnat;"),
        ("output", "type nat hook output priority -100;"),
        ("postrouting", "type nat hook postrouting priority srcnat;"),
        ("redirects", "type filter hook output priority filter;"),
    ] {
        t.add_base_chain(chain, hook).flush_chain(chain);
    }
    t.add_chain("host-ports").flush_chain("host-ports");
    let Conf { bridge, pod_cidr, cluster_cidr, .. } = conf;

    // Host ports on 127.0.0.1 need route_localnet on the bridge; pods shall not reach the node's loopback by it.
    t.add_rule("guard", format!("iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop"));
    t.add_rule("prerouting", "fib daddr type local jump host-ports");
    t.add_rule("output", "fib daddr type local jump host-ports");
    t.add_rule("host-ports", "dnat ip to ip daddr . meta l4proto . th dport map @hostports");
    t.add_rule("host-ports", "dnat ip to meta l4proto . th dport map @hostports-any");
    t.add_rule(
        "postrouting",
        format!("ip saddr {pod_cidr} ip daddr != {cluster_cidr} ip daddr != 224.0.0.0/4 masquerade"),
    );
    t.add_rule("postrouting", "ct status dnat ip saddr . ip daddr @hairpin masquerade");
    t.add_rule("postrouting", format!("ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade"));
    // Pods are told nothing about shorter ways past the node: there are none.
    t.add_rule("redirects", format!("oifname \"{bridge}\" icmp type redirect drop"));

    t.flush_map("hostports").flush_map("hostports-any").flush_set("hairpin");
    for (address, entry) in entries {
        for mapping in &entry.port_mappings {
            let PortMapping { host_ip, host_port, container_port, protocol } = mapping;
            let target = format!("{address} . {container_port}");
            match host_ip {
                Some(host_ip) => t.add_mapping("hostports", format!("{host_ip} . {protocol} . {host_port}"), target),
                None => t.add_mapping("hostports-any", format!("{protocol} . {host_port}"), target),
            };
        }
        if !entry.port_mappings.is_empty() {
            t.add_element("hairpin", format!("{address} . {address}"));
        }
    }
    t
}

/// Refuses mappings of which the host port is another attachment's already.
pub(super) fn check_free(
    wanted: &[PortMapping],
    container: &str,
    entries: &[(Ipv4Addr, Reservation)],
) -> Result<(), CniError> {
    for want in wanted {
        for (address, entry) in entries.iter().filter(|(_, entry)| entry.container != container) {
            let clash = entry.port_mappings.iter().any(|taken| {
                taken.host_port == want.host_port
                    && taken.protocol == want.protocol
                    && (taken.host_ip.is_none() || want.host_ip.is_none() || taken.host_ip == want.host_ip)
            });
            if clash {
                return Err(CniError::new(
                    Code::PortTaken,
                    format!(
                        "host port {}/{} is taken by container {} ({address})",
                        want.host_port, want.protocol, entry.container
                    ),
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn has_udp(mappings: &[PortMapping]) -> bool {
    mappings.iter().any(|mapping| mapping.protocol == "udp")
}

/// Whether a UDP client of a host port is still led to a pod that has it no longer.
pub(super) fn is_stale(flow: &Flow, pods: Ipv4Net, entries: &[(Ipv4Addr, Reservation)]) -> bool {
    const UDP: u8 = 17;
    let IpAddr::V4(pod) = flow.reply_source.ip() else { return false };
    let asked = flow.original_destination;
    let leads = |mapping: &PortMapping| mapping.protocol == "udp" && mapping.host_port == asked.port();
    let translated = flow.reply_source != asked && pods.contains(&pod) && !pods.contains(&to_v4(asked.ip()));
    let is_host_port = entries.iter().any(|(_, entry)| entry.port_mappings.iter().any(leads));
    let current = entries.iter().any(|(address, entry)| *address == pod && entry.port_mappings.iter().any(leads));
    flow.protocol == UDP && translated && is_host_port && !current
}

fn to_v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}
