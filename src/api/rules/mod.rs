//! What a schema cannot say about a kind: defaults that depend on other fields, what the server owns, what is
//! valid, what may change, which fields can be selected.
//!
//! [`of`] answers with the [`Rules`] of a kind; kinds without rules of their own get the generic ones, which still
//! check the metadata. Everything here is pure over `serde_json::Value`; the messages and field paths are those of
//! Kubernetes' `pkg/apis/*/validation`.
//!
//! The order for a write: `default`, (admission), `prepare_*`, `validate*`. Read `meta.rs` first, then one small
//! kind (`config_map.rs`), then `pod/`.
//!
//! Invariant: no function here panics, whatever the object looks like.
//! Invariant: `default` is idempotent.

use serde_json::Value;

use crate::at;
use crate::field::FieldError;
use crate::names::NameRule;

use self::features::Gated;

mod check;
mod ip;
pub mod meta;
mod table;

mod addresses;
mod admission_policies;
mod api_service;
mod autoscaling;
mod batch;
mod certificates;
pub(crate) mod client_config;
mod config_map;
mod controller_revision;
mod daemon_set;
mod deployment;
mod device_binding;
mod device_capacity;
mod device_claims;
mod device_slices;
mod endpoint_slice;
mod endpoints;
mod event;
mod features;
mod flow_control;
mod ingress;
mod key_pair;
mod lease;
mod limits;
mod namespace;
mod network_policy;
mod node;
mod pem_block;
mod pod;
mod policy;
mod quota;
mod rbac;
mod replica_set;
mod resources;
mod runtime_class;
mod scale;
mod scheduling;
mod secret;
mod service;
mod service_account;
mod sources;
mod stateful_set;
mod storage;
mod storage_migration;
mod template;
mod webhooks;

#[cfg(test)]
mod tests;

pub use certificates::{note_requester, prepare_approval, stamp_conditions, validate_approval};
pub use device_slices::stamp_taints;
pub use namespace::validate_finalize;
pub use pod::{
    prepare_ephemeral_containers, prepare_resize, qos_class, validate_ephemeral_containers, validate_resize,
};
pub use scale::Scale;
pub use secret::fold_string_data;
pub use service::validate_addresses as validate_service_addresses;
pub use storage::stamp_phase;
pub use table::{of, of_custom};

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
    /// Not checked here: a kind that only the caller knows.
    Unknown,
}

/// Whether `metadata.generation` counts the changes of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind does not count its generations.
    None,
    /// One more for each change of `spec`.
    Spec,
}

/// A field by which objects can be selected, and how it is read.
pub(crate) type Selectable = (&'static str, fn(&Value) -> String);

/// The behaviour of one kind.
#[derive(Clone, Copy)]
pub struct Rules {
    pub(crate) name: NameRule,
    pub(crate) scope: Scope,
    /// Whether finalizers without a domain are Kubernetes' own ones.
    pub(crate) known_finalizers: bool,
    pub(crate) generation: Generation,
    /// The status of a new object; `None` for kinds without one.
    pub(crate) has_status: bool,
    pub(crate) default: fn(&mut Value),
    pub(crate) prepare_create: fn(&mut Value),
    pub(crate) prepare_update: fn(&mut Value, &Value),
    pub(crate) prepare_status_update: fn(&mut Value, &Value),
    pub(crate) validate: fn(&Value, &mut Vec<FieldError>),
    pub(crate) validate_update: Option<fn(&Value, &Value, &mut Vec<FieldError>)>,
    pub(crate) validate_status_update: fn(&Value, &Value, &mut Vec<FieldError>),
    pub(crate) selectable: &'static [Selectable],
    /// Advice about an object and, on an update, the one it replaces.
    pub(crate) warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// Advice about the status that is written alone.
    pub(crate) status_warnings: fn(&Value) -> Vec<String>,
    /// What goes unless the stored object has it, since its feature is off.
    pub(crate) gated: &'static [Gated],
    pub(crate) scale: Option<&'static Scale>,
}

fn nothing(_: &mut Value) {}
fn nothing_new_old(_: &mut Value, _: &Value) {}
fn no_errors(_: &Value, _: &mut Vec<FieldError>) {}
fn no_update_errors(_: &Value, _: &Value, _: &mut Vec<FieldError>) {}
fn no_warnings(_: &Value, _: Option<&Value>) -> Vec<String> {
    Vec::new()
}
fn no_status_warnings(_: &Value) -> Vec<String> {
    Vec::new()
}

/// The rules of a kind of which nothing is known but its metadata.
pub(crate) const GENERIC: Rules = Rules {
    name: NameRule::Subdomain,
    scope: Scope::Unknown,
    known_finalizers: true,
    generation: Generation::None,
    has_status: false,
    default: nothing,
    prepare_create: nothing,
    prepare_update: nothing_new_old,
    prepare_status_update: nothing_new_old,
    validate: no_errors,
    validate_update: None,
    validate_status_update: no_update_errors,
    selectable: &[],
    warnings: no_warnings,
    status_warnings: no_status_warnings,
    gated: &[],
    scale: None,
};

impl Rules {
    /// Sets what was left out.
    pub fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    /// Drops what a client may not set on a new object. Metadata of the server is [`meta::prepare_create`]'s.
    pub fn prepare_create(&self, object: &mut Value) {
        if self.generation == Generation::Spec {
            crate::meta::set(object, "generation", 1);
        }
        if self.has_status {
            at::set(object, "status", Value::Object(serde_json::Map::new()));
        }
        features::drop_disabled(self.gated, object, None);
        (self.prepare_create)(object);
    }

    /// Undoes what an update may not change (`status`, owned metadata) and counts the generation.
    pub fn prepare_update(&self, new: &mut Value, old: &Value) {
        meta::prepare_update(new, old);
        if self.has_status {
            at::keep(new, old, "status");
        }
        features::drop_disabled(self.gated, new, Some(old));
        (self.prepare_update)(new, old);
        if self.generation == Generation::Spec && meta::desired_state_changed(new, old) {
            meta::bump_generation(new);
        }
    }

    /// Undoes all that an update of the `status` subresource may not change.
    pub fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        meta::prepare_update(new, old);
        if let (Some(fields), Some(kept)) = (new.as_object_mut(), old.as_object()) {
            fields.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
            for (field, value) in kept {
                if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
                    fields.insert(field.clone(), value.clone());
                }
            }
        }
        features::drop_disabled(self.gated, new, Some(old));
        (self.prepare_status_update)(new, old);
    }

    /// What is wrong with an object about to be created.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, self);
        (self.validate)(object, &mut errors);
        errors
    }

    /// What is wrong with an object about to replace `old`.
    pub fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(new, old, self);
        match self.validate_update {
            Some(validate) => validate(new, old, &mut errors),
            None => (self.validate)(new, &mut errors),
        }
        resources::forgive_what_was(&mut errors, old);
        errors
    }

    /// What is wrong with an object whose status is about to replace that of `old`.
    pub fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(new, old, self);
        (self.validate_status_update)(new, old, &mut errors);
        resources::forgive_what_was(&mut errors, old);
        errors
    }

    /// The value of a field that can be selected; `None` for any other field.
    pub fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        match field {
            "metadata.name" => Some(crate::meta::name(object).to_string()),
            "metadata.namespace" if self.scope != Scope::Cluster => Some(crate::meta::namespace(object).to_string()),
            _ => self.selectable.iter().find(|(name, _)| *name == field).map(|(_, read)| read(object)),
        }
    }

    /// The fields that can be selected.
    pub fn selectable_fields(&self) -> impl Iterator<Item = &'static str> + use<> {
        let common: &[&str] =
            if self.scope == Scope::Cluster { &["metadata.name"] } else { &["metadata.name", "metadata.namespace"] };
        common.iter().copied().chain(self.selectable.iter().map(|(name, _)| *name))
    }

    /// Refuses a field that cannot be selected, in Kubernetes' words.
    pub fn check_selectable(&self, field: &str) -> Result<(), String> {
        if self.selectable_fields().any(|known| known == field) {
            Ok(())
        } else if self.selectable.is_empty() {
            Err(format!(
                "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                crate::field::quote(field)
            ))
        } else {
            Err(format!("field label not supported: {field}"))
        }
    }

    /// Advice about an object that is valid; `old` is what it replaces.
    pub fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        (self.warnings)(object, old)
    }

    /// Advice about an object whose status is written.
    pub fn status_warnings(&self, object: &Value) -> Vec<String> {
        (self.status_warnings)(object)
    }

    /// Where the `scale` subresource reads and writes, for kinds that have it.
    pub fn scale(&self) -> Option<&'static Scale> {
        self.scale
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    pub fn name_rule(&self) -> NameRule {
        self.name
    }
}
