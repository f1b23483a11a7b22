//! PriorityClass: a number that stays.

use serde_json::Value;

use super::at::{default_pointer, flag, get, int, maybe_text};
use super::check::{Errors, immutable, word};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::meta;

const HIGHEST_OF_USERS: i64 = 1_000_000_000;
/// The classes that the server makes itself.
const OF_SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) static RULES: Rules = Rules {
    scope: Scope::Cluster,
    default: |class| default_pointer(class, "preemptionPolicy", "PreemptLowerPriority"),
    prepare_create: |class| meta::set(class, "generation", 1),
    validate,
    validate_update: Some(|new, old, errors| {
        if int(new, "value").unwrap_or(0) != int(old, "value").unwrap_or(0) {
            errors.push(FieldError::forbidden(&Path::new("value"), "may not be changed in an update."));
        }
        let policy = |class| get(class, "preemptionPolicy");
        immutable(errors, policy(new), policy(old), &Path::new("preemptionPolicy"));
    }),
    ..GENERIC
};

fn validate(class: &Value, errors: &mut Errors) {
    let (name, value) = (meta::name(class), int(class, "value").unwrap_or(0));
    if name.starts_with("system-") {
        let why = match OF_SYSTEM.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, known)) if *known != value => Some(format!("value of {name} PriorityClass must be {known}")),
            Some(_) if flag(class, "globalDefault") == Some(true) => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            errors.push(FieldError::forbidden(
                &Path::new("metadata").child("name"),
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}"),
            ));
        }
    } else if value > HIGHEST_OF_USERS {
        errors.push(FieldError::forbidden(
            &Path::new("value"),
            format!("maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}"),
        ));
    }
    if let Some(policy) = maybe_text(class, "preemptionPolicy") {
        word(errors, policy, &["PreemptLowerPriority", "Never"], &Path::new("preemptionPolicy"));
    }
}
