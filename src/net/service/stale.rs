//! Which tracked UDP connections a change makes wrong.
//!
//! TCP ends by itself when its endpoint is gone; UDP has no end, and a translation once chosen stays with the client's
//! port. Two cases: the endpoint that answered is no longer one; or there was no endpoint, the packets went untranslated
//! to nowhere, and now there is one.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::model::{Protocol, ServicePort};
use crate::netlink::conntrack::Flow;

const UDP: u8 = 17;

/// The connections to forget.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// (addresses, port; no addresses: a node port) and who answers no longer.
    removed: BTreeSet<(Front, SocketAddr)>,
    /// Fronts that were unanswered until now.
    opened: BTreeSet<Front>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Front {
    /// `None`: any, for a node port.
    address: Option<IpAddr>,
    port: u16,
}

impl Front {
    fn of(destination: SocketAddr) -> [Self; 2] {
        let (address, port) = (destination.ip(), destination.port());
        [Self { address: Some(address), port }, Self { address: None, port }]
    }
}

impl Stale {
    /// Takes note of what becomes of one Service.
    pub fn note(&mut self, old: &[ServicePort], new: &[ServicePort]) {
        let udp = |port: &&ServicePort| port.protocol == Protocol::Udp;
        for old in old.iter().filter(udp) {
            let now = new.iter().find(|port| port.name == old.name && udp(port));
            let kept = |endpoint: &SocketAddr| now.is_some_and(|port| answers(port).any(|now| now == endpoint));
            for endpoint in answers(old).filter(|endpoint| !kept(endpoint)) {
                self.removed.extend(fronts(old).map(|front| (front, *endpoint)));
            }
        }
        for new in new.iter().filter(udp).filter(|port| answers(port).next().is_some()) {
            let before = old.iter().find(|port| port.name == new.name && udp(port));
            if before.is_none_or(|port| answers(port).next().is_none()) {
                self.opened.extend(fronts(new));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.opened.is_empty()
    }

    pub fn matches(&self, flow: &Flow) -> bool {
        let translated = flow.reply_source != flow.original_destination;
        flow.protocol == UDP
            && Front::of(flow.original_destination).into_iter().any(|front| {
                if translated {
                    self.removed.contains(&(front, flow.reply_source))
                } else {
                    self.opened.contains(&front)
                }
            })
    }
}

fn answers(port: &ServicePort) -> impl Iterator<Item = &SocketAddr> {
    port.endpoints.iter().chain(&port.local_endpoints)
}

fn fronts(port: &ServicePort) -> impl Iterator<Item = Front> {
    let addresses = port.cluster_ips.iter().chain(&port.external_ips);
    let addresses = addresses.map(|address| Front { address: Some(*address), port: port.port });
    addresses.chain(port.node_port.map(|port| Front { address: None, port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(endpoints: &[&str]) -> ServicePort {
        ServicePort {
            name: "default/dns:dns".to_owned(),
            protocol: Protocol::Udp,
            port: 53,
            cluster_ips: vec!["10.43.0.9".parse().unwrap()],
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            node_port: Some(30053),
            internal_local: false,
            external_local: false,
            affinity: None,
            endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
            local_endpoints: Vec::new(),
        }
    }

    fn flow(to: &str, by: &str) -> Flow {
        Flow {
            protocol: UDP,
            original_source: "10.42.0.5:40000".parse().unwrap(),
            original_destination: to.parse().unwrap(),
            reply_source: by.parse().unwrap(),
        }
    }

    #[test]
    fn vanished_answers_and_opened_fronts() {
        let (a, b) = ("10.42.0.2:53", "10.42.0.3:53");
        let cases: [(&[ServicePort], &[ServicePort], Flow, bool); 9] = [
            (&[port(&[a, b])], &[port(&[b])], flow("10.43.0.9:53", a), true),
            (&[port(&[a, b])], &[port(&[b])], flow("10.43.0.9:53", b), false),
            (&[port(&[a, b])], &[port(&[b])], flow("192.0.2.1:30053", a), true),
            (&[port(&[a, b])], &[port(&[b])], flow("10.43.0.8:53", a), false),
            (&[port(&[a])], &[], flow("10.43.0.9:53", a), true),
            (&[port(&[])], &[port(&[a])], flow("10.43.0.9:53", "10.43.0.9:53"), true),
            (&[], &[port(&[a])], flow("10.43.0.9:53", "10.43.0.9:53"), true),
            (&[port(&[a])], &[port(&[a, b])], flow("10.43.0.9:53", "10.43.0.9:53"), false),
            (&[], &[port(&[])], flow("10.43.0.9:53", "10.43.0.9:53"), false),
        ];
        for (old, new, flow, expected) in cases {
            let mut stale = Stale::default();
            stale.note(old, new);
            assert_eq!(stale.matches(&flow), expected, "{old:?} -> {new:?}: {flow:?}");
        }
    }
}
