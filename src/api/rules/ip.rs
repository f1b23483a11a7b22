//! Addresses and ranges: what Go's lenient reading accepts (leading zeros), the refusals, and advice about what is stored.

use std::net::{IpAddr, Ipv4Addr};

use super::check::Errors;
use crate::field::{FieldError, Path};

/// Reads an address; octets with leading zeros count as decimal.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let short = part.trim_start_matches('0');
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = if short.is_empty() { 0 } else { short.parse().ok()? };
    }
    parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

pub(super) fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address = parse(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: u8 = length.parse().ok()?;
    (length <= most).then_some((address, length))
}

pub(super) fn is_v6(text: &str) -> bool {
    parse(text).is_some_and(|address| address.is_ipv6())
}

/// Whether an address of IPv6 stands for one of IPv4.
pub(super) fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// The address with all bits zero that are not of the network.
pub(super) fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            (u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)).to_be_bytes().into()
        }
        IpAddr::V6(v6) => {
            (u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)).to_be_bytes().into()
        }
    }
}

/// What is wrong with an address that everybody is to read alike.
pub(super) fn fault(text: &str) -> Option<&'static str> {
    match parse(text) {
        None => Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        Some(_) if text.parse::<IpAddr>().is_err() => Some("must not have leading 0s"),
        Some(address) if is_mapped(address) => Some("must not be an IPv4-mapped IPv6 address"),
        Some(_) => None,
    }
}

/// What is wrong with a network that everybody is to read alike.
pub(super) fn cidr_fault(text: &str) -> Option<&'static str> {
    let (Some((address, length)), Some((written, digits))) = (parse_cidr(text), text.split_once('/')) else {
        return Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    };
    if written.parse::<IpAddr>().is_err() || digits != length.to_string() {
        Some("must not have leading 0s in IP or prefix length")
    } else if is_mapped(address) {
        Some("must not have an IPv4-mapped IPv6 address")
    } else if masked(address, length) != address {
        Some("must not have bits set beyond the prefix length")
    } else {
        None
    }
}

/// What is wrong with the address of an interface, which keeps the bits beyond its prefix.
pub(super) fn interface_fault(text: &str) -> Option<String> {
    let Some((address, length)) = parse_cidr(text) else {
        return Some("must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned());
    };
    let length = if is_mapped(address) { length.saturating_sub(96) } else { length };
    let canonical = format!("{}/{length}", in_go(address));
    (text != canonical).then(|| format!("must be in canonical form ({canonical:?})"))
}

/// Checks an address; those that were there before pass.
pub(super) fn check(errors: &mut Errors, text: &str, before: &[&str], path: &Path) -> bool {
    let fault = if before.contains(&text) { None } else { fault(text) };
    errors.extend(fault.map(|why| FieldError::invalid(path, text, why)));
    fault.is_none()
}

pub(super) fn check_cidr(errors: &mut Errors, text: &str, before: &[&str], path: &Path) {
    let fault = if before.contains(&text) { None } else { cidr_fault(text) };
    errors.extend(fault.map(|why| FieldError::invalid(path, text, why)));
}

/// An address as Go writes it: one of IPv4 in IPv6's form is one of IPv4.
fn in_go(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(|| v6.to_string(), |v4| v4.to_string()),
        IpAddr::V4(v4) => v4.to_string(),
    }
}

/// Advice about an address that is stored already, or in a field that takes it as it is.
pub(super) fn advice(text: &str, path: &Path) -> Option<String> {
    let address = parse(text)?;
    if text.parse::<IpAddr>().is_err() || is_mapped(address) {
        let better = in_go(address);
        return Some(format!("{path}: non-standard IP address {text:?} is invalid: use {better:?}"));
    }
    let canonical = address.to_string();
    (address.is_ipv6() && canonical != text)
        .then(|| format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})"))
}

/// As [`advice`], for a network.
pub(super) fn cidr_advice(text: &str, path: &Path) -> Vec<String> {
    let Some((address, length)) = parse_cidr(text) else { return Vec::new() };
    let network = masked(address, length);
    let shorter = if is_mapped(network) { length.saturating_sub(96) } else { length };
    let canonical = format!("{}/{shorter}", in_go(network));
    let mut said = Vec::new();
    if network != address {
        let one = format!("{}/{}", in_go(address), if address.is_ipv4() { 32 } else { 128 });
        said.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {canonical:?} or {one:?}?)"
        ));
    }
    let is_standard = text
        .split_once('/')
        .is_some_and(|(written, digits)| written.parse::<IpAddr>().is_ok() && digits == length.to_string());
    if !is_standard || is_mapped(address) {
        said.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {canonical:?}"));
    }
    let written = format!("{address}/{length}");
    if said.is_empty() && address.is_ipv6() && written != text {
        said.push(format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({written:?})"));
    }
    said
}

/// An address that traffic may be sent to from elsewhere.
pub(super) fn check_endpoint(errors: &mut Errors, text: &str, path: &Path) {
    let Some(address) = parse(text) else {
        errors.push(FieldError::invalid(path, text, "must be a valid IP address"));
        return;
    };
    let mut refuse = |message: String| errors.push(FieldError::invalid(path, text, message));
    if address.is_unspecified() {
        refuse(format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)".into());
    }
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)".into());
    }
    if link_local_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".into());
    }
}
