//! What the two kinds have in common, and their types.

use crate::common::{
    selectors,
    updates::{positive, whole_second},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
    core::v1::{PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus},
};
use mk8s_api::select::LabelSelector;
use mk8s_client::{
    Kind,
    kube::{Resource, core::NamespaceResourceScope},
};
use serde::Serialize;

/// What a set reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) replicas: i32,
    pub(super) fully_labeled: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    pub(super) terminating: Option<i32>,
    pub(super) observed_generation: i64,
    /// Reason and message.
    pub(super) failure: Option<(String, String)>,
}

impl Counts {
    pub(super) fn fail(&mut self, surplus: i64, message: String) {
        let reason = if surplus > 0 { "FailedDelete" } else { "FailedCreate" };
        self.failure = Some((reason.to_owned(), message));
    }
}

pub(super) trait ReplicaKind: Kind + Resource<Scope = NamespaceResourceScope> + Serialize {
    const COMPONENT: &'static str;
    const REPORTS_TERMINATING: bool;

    fn replicas(&self) -> i32;
    fn min_ready(&self) -> i32;
    fn selector(&self) -> Option<LabelSelector>;
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// The set with a new status; `None` when it says the same.
    fn with_counts(&self, counts: &Counts, now: Timestamp) -> Option<Self>;
}

/// Pods could not be created or deleted.
const FAILURE: &str = "ReplicaFailure";

/// The conditions with the failure there is; one that is known keeps its words, one that is over goes.
fn with_failure<C>(
    conditions: Option<Vec<C>>,
    counts: &Counts,
    type_of: impl Fn(&C) -> &String,
    new: impl FnOnce(String, String) -> C,
) -> Option<Vec<C>> {
    let mut conditions = conditions.unwrap_or_default();
    let known = conditions.iter().any(|condition| type_of(condition) == FAILURE);
    match &counts.failure {
        Some((reason, message)) if !known => conditions.push(new(reason.clone(), message.clone())),
        Some(_) => {}
        None => conditions.retain(|condition| type_of(condition) != FAILURE),
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

impl ReplicaKind for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";
    const REPORTS_TERMINATING: bool = true;

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn min_ready(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default()
    }

    fn selector(&self) -> Option<LabelSelector> {
        selectors::compile(self.spec.as_ref().map(|spec| &spec.selector))
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().and_then(|spec| spec.template.as_ref())
    }

    fn with_counts(&self, counts: &Counts, now: Timestamp) -> Option<Self> {
        let old = self.status.clone().unwrap_or_default();
        let conditions = with_failure(
            old.conditions.clone(),
            counts,
            |condition| &condition.type_,
            |reason, message| ReplicaSetCondition {
                type_: FAILURE.to_owned(),
                status: "True".to_owned(),
                last_transition_time: Some(whole_second(now)),
                reason: Some(reason),
                message: Some(message),
            },
        );
        let status = ReplicaSetStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: positive(counts.fully_labeled),
            ready_replicas: positive(counts.ready),
            available_replicas: positive(counts.available),
            terminating_replicas: counts.terminating,
            observed_generation: Some(counts.observed_generation),
            conditions,
        };
        (self.status.as_ref() != Some(&status)).then(|| ReplicaSet { status: Some(status), ..self.clone() })
    }
}

impl ReplicaKind for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";
    const REPORTS_TERMINATING: bool = false;

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn min_ready(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default()
    }

    fn selector(&self) -> Option<LabelSelector> {
        let labels = self.spec.as_ref()?.selector.as_ref()?;
        Some(LabelSelector::from_set(labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))))
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().and_then(|spec| spec.template.as_ref())
    }

    fn with_counts(&self, counts: &Counts, now: Timestamp) -> Option<Self> {
        let old = self.status.clone().unwrap_or_default();
        let conditions = with_failure(
            old.conditions.clone(),
            counts,
            |condition| &condition.type_,
            |reason, message| ReplicationControllerCondition {
                type_: FAILURE.to_owned(),
                status: "True".to_owned(),
                last_transition_time: Some(whole_second(now)),
                reason: Some(reason),
                message: Some(message),
            },
        );
        let status = ReplicationControllerStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: positive(counts.fully_labeled),
            ready_replicas: positive(counts.ready),
            available_replicas: positive(counts.available),
            observed_generation: Some(counts.observed_generation),
            conditions,
        };
        (self.status.as_ref() != Some(&status)).then(|| ReplicationController { status: Some(status), ..self.clone() })
    }
}
