//! What the machine says about itself.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// How often it is looked whether the machine has its address still.
const LOOK: Duration = Duration::from_secs(2);
/// An address that was not there so often is gone.
const MISSED: u32 = 3;

/// Another address than the one that mk8s began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this machine's address was {from} and is {to} now; mk8s ends, and takes the new one when it is started again")]
pub struct Moved {
    pub from: IpAddr,
    pub to: IpAddr,
}

/// Waits until the machine has lost an address and has another one in its place: towards `server` (its URL), or towards
/// the default gateway. Nothing when `stop` came first.
pub async fn moved(from: IpAddr, server: Option<String>, stop: CancellationToken) -> Option<Moved> {
    let remote = server.and_then(|url| crate::cluster::join::address_of(&url).ok());
    let mut missed = 0;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        missed = if is_here(from) { 0 } else { missed + 1 };
        if missed < MISSED {
            continue;
        }
        let remote = remote.clone();
        // A name is looked up perhaps.
        let look = move || remote.as_deref().and_then(address_for).or_else(address);
        let now = stop.run_until_cancelled(tokio::task::spawn_blocking(look)).await?;
        if let Some(to) = now.ok().flatten().filter(|to| *to != from) {
            return Some(Moved { from, to });
        }
    }
    None
}

/// Whether an address is one of this machine's.
fn is_here(ip: IpAddr) -> bool {
    !UdpSocket::bind((ip, 0)).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

pub(super) fn name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_string();
    (!name.is_empty() && name != "(none)").then_some(name)
}

/// The address that packets to the default gateway would carry.
pub(super) fn address() -> Option<IpAddr> {
    let gateway = fs::read_to_string("/proc/net/route").ok().and_then(|routes| gateway(&routes));
    gateway.and_then(|gateway| address_towards("0.0.0.0:0", SocketAddr::from((gateway, 9)))).or_else(|| {
        // An interface that needs no gateway, or IPv6 alone: towards addresses that are nobody's.
        address_towards("0.0.0.0:0", SocketAddr::from(([198, 51, 100, 1], 9)))
            .or_else(|| address_towards("[::]:0", "[2001:db8::1]:9".parse().ok()?))
    })
}

/// The address that packets to this host and port would carry.
pub(super) fn address_for(remote: &str) -> Option<IpAddr> {
    let mut remotes = std::net::ToSocketAddrs::to_socket_addrs(remote).ok()?;
    remotes.find_map(|remote| address_towards(if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }, remote))
}

/// Nothing is sent: connecting a UDP socket only asks the routing table.
fn address_towards(local: &str, remote: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(local).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

/// The gateway of the default route with the lowest metric, from the kernel's table: hexadecimal, bytes in the order of
/// the machine.
fn gateway(routes: &str) -> Option<Ipv4Addr> {
    let defaults = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, _, _, _, metric, "00000000", ..] = fields[..] else { return None };
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|gateway| *gateway != 0)?;
        Some((metric.parse::<u32>().ok()?, Ipv4Addr::from(gateway.to_ne_bytes())))
    });
    defaults.min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_machine_is_not_here() {
        assert!(is_here(IpAddr::from([127, 0, 0, 1])));
        assert!(!is_here(IpAddr::from([192, 0, 2, 77])));
    }

    #[test]
    fn the_default_gateway_is_found() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let route = |destination: &str, gateway: [u8; 4], metric: u32, mask: &str| {
            let gateway = u32::from_ne_bytes(gateway);
            format!("eth0\t{destination}\t{gateway:08X}\t0003\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
        };
        let link = route("000200C0", [0; 4], 0, "00FFFFFF");
        let slow = route("00000000", [192, 0, 2, 1], 200, "00000000");
        let fast = route("00000000", [198, 51, 100, 7], 100, "00000000");
        assert_eq!(gateway(&format!("{head}{link}{slow}{fast}")), Some(Ipv4Addr::new(198, 51, 100, 7)));
        assert_eq!(gateway(&format!("{head}{link}")), None);
        assert_eq!(gateway("nonsense"), None);
    }
}
