//! Forgetting tracked connections, over the kernel's ctnetlink protocol.
//!
//! A UDP "connection" lives as long as packets come, so a client that keeps sending to a Service would be translated to a
//! vanished endpoint for ever. Only the tuples are read here; everything else of an entry is skipped.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rtnetlink::sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_NETFILTER};

/// One tracked connection of TCP, UDP or SCTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// IP protocol number.
    pub protocol: u8,
    pub original_source: SocketAddr,
    /// What the client sent to.
    pub original_destination: SocketAddr,
    /// Who answers: another address than the original destination if that was translated.
    pub reply_source: SocketAddr,
}

const CONNTRACK: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

/// Deletes every tracked connection of the family that `stale` accepts; returns how many. Blocking.
pub fn forget(ipv6: bool, stale: impl Fn(&Flow) -> bool) -> io::Result<usize> {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    let mut doomed = Vec::new();
    socket.send(&message(CONNTRACK | GET, REQUEST | DUMP, family, &[]), 0)?;
    'dump: loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, payload) in messages(&bytes) {
            match kind {
                MESSAGE_DONE => break 'dump,
                MESSAGE_ERROR => check_error(payload)?,
                _ => {
                    if let Some((flow, tuple)) = parse_flow(payload)
                        && stale(&flow)
                    {
                        doomed.push(tuple.to_vec());
                    }
                }
            }
        }
    }
    let mut forgotten = 0;
    for tuple in doomed {
        let mut attribute = Vec::new();
        push_attribute(&mut attribute, TUPLE_ORIGINAL | NESTED, &tuple);
        socket.send(&message(CONNTRACK | DELETE, REQUEST | ACK, family, &attribute), 0)?;
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, payload) in messages(&bytes) {
            match (kind == MESSAGE_ERROR).then(|| check_error(payload)) {
                Some(Ok(())) => forgotten += 1,
                // It ended by itself meanwhile.
                Some(Err(error)) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
    }
    Ok(forgotten)
}

fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER + FAMILY_HEADER + attributes.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).expect("a request is small").to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

fn push_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("a tuple is small");
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The messages of one datagram: type and payload.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

fn check_error(payload: &[u8]) -> io::Result<()> {
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) }
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The flow of an entry, and its original tuple as it came.
fn parse_flow(payload: &[u8]) -> Option<(Flow, &[u8])> {
    let body = payload.get(FAMILY_HEADER..)?;
    let original = attribute(body, TUPLE_ORIGINAL)?;
    let (protocol, original_source, original_destination) = parse_tuple(original)?;
    let (_, reply_source, _) = parse_tuple(attribute(body, TUPLE_REPLY)?)?;
    Some((Flow { protocol, original_source, original_destination, reply_source }, original))
}

fn parse_tuple(tuple: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (ip, transport) = (attribute(tuple, 1)?, attribute(tuple, 2)?);
    let address = |v4, v6| -> Option<IpAddr> {
        match attribute(ip, v4) {
            Some(bytes) => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
            None => Some(Ipv6Addr::from(<[u8; 16]>::try_from(attribute(ip, v6)?).ok()?).into()),
        }
    };
    let port = |kind| Some(u16::from_be_bytes(attribute(transport, kind)?.try_into().ok()?));
    let protocol = *attribute(transport, 1)?.first()?;
    Some((protocol, SocketAddr::new(address(1, 3)?, port(2)?), SocketAddr::new(address(2, 4)?, port(3)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: [u8; 4], destination: [u8; 4], protocol: u8, ports: [u16; 2]) -> Vec<u8> {
        let (mut ip, mut transport, mut tuple) = (Vec::new(), Vec::new(), Vec::new());
        push_attribute(&mut ip, 1, &source);
        push_attribute(&mut ip, 2, &destination);
        push_attribute(&mut transport, 1, &[protocol]);
        push_attribute(&mut transport, 2, &ports[0].to_be_bytes());
        push_attribute(&mut transport, 3, &ports[1].to_be_bytes());
        push_attribute(&mut tuple, 1 | NESTED, &ip);
        push_attribute(&mut tuple, 2 | NESTED, &transport);
        tuple
    }

    #[test]
    fn entries_are_parsed_and_cut_ones_are_skipped() {
        let mut attributes = Vec::new();
        let original = tuple([10, 42, 0, 5], [10, 43, 0, 9], 17, [40000, 53]);
        push_attribute(&mut attributes, TUPLE_ORIGINAL | NESTED, &original);
        push_attribute(
            &mut attributes,
            TUPLE_REPLY | NESTED,
            &tuple([10, 42, 0, 7], [10, 42, 0, 5], 17, [5353, 40000]),
        );
        let bytes = message(CONNTRACK, 0, 2, &attributes);
        let (kind, payload) = messages(&bytes).next().unwrap();
        assert_eq!(kind, CONNTRACK);
        let (flow, tuple) = parse_flow(payload).unwrap();
        assert_eq!(tuple, original);
        assert_eq!(
            flow,
            Flow {
                protocol: 17,
                original_source: "10.42.0.5:40000".parse().unwrap(),
                original_destination: "10.43.0.9:53".parse().unwrap(),
                reply_source: "10.42.0.7:5353".parse().unwrap(),
            }
        );
        for cut in 0..payload.len() {
            let _ = parse_flow(&payload[..cut]);
            let _ = messages(&bytes[..cut]).count();
        }
    }
}
