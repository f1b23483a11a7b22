//! What the devices of a claim must have in common, or must not.

use super::wanted::Wanted;
use crate::devices::offered::Offered;
use k8s_openapi::api::resource::v1::{DeviceAttribute, DeviceConstraint};

/// Devices must agree on an attribute, or differ in it all.
pub(super) struct Constraint<'a> {
    requests: &'a [String],
    attribute: &'a str,
    distinct: bool,
    /// Of the devices that were taken, in their order.
    values: Vec<&'a DeviceAttribute>,
}

impl<'a> Constraint<'a> {
    /// `None` for one of an unknown kind.
    pub(super) fn of(constraint: &'a DeviceConstraint) -> Option<Self> {
        let (attribute, distinct) = match (&constraint.match_attribute, &constraint.distinct_attribute) {
            (Some(attribute), _) => (attribute, false),
            (None, Some(attribute)) => (attribute, true),
            (None, None) => return None,
        };
        let requests = constraint.requests.as_deref().unwrap_or_default();
        Some(Self { requests, attribute, distinct, values: Vec::new() })
    }

    /// Takes a device in, unless that breaks the constraint.
    pub(super) fn add(&mut self, wanted: &Wanted<'_>, device: &'a Offered) -> bool {
        if !wanted.is_among(self.requests) {
            return true;
        }
        let Some(value) = attribute(device, self.attribute) else { return false };
        let fits = match self.distinct {
            true => agree(value, value) && !self.values.iter().any(|known| agree(known, value)),
            false => self.values.first().is_none_or(|known| agree(known, value)),
        };
        if fits {
            self.values.push(value);
        }
        fits
    }

    /// Takes out the last device that was taken in.
    pub(super) fn remove(&mut self, wanted: &Wanted<'_>) {
        if wanted.is_among(self.requests) {
            self.values.pop();
        }
    }
}

/// Two values of which it is known how to compare them.
fn agree(one: &DeviceAttribute, other: &DeviceAttribute) -> bool {
    (one.string.is_some() && one.string == other.string)
        || (one.int.is_some() && one.int == other.int)
        || (one.bool.is_some() && one.bool == other.bool)
        || (one.version.is_some() && one.version == other.version)
}

/// By its full name; one of the driver's own domain may be written without it.
fn attribute<'a>(device: &'a Offered, name: &str) -> Option<&'a DeviceAttribute> {
    let attributes = device.device.attributes.as_ref()?;
    attributes.get(name).or_else(|| {
        let (domain, id) = name.split_once('/')?;
        attributes.get(id).filter(|_| domain == device.id.driver)
    })
}
