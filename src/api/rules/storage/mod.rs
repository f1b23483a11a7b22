//! Storage: claims and volumes, their classes, and what the drivers of volumes say about themselves.
//!
//! Reading order: [`claim`], [`volume`], [`class`], [`driver`] (CSIDriver, CSINode, CSIStorageCapacity), [`attachment`].

mod attachment;
mod claim;
mod class;
mod driver;
mod volume;

use serde_json::Value;

use super::at::{list, sub_mut, texts};
use super::check::{Errors, invalid_each, member, required};
use super::{GENERIC, Rules, Scope, at, check, features, node, pod, resources, sources};
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

pub(super) use attachment::ATTACHMENT;
pub(super) use claim::{CLAIM, check_claim_spec, fractions};
pub(super) use class::{ATTRIBUTES_CLASS, CLASS};
pub(super) use driver::{CAPACITY, DRIVER, NODE};
pub(super) use volume::VOLUME;
pub use volume::stamp_phase;

fn default_phase(object: &mut Value) {
    if let Some(status) = sub_mut(object, "status") {
        at::default(status, "phase", "Pending");
    }
}

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn check_access_modes(errors: &mut Errors, spec: &Value, path: &Path) {
    let path = path.child("accessModes");
    for mode in list(spec, "accessModes") {
        member(errors, mode.as_str().unwrap_or(""), MODES, &path);
    }
    let alone = texts(spec, "accessModes").any(|mode| mode == "ReadWriteOncePod");
    if alone && texts(spec, "accessModes").any(|mode| mode != "ReadWriteOncePod" && MODES.contains(&mode)) {
        errors.push(FieldError::forbidden(&path, "may not use ReadWriteOncePod with other access modes"));
    }
}

fn check_positive(errors: &mut Errors, amount: &Value, path: &Path) -> bool {
    let Ok(quantity) = Quantity::from_json(amount) else { return true };
    let positive = quantity > Quantity::ZERO;
    if !positive {
        errors.push(FieldError::invalid(path, quantity.to_string(), "must be greater than zero"));
    }
    positive
}

fn check_class_name(errors: &mut Errors, name: &str, path: impl Fn() -> Path) {
    invalid_each(errors, names::dns1123_subdomain(name), path, name);
}

pub(super) fn check_driver_name(errors: &mut Errors, name: &str, path: &Path) {
    if !required(errors, name, path) {
        return;
    }
    if name.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    invalid_each(errors, names::dns1123_subdomain(&name.to_ascii_lowercase()), || path.clone(), name);
}
