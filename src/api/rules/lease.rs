//! Lease: who holds it, for how long.

use serde_json::Value;

use super::at::{has, int, sub, text};
use super::check::{Errors, invalid_each};
use super::{GENERIC, Rules, Scope, features};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules { scope: Scope::Namespaced, validate, gated: features::LEASE, ..GENERIC };

fn validate(lease: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(lease, "spec"), Path::new("spec"));
    if let Some(seconds) = int(spec, "leaseDurationSeconds").filter(|n| *n <= 0) {
        errors.push(FieldError::invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0"));
    }
    if let Some(count) = int(spec, "leaseTransitions").filter(|n| *n < 0) {
        errors.push(FieldError::invalid(&path.child("leaseTransitions"), count, "must be greater than or equal to 0"));
    }
    let strategy = text(spec, "strategy");
    if has(spec, "strategy") && strategy != "OldestEmulationVersion" {
        let wrong = names::qualified_name(strategy);
        let known = strategy.contains('/');
        invalid_each(errors, wrong, || path.child("strategy"), strategy);
        if !known && !strategy.is_empty() {
            errors.push(FieldError::not_supported(&path.child("strategy"), strategy, &["OldestEmulationVersion"]));
        }
    }
    if !text(spec, "preferredHolder").is_empty() && strategy.is_empty() {
        errors.push(FieldError::forbidden(
            &path.child("preferredHolder"),
            "may only be specified if `strategy` is defined",
        ));
    }
}
