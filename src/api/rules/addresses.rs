//! IPAddress, whose name is an address, and ServiceCIDR, the ranges that addresses of Services come from.

use std::net::IpAddr;

use serde_json::Value;

use super::at::{get, list, sub, text};
use super::check::{Errors, immutable, invalid_each};
use super::ip::{parse, parse_cidr};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names::{self, NameRule};

pub(super) static ADDRESS: Rules = Rules {
    // Addresses are no domain names; `validate` looks at them.
    name: NameRule::Any,
    scope: Scope::Cluster,
    validate: validate_address,
    validate_update: Some(|new, old, errors| {
        let parent = |address| get(sub(address, "spec"), "parentRef");
        immutable(errors, parent(new), parent(old), &Path::new("spec").child("parentRef"));
    }),
    ..GENERIC
};

pub(super) static RANGE: Rules = Rules {
    scope: Scope::Cluster,
    has_status: true,
    validate: |range, errors| validate_ranges(sub(range, "spec"), errors),
    validate_update: Some(validate_range_update),
    ..GENERIC
};

fn validate_address(address: &Value, errors: &mut Errors) {
    let name = meta::name(address);
    if !name.is_empty() {
        strict_address(errors, name, &Path::new("metadata").child("name"));
    }
    let spec = sub(address, "spec");
    let path = Path::new("spec").child("parentRef");
    if !sub(spec, "parentRef").is_object() {
        errors.push(FieldError::required(&path, ""));
        return;
    }
    let parent = sub(spec, "parentRef");
    if !text(parent, "group").is_empty() {
        invalid_each(
            errors,
            names::dns1123_subdomain(text(parent, "group")),
            || path.child("group"),
            text(parent, "group"),
        );
    }
    for (field, required) in [("resource", true), ("name", true), ("namespace", false)] {
        match text(parent, field) {
            "" if required => errors.push(FieldError::required(&path.child(field), "")),
            "" => {}
            value => invalid_each(errors, names::path_segment(value), || path.child(field), value),
        }
    }
}

/// An address as it is written today: one text for each.
fn strict_address(errors: &mut Errors, value: &str, path: &Path) {
    let mut refuse = |message: String| errors.push(FieldError::invalid(path, value, message));
    let Some(address) = parse(value) else {
        return refuse("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned());
    };
    if value.parse::<IpAddr>().is_err() {
        return refuse("must not have leading 0s".to_owned());
    }
    if is_mapped(address) {
        return refuse("must not be an IPv4-mapped IPv6 address".to_owned());
    }
    if address.to_string() != value {
        refuse(format!("must be in canonical form ({:?})", address.to_string()));
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            (u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)).to_be_bytes().into()
        }
        IpAddr::V6(v6) => {
            (u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)).to_be_bytes().into()
        }
    }
}

fn strict_cidr(errors: &mut Errors, value: &str, path: &Path) {
    let mut refuse = |message: String| errors.push(FieldError::invalid(path, value, message));
    let (Some((address, length)), Some((written, digits))) = (parse_cidr(value), value.split_once('/')) else {
        return refuse("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned());
    };
    if written.parse::<IpAddr>().is_err() || digits != length.to_string() {
        return refuse("must not have leading 0s in IP or prefix length".to_owned());
    }
    if is_mapped(address) {
        return refuse("must not have an IPv4-mapped IPv6 address".to_owned());
    }
    if masked(address, length) != address {
        return refuse("must not have bits set beyond the prefix length".to_owned());
    }
    if format!("{address}/{length}") != value {
        refuse(format!("must be in canonical form ({:?})", format!("{address}/{length}")));
    }
}

fn validate_ranges(spec: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("cidrs");
    let ranges = list(spec, "cidrs");
    if ranges.is_empty() {
        errors.push(FieldError::required(&path, "at least one CIDR required"));
        return;
    }
    if ranges.len() > 2 {
        errors.push(FieldError::invalid(&path, spec.clone(), "may only hold up to 2 values"));
        return;
    }
    for (index, range) in ranges.iter().enumerate() {
        strict_cidr(errors, range.as_str().unwrap_or_default(), &path.index(index));
    }
    let families: Vec<Option<bool>> =
        ranges.iter().map(|range| range.as_str().and_then(parse_cidr).map(|(address, _)| address.is_ipv4())).collect();
    if let [Some(first), Some(second)] = families[..]
        && first == second
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.push(FieldError::invalid(&path, ranges.to_vec(), why));
    }
}

/// Ranges stay; a second one may come to a single one.
fn validate_range_update(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("cidrs");
    let (has, had) = (list(sub(new, "spec"), "cidrs"), list(sub(old, "spec"), "cidrs"));
    let doubled = had.len() == 1 && has.len() == 2;
    if has.len() != had.len() && !doubled {
        errors.push(FieldError::invalid(&path, has.to_vec(), "field is immutable"));
        return;
    }
    for (index, (has, had)) in has.iter().zip(had).enumerate() {
        if has != had {
            errors.push(FieldError::invalid(&path.index(index), has.clone(), "field is immutable"));
        }
    }
    if doubled {
        validate_ranges(sub(new, "spec"), errors);
    }
}
