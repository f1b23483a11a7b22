//! Addresses and ranges in old fields: what Go's lenient reading accepts (leading zeros), and the refusals.

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

/// Checks an address; those that were there before pass.
pub(super) fn check(errors: &mut Errors, text: &str, before: &[&str], path: &Path) -> bool {
    if before.contains(&text) || parse(text).is_some() {
        return true;
    }
    errors.push(FieldError::invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    false
}

pub(super) fn check_cidr(errors: &mut Errors, text: &str, before: &[&str], path: &Path) {
    if !before.contains(&text) && parse_cidr(text).is_none() {
        errors.push(FieldError::invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
    }
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
