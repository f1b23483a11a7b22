//! What a way of writing leaves as it was: whoever writes that way owns none of it.

use serde_json::Value;

use super::set::{FieldSet, Places, is_member, leaf, member, places};

/// The fields that count on one way of writing a kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Counted {
    All,
    /// All but these and what is below them.
    Without(FieldSet),
    /// These, given as steps of which `*` is any, and what is below them.
    Only(&'static [&'static [&'static str]]),
}

/// Kinds whose `status` cannot be written together with their metadata.
const STATUS_ALONE: [(&str, &str); 9] = [
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("apiregistration.k8s.io", "APIService"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("resource.k8s.io", "ResourceClaim"),
    ("resource.k8s.io", "DeviceTaintRule"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storagemigration.k8s.io", "StorageVersionMigration"),
];

const EPHEMERAL: &[&[&str]] = &[&["f:spec", "f:ephemeralContainers"]];
const RESIZE: &[&[&str]] = &[
    &["f:spec", "f:containers", "*", "f:resources"],
    &["f:spec", "f:containers", "*", "f:resizePolicy"],
    &["f:spec", "f:initContainers", "*", "f:resources"],
    &["f:spec", "f:initContainers", "*", "f:resizePolicy"],
];

/// What counts when an object of a built-in kind is written through a subresource, or as a whole.
pub fn counted(group: &str, kind: &str, subresource: &str, has_status: bool) -> Counted {
    let without = |paths: &[&[&str]]| {
        let mut all = FieldSet::default();
        paths.iter().for_each(|path| all.unite(&FieldSet::one(path)));
        Counted::Without(all)
    };
    let (spec, status, metadata) = (&["f:spec"][..], &["f:status"][..], &["f:metadata"][..]);
    match (group, kind, subresource) {
        ("", "Pod", "ephemeralcontainers") => Counted::Only(EPHEMERAL),
        ("", "Pod", "resize") => Counted::Only(RESIZE),
        ("", "Pod", "status") => {
            without(&[spec, &["f:metadata", "f:deletionTimestamp"], &["f:metadata", "f:ownerReferences"]])
        }
        ("apps", "Deployment", "status") => without(&[spec, &["f:metadata", "f:labels"]]),
        ("certificates.k8s.io", "CertificateSigningRequest", "") => without(&[spec, status]),
        ("certificates.k8s.io", "CertificateSigningRequest", "status") => {
            without(&[spec, &["f:status", "f:conditions"]])
        }
        ("certificates.k8s.io", "CertificateSigningRequest", "approval") => {
            without(&[spec, &["f:status", "f:certificate"]])
        }
        (_, _, "status") if STATUS_ALONE.contains(&(group, kind)) => without(&[spec, metadata]),
        (_, _, "status") => without(&[spec]),
        ("", "Namespace", "finalize") => without(&[status]),
        (_, _, "") if has_status => without(&[status]),
        _ => Counted::All,
    }
}

/// As [`counted`], for a kind that clients define.
pub fn counted_custom(subresource: &str, has_status: bool) -> Counted {
    let mut left = FieldSet::default();
    match subresource {
        "" if has_status => left.unite(&FieldSet::one(&["f:status"])),
        "status" => {
            left.unite(&FieldSet::one(&["f:metadata"]));
            left.unite(&FieldSet::one(&["f:spec"]));
        }
        _ => return Counted::All,
    }
    Counted::Without(left)
}

impl Counted {
    /// Takes out what does not count.
    pub(super) fn keep(&self, set: &mut FieldSet) {
        match self {
            Counted::All => {}
            Counted::Without(fields) => set.cut(fields),
            Counted::Only(patterns) => *set = FieldSet(only(&set.0, patterns)),
        }
    }
}

fn only(set: &Places, patterns: &[&[&str]]) -> Places {
    let mut kept = Places::new();
    for (step, place) in set.iter().filter(|(step, _)| *step != ".") {
        let rest: Vec<&[&str]> = patterns
            .iter()
            .filter_map(|pattern| pattern.split_first())
            .filter(|(first, _)| **first == "*" || *first == step)
            .map(|(_, rest)| rest)
            .collect();
        if rest.is_empty() {
            continue;
        }
        if rest.iter().any(|rest| rest.is_empty()) {
            kept.insert(step.clone(), place.clone());
            continue;
        }
        let below = places(place).map(|below| only(below, &rest)).unwrap_or_default();
        match (is_member(place), below.is_empty()) {
            (true, true) => drop(kept.insert(step.clone(), leaf())),
            (true, false) => drop(kept.insert(step.clone(), member(below))),
            (false, false) => drop(kept.insert(step.clone(), Value::Object(below))),
            (false, true) => {}
        }
    }
    kept
}
