//! ResourceQuota: amounts by name, and scopes that stay.

use serde_json::Value;

use super::at::{map, sub, texts};
use super::check::{Errors, IMMUTABLE};
use super::{GENERIC, Rules, Scope, resources};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    has_status: true,
    validate,
    validate_update: Some(|new, old, errors| {
        validate(new, errors);
        let scopes = |quota| {
            let mut scopes: Vec<&str> = texts(sub(quota, "spec"), "scopes").collect();
            scopes.sort_unstable();
            scopes.dedup();
            scopes
        };
        if scopes(new) != scopes(old) {
            errors.push(FieldError::invalid(
                &Path::new("spec").child("scopes"),
                sub(sub(new, "spec"), "scopes").clone(),
                IMMUTABLE,
            ));
        }
    }),
    ..GENERIC
};

fn validate(quota: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("hard");
    for (name, amount) in map(sub(quota, "spec"), "hard") {
        let at = || path.key(name.as_str());
        // `count/deployments.apps` counts objects of any resource.
        let counted = name.strip_prefix("count/").is_some_and(|of| names::qualified_name(of).is_empty());
        let of_class = name.contains(".storageclass.storage.k8s.io/");
        if !counted && !of_class {
            resources::resource_name(errors, name, at);
        }
        resources::quantity_value(errors, name, amount, at);
    }
    const SCOPES: &[&str] = &[
        "BestEffort",
        "CrossNamespacePodAffinity",
        "NotBestEffort",
        "NotTerminating",
        "PriorityClass",
        "Terminating",
        "VolumeAttributesClass",
    ];
    let scopes: Vec<&str> = texts(sub(quota, "spec"), "scopes").collect();
    let path = Path::new("spec").child("scopes");
    for _ in scopes.iter().filter(|scope| !SCOPES.contains(scope)) {
        errors.push(FieldError::invalid(&path, sub(sub(quota, "spec"), "scopes").clone(), "unsupported scope"));
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.push(FieldError::invalid(&path, sub(sub(quota, "spec"), "scopes").clone(), "conflicting scopes"));
        }
    }
}
