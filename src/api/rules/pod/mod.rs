//! Pod and everything that holds a pod template.
//!
//! `spec` walks the whole specification and calls the other files for its parts; `update` says what may change in a
//! pod that exists; `status` what its status may become; `defaults` completes both pods and templates.

mod affinity;
mod app_armor;
mod claims;
mod containers;
mod defaults;
mod environment;
mod probes;
mod resize;
mod security;
mod spec;
mod status;
mod update;
mod volumes;
mod warnings;
mod windows;

use serde_json::Value;

pub(super) use self::affinity::{check_node_selector, check_tolerations};
pub(super) use self::app_armor::check_match as check_app_armor_match;
pub(super) use self::defaults::default_template;
pub use self::resize::{prepare_resize, validate_resize};
pub(super) use self::spec::{check_annotations, check_spec};
pub use self::status::qos_class;
pub use self::update::{prepare_ephemeral_containers, validate_ephemeral_containers};
pub(super) use self::volumes::{check_host_path, check_nfs, no_backsteps};
pub(super) use self::warnings::{of_node_term, of_template, of_template_change};
use super::at::{flag, sub, text};
use super::{GENERIC, Generation, Rules, Scope, features};

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: defaults::default_pod,
    prepare_create: |pod| {
        status::prepare_create(pod);
        affinity::merge_label_keys(pod);
    },
    prepare_status_update: status::prepare_update,
    validate: spec::check_new_pod,
    validate_update: Some(update::validate),
    validate_status_update: status::validate_update,
    warnings: warnings::of_pod,
    status_warnings: status::warnings,
    gated: features::POD,
    selectable: &[
        ("spec.nodeName", |pod| text(sub(pod, "spec"), "nodeName").to_string()),
        ("spec.restartPolicy", |pod| text(sub(pod, "spec"), "restartPolicy").to_string()),
        ("spec.schedulerName", |pod| text(sub(pod, "spec"), "schedulerName").to_string()),
        ("spec.serviceAccountName", |pod| text(sub(pod, "spec"), "serviceAccountName").to_string()),
        ("spec.hostNetwork", |pod| flag(sub(pod, "spec"), "hostNetwork").unwrap_or(false).to_string()),
        ("status.phase", |pod| text(sub(pod, "status"), "phase").to_string()),
        ("status.podIP", |pod| text(sub(pod, "status"), "podIP").to_string()),
        ("status.nominatedNodeName", |pod| text(sub(pod, "status"), "nominatedNodeName").to_string()),
    ],
    ..GENERIC
};

pub(super) static TEMPLATE_RULES: Rules = Rules {
    scope: Scope::Namespaced,
    prepare_create: |object| crate::meta::set(object, "generation", 1),
    prepare_update: |new, old| {
        if !super::at::same(sub(new, "template"), sub(old, "template")) {
            super::meta::bump_generation(new);
        }
    },
    warnings: |new, old| {
        let changed = old.is_none_or(|old| crate::meta::generation(new) != crate::meta::generation(old));
        let path = crate::field::Path::new("template");
        if changed { warnings::of_template(sub(new, "template"), &path) } else { Vec::new() }
    },
    gated: features::POD_TEMPLATE,
    default: |object| {
        if let Some(template) = object.get_mut("template") {
            default_template(template);
        }
    },
    validate: |object: &Value, errors| {
        super::template::check_template(errors, sub(object, "template"), &crate::field::Path::new("template"));
    },
    ..GENERIC
};
