//! IPAddress, whose name is an address, and ServiceCIDR, the ranges that addresses of Services come from.

use serde_json::Value;

use super::at::{get, list, sub, text};
use super::check::{Errors, immutable_struct, invalid_each, keep_metadata};
use super::ip::{self, parse, parse_cidr};
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
        validate_address(new, errors);
        let parent = |address| get(sub(address, "spec"), "parentRef");
        immutable_struct(errors, parent(new), parent(old), "ParentReference", &Path::new("spec").child("parentRef"));
    }),
    ..GENERIC
};

pub(super) static RANGE: Rules = Rules {
    scope: Scope::Cluster,
    has_status: true,
    prepare_status_update: keep_metadata,
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
    let canonical = parse(value).map(|address| address.to_string());
    strict(errors, value, ip::fault(value), canonical, path);
}

fn strict_cidr(errors: &mut Errors, value: &str, path: &Path) {
    let canonical = parse_cidr(value).map(|(address, length)| format!("{address}/{length}"));
    strict(errors, value, ip::cidr_fault(value), canonical, path);
}

fn strict(errors: &mut Errors, value: &str, fault: Option<&'static str>, canonical: Option<String>, path: &Path) {
    let other_form =
        || canonical.filter(|form| form != value).map(|form| format!("must be in canonical form ({form:?})"));
    let why = fault.map(str::to_owned).or_else(other_form);
    errors.extend(why.map(|why| FieldError::invalid(path, value, why)));
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
