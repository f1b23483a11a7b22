//! `nodeSelector` and node affinity: where a pod must go, and where it would rather go.

use super::reject;
use crate::{events::Events, framework::*, node_info::NodeInfo, pod_facts::PodFacts, snapshot::Snapshot};
use k8s_openapi::api::core::v1::{
    Node, NodeAffinity as Affinity, NodeSelectorRequirement, NodeSelectorTerm,
};

pub(super) struct NodeAffinity;

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_LABELS
    }
    fn filter(&self, pod: &PodFacts, node: &NodeInfo) -> Result<(), Rejection> {
        let (Some(spec), Some(node)) = (pod.pod.spec.as_ref(), node.node.as_deref()) else { return Ok(()) };
        let labels = node.metadata.labels.as_ref();
        let selected = spec
            .node_selector
            .iter()
            .flatten()
            .all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value));
        let required = affinity(pod).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        if selected && required.is_none_or(|r| r.node_selector_terms.iter().any(|term| matches(term, node))) {
            return Ok(());
        }
        reject(Filter::name(self), "node(s) didn't match Pod's node affinity/selector", true)
    }
}

impl Score for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn weight(&self) -> i64 {
        2
    }
    fn score(&self, pod: &PodFacts, node: &NodeInfo, _: &Snapshot) -> i64 {
        let Some(node) = node.node.as_deref() else { return 0 };
        affinity(pod)
            .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref())
            .into_iter()
            .flatten()
            .filter(|preferred| matches(&preferred.preference, node))
            .map(|preferred| i64::from(preferred.weight))
            .sum()
    }
    fn normalize(&self, scores: &mut [i64]) {
        scale_to_max(scores, false);
    }
}

fn affinity(pod: &PodFacts) -> Option<&Affinity> {
    pod.pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

/// A term without any requirement matches nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    let field = |key: &str| if key == "metadata.name" { node.metadata.name.as_deref() } else { None };
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|r| holds(r, label(&r.key)))
        && fields.iter().all(|r| holds(r, field(&r.key)))
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|v| v == actual));
    let numbers = || Some((actual?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => numbers().is_some_and(|(actual, bound)| actual > bound),
        "Lt" => numbers().is_some_and(|(actual, bound)| actual < bound),
        _ => false,
    }
}
