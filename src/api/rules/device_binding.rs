//! What a driver says of devices that have to be made ready, in slices and in allocations; and of those that are
//! allocated, in the status of a claim.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::at::{get, has, list, maybe_text, sub, text};
use super::check::{self, Errors, label_key};
use super::device_claims::{each, once};
use super::ip;
use crate::field::{FieldError, Path};

const CONDITIONS_MAX: usize = 4;
const STATUS_CONDITIONS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 16;
const INTERFACE_MAX: usize = 256;
const HARDWARE_MAX: usize = 128;
/// Bytes of a driver's own data about a device.
pub(super) const DATA_MAX: usize = 10 * 1024;

/// `bindingConditions` and `bindingFailureConditions`.
pub(super) fn check_conditions(errors: &mut Errors, of: &Value, path: &Path) {
    const FIELDS: [&str; 2] = ["bindingConditions", "bindingFailureConditions"];
    for field in FIELDS {
        each(errors, of, field, CONDITIONS_MAX, path, |errors, condition, path| {
            label_key(errors, condition.as_str().unwrap_or_default(), || path.clone());
        });
    }
    let names = |field| list(of, field).iter().map(|condition| condition.as_str().unwrap_or_default());
    let ready: BTreeSet<&str> = names(FIELDS[0]).collect();
    for field in FIELDS {
        let mut seen = BTreeSet::new();
        for (n, name) in names(field).enumerate() {
            let path = path.child(field).index(n);
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path, name));
            }
            if field == FIELDS[1] && ready.contains(name) {
                let what = "bindingFailureConditions must not overlap with bindingConditions";
                errors.push(FieldError::invalid(&path, name, what));
            }
        }
    }
    for (lacking, used) in [(FIELDS[0], FIELDS[1]), (FIELDS[1], FIELDS[0])] {
        if list(of, lacking).is_empty() && !list(of, used).is_empty() {
            let value = get(of, lacking).cloned().unwrap_or(Value::Null);
            let what = format!("{lacking} are required to use {used}");
            errors.push(FieldError::invalid(&path.child(lacking), value, what));
        }
    }
}

/// A share of a device is told from others by a UUID.
pub(super) fn check_share(errors: &mut Errors, of: &Value, path: &Path) {
    let Some(id) = maybe_text(of, "shareID") else { return };
    let path = path.child("shareID");
    match uuid::Uuid::try_parse(id) {
        Ok(uuid) if uuid.hyphenated().to_string() == id => {}
        Ok(_) => {
            let what = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
            errors.push(FieldError::invalid(&path, id, what));
        }
        Err(_) => {
            let what = match id.len() {
                32 | 36 | 38 | 45 => "invalid UUID format".to_owned(),
                length => format!("invalid UUID length: {length}"),
            };
            errors.push(FieldError::invalid(&path, id, format!("error validating uid: {what}")));
        }
    }
}

/// By what an allocated device is known.
pub(super) fn shared_id(of: &Value) -> Value {
    let [driver, pool, device, share] = ["driver", "pool", "device", "shareID"].map(|field| text(of, field));
    json!({"Driver": driver, "Pool": pool, "Device": device, "ShareID": share})
}

/// What a driver says in the status of a claim about a device.
pub(super) fn check_status(errors: &mut Errors, device: &Value, path: &Path) {
    let conditions = list(device, "conditions");
    if conditions.len() > STATUS_CONDITIONS_MAX {
        errors.push(FieldError::too_many(&path.child("conditions"), conditions.len(), STATUS_CONDITIONS_MAX));
    }
    check::conditions(errors, conditions, &path.child("conditions"));
    if has(device, "data") {
        check_object(errors, sub(device, "data"), DATA_MAX, &path.child("data"));
    }
    let (network, path) = (sub(device, "networkData"), path.child("networkData"));
    for (field, max) in [("interfaceName", INTERFACE_MAX), ("hardwareAddress", HARDWARE_MAX)] {
        if text(network, field).len() > max {
            errors.push(FieldError::too_long(&path.child(field), max));
        }
    }
    each(errors, network, "ips", ADDRESSES_MAX, &path, |errors, address, path| {
        let address = address.as_str().unwrap_or_default();
        if let Some(why) = ip::interface_fault(address) {
            errors.push(FieldError::invalid(path, address, why));
        }
    });
    if list(network, "ips").len() <= ADDRESSES_MAX {
        once(errors, network, "ips", &path, |address| address.as_str().unwrap_or_default().to_owned());
    }
}

/// A JSON object of so many bytes at most.
pub(super) fn check_object(errors: &mut Errors, object: &Value, max: usize, path: &Path) {
    if object.is_null() {
        errors.push(FieldError::required(path, ""));
    } else if serde_json::to_string(object).map_or(0, |text| text.len()) > max {
        errors.push(FieldError::too_long(path, max));
    } else if !object.is_object() {
        errors.push(FieldError::invalid(path, "<value omitted>", "must be a valid JSON object"));
    }
}
