//! Which set has the Deployment's template, and what sets and Deployment tell about their history.

use crate::common::history::spell;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::PodTemplateSpec,
};
use mk8s_client::kube::ResourceExt;
use std::{borrow::Cow, collections::BTreeMap};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const HASH: &str = "pod-template-hash";

/// Annotations of a Deployment that are its own; all others go on to its sets, the change cause among them.
const OWN: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// Revisions remembered by a set that was rolled back to, in characters.
const HISTORY_MAX: usize = 2000;

/// Whether a set was made from the Deployment's template.
pub(super) fn same_template(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let other = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    match (template, other) {
        (Some(template), Some(other)) => without_hash(template) == without_hash(other),
        _ => false,
    }
}

/// Without the label that only sets have; absent and empty metadata are the same.
fn without_hash(template: &PodTemplateSpec) -> Cow<'_, PodTemplateSpec> {
    let mut template = template.clone();
    let meta = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH);
    }
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    meta.creation_timestamp = None;
    Cow::Owned(template)
}

/// What tells the pods of one template from those of another.
pub(super) fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let json = serde_json::to_vec(template).expect("a decoded template can be encoded");
    spell(json.into_iter().chain(collisions.map(i32::to_le_bytes).into_iter().flatten()))
}

pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotations().get(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or_default()
}

/// Gives the new set the Deployment's annotations and the newest revision; what it was before is remembered.
pub(super) fn annotate_new(deployment: &Deployment, set: &mut ReplicaSet, newest: i64) {
    let current = set.annotations().get(REVISION).cloned();
    let annotations = set.annotations_mut();
    for (key, value) in deployment.annotations() {
        if !OWN.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    // A revision that is no number is someone's own and stays.
    let Ok(old) = current.as_deref().map_or(Ok(0), str::parse::<i64>) else { return };
    if old >= newest {
        return;
    }
    annotations.insert(REVISION.to_owned(), newest.to_string());
    if let Some(current) = current {
        let history = annotations.entry(HISTORY.to_owned()).or_default();
        *history = remember(history, &current);
    }
}

fn remember(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|revision| !revision.is_empty()).collect();
    revisions.push(revision);
    let length = |revisions: &[&str]| revisions.iter().map(|revision| revision.len() + 1).sum::<usize>();
    while length(&revisions) > HISTORY_MAX + 1 && revisions.len() > 1 {
        revisions.remove(0);
    }
    revisions.join(",")
}

/// What a set must know of its Deployment's size to take its part in scaling.
pub(super) fn annotate_size(set: &mut ReplicaSet, desired: i32, max: i32) {
    let annotations: &mut BTreeMap<String, String> = set.annotations_mut();
    annotations.insert(DESIRED.to_owned(), desired.to_string());
    annotations.insert(MAX.to_owned(), max.to_string());
}

pub(super) fn number(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.annotations().get(annotation)?.parse().ok().filter(|number| *number >= 0)
}
