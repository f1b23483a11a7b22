//! Topology spread constraints, read once per pod: which pods count, over which domains, on which nodes.

use crate::{
    selector,
    terms::{self, Scope},
};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use mk8s_api::select::{LabelSelector, Operator, Requirement};
use mk8s_client::pod::Pod;

#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    pub max_skew: i64,
    pub topology_key: String,
    /// Whether a pod that cannot be spread waits (`DoNotSchedule`).
    pub hard: bool,
    pub min_domains: usize,
    pub honor_affinity: bool,
    pub honor_taints: bool,
    pub selector: LabelSelector,
    /// The same for constraints that count the same pods.
    pub key: String,
}

impl Spread {
    fn read(pod: &Pod, constraint: &TopologySpreadConstraint) -> Self {
        let labels = pod.metadata.labels.as_ref();
        let own = constraint.match_label_keys.iter().flatten().filter_map(|key| {
            let value = labels?.get(key)?.clone();
            Some(Requirement { key: key.clone(), operator: Operator::In, values: vec![value] })
        });
        let selector = match &constraint.label_selector {
            None => LabelSelector::nothing(),
            Some(chosen) => selector::of(Some(chosen), own.collect()),
        };
        Self::with(pod, constraint, selector)
    }

    /// A constraint of a profile, with the selector of what the pod belongs to.
    pub fn with(pod: &Pod, constraint: &TopologySpreadConstraint, selector: LabelSelector) -> Self {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        Self {
            max_skew: i64::from(constraint.max_skew),
            topology_key: constraint.topology_key.clone(),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            honor_affinity: constraint.node_affinity_policy.as_deref().unwrap_or("Honor") == "Honor",
            honor_taints: constraint.node_taints_policy.as_deref().unwrap_or("Ignore") == "Honor",
            key: terms::key_of(&Scope::of_namespace(namespace), &selector),
            selector,
        }
    }
}

/// The constraints that a pod names itself.
pub fn of(pod: &Pod) -> Vec<Spread> {
    let constraints = pod.spec.as_ref().and_then(|spec| spec.topology_spread_constraints.as_deref());
    constraints.unwrap_or_default().iter().map(|constraint| Spread::read(pod, constraint)).collect()
}
