//! What a set's controller writes in one round, for plays in which it is one of several.

use super::{
    kinds::ReplicaKind,
    plan::{Action, Observed, plan},
};
use crate::common::{
    claims::controller_ref,
    fixtures::noon,
    pods::{self, WholePod},
};
use k8s_openapi::api::apps::v1::ReplicaSet;
use mk8s_client::pod::Pod;
use std::{collections::HashMap, sync::Arc};

pub(crate) enum Written {
    Create(Box<WholePod>),
    Delete(String),
    /// The set with its new status.
    Status(Box<ReplicaSet>),
}

/// As `reconcile` does it, one request at a time.
pub(crate) fn round(set: &ReplicaSet, pods: Vec<Arc<Pod>>) -> Vec<Written> {
    let own = |pod: &Arc<Pod>| {
        pod.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
    };
    let pods = pods.into_iter().filter(own).collect();
    let observed = Observed { set: Arc::new(set.clone()), pods, on_node: HashMap::new() };
    let plan = plan(noon(), &observed);
    let mut written = vec![];
    for action in plan.actions {
        match action {
            Action::Create { count } => {
                let template = set.template().expect("these sets have templates");
                let name = set.metadata.name.clone().unwrap_or_default();
                let pod = pods::from_template(template, &name, controller_ref(set));
                written.extend((0..count).map(|_| Written::Create(Box::new(pod.clone()))));
            }
            Action::Delete { pods } => written.extend(pods.into_iter().map(Written::Delete)),
            Action::Release { .. } | Action::Adopt { .. } => {}
        }
    }
    written.extend(set.with_counts(&plan.counts, noon()).map(|set| Written::Status(Box::new(set))));
    written
}
