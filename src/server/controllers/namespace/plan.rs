//! What a namespace reports while it is emptied, and when it is done.

use crate::{common::updates::whole_second, inventory::ApiKind};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::collections::BTreeMap;

/// What keeps a namespace until this controller has emptied it.
pub(super) const FINALIZER: &str = "kubernetes";

/// What is left of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remaining {
    count: usize,
    finalizers: BTreeMap<String, usize>,
}

impl Remaining {
    pub(super) fn add<'a>(&mut self, objects: impl Iterator<Item = &'a ObjectMeta>) {
        for object in objects {
            self.count += 1;
            for finalizer in object.finalizers.iter().flatten() {
                *self.finalizers.entry(finalizer.clone()).or_default() += 1;
            }
        }
    }
}

/// What is left in a namespace, and what went wrong on the way.
#[derive(Debug, Default)]
pub(super) struct Contents {
    kinds: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
    pub(super) discovery_failure: Option<String>,
    pub(super) failures: Vec<String>,
}

impl Contents {
    pub(super) fn add(&mut self, kind: &ApiKind, remaining: Remaining) {
        if remaining.count > 0 {
            self.kinds.insert(format!("{}.{}", kind.plural, kind.group), remaining.count);
        }
        for (finalizer, count) in remaining.finalizers {
            *self.finalizers.entry(finalizer).or_default() += count;
        }
    }

    /// Nothing is left, and that is certain.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.failures.is_empty() && self.discovery_failure.is_none()
    }
}

/// The namespace with its phase set, unless it is.
pub(super) fn terminating(namespace: &Namespace) -> Option<Namespace> {
    let mut updated = namespace.clone();
    let status = updated.status.get_or_insert_default();
    if status.phase.as_deref() == Some("Terminating") {
        return None;
    }
    status.phase = Some("Terminating".to_owned());
    Some(updated)
}

/// The namespace without this controller's finalizer.
pub(super) fn finalized(namespace: &Namespace) -> Namespace {
    let mut updated = namespace.clone();
    if let Some(finalizers) = updated.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    updated
}

/// The namespace with conditions that tell how its emptying goes, when they say something new.
pub(super) fn conditions(namespace: &Namespace, contents: &Contents, now: Timestamp) -> Option<Namespace> {
    let listed = |counts: &BTreeMap<String, usize>, word: &str| {
        counts
            .iter()
            .map(|(name, count)| format!("{name} {word} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut failures = contents.failures.clone();
    failures.sort();
    let troubled = |trouble: bool, reason: &'static str, message: String| trouble.then_some((reason, message));
    let table = [
        (
            "NamespaceDeletionDiscoveryFailure",
            contents.discovery_failure.clone().map(|message| ("DiscoveryFailed", message)),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            troubled(
                !failures.is_empty(),
                "ContentDeletionFailed",
                format!("Failed to delete all resource types, {} remaining: {}", failures.len(), failures.join(", ")),
            ),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            troubled(
                !contents.kinds.is_empty(),
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", listed(&contents.kinds, "has")),
            ),
            ("ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            troubled(
                !contents.finalizers.is_empty(),
                "SomeFinalizersRemain",
                format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    listed(&contents.finalizers, "in")
                ),
            ),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let mut updated = namespace.clone();
    let conditions = updated.status.get_or_insert_default().conditions.get_or_insert_default();
    for (kind, trouble, fine) in table {
        let (status, reason, message) = match trouble {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine.0, fine.1.to_owned()),
        };
        let old = conditions.iter().position(|condition| condition.type_ == kind);
        let kept = old.map(|index| &conditions[index]).filter(|condition| condition.status == status);
        let since = kept.and_then(|condition| condition.last_transition_time.clone());
        let condition = NamespaceCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or_else(|| whole_second(now))),
        };
        match old {
            Some(index) => conditions[index] = condition,
            None => conditions.push(condition),
        }
    }
    (updated.status != namespace.status).then_some(updated)
}
